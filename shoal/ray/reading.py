"""Read a collection as a dataset: ranges of ids, each by a task of Ray, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice, takewhile
from typing import Any, Literal

import ray
import ray.data
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from shoal.client.client import Client, connect
from shoal.client.inputs import filter_or_none, name_from_input, seconds, whole_number
from shoal.client.routers import address_from_input, addresses_from_input
from shoal.client.transports.choice import TransportName
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import INT64_MAX
from shoal.core.replies import CollectionInfo
from shoal.ray.id_ranges import IdRange, ranges_of
from shoal.ray.tables import IdKind, PointTables, check_columns, check_not_taken

TIMEOUT_S = 60.0
LEAST_POINTS = 2_000
"""A range has at least so many points, unless a parallelism is given: a task of fewer would mostly start."""
TASKS_A_CPU = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What every task of a read needs."""

    address: tuple[str, ...]
    collection: str
    collection_id: str
    filter: Mapping[str, Any] | None
    tables: PointTables
    batch: int
    consistency: str
    timeout: float
    transport: TransportName

    def connect(self) -> Client:
        """Return a client of the cluster."""
        return connect(self.address, timeout=self.timeout, transport=self.transport)


def read(
    address: str | Iterable[str],
    collection: str,
    filter: Mapping[str, Any] | None = None,
    *,
    columns: Mapping[str, Any] | None = None,
    with_vectors: bool = True,
    with_payload: bool = True,
    ids: Literal["auto", "int64", "string"] = "auto",
    parallelism: int | None = None,
    batch: int = 1_000,
    consistency: str = "primary",
    timeout: float = TIMEOUT_S,
    transport: TransportName = "auto",
) -> ray.data.Dataset:
    """Return the points of a collection, or those that match, as a dataset of Ray. They are read when it is used.

    It has the columns `id` (int64 or string), `vector` (tensors (dim,) float32) and `payload` (JSON texts, null where
    there is none). Of a collection with named vectors, each has a column with its name instead of `vector` (that of a
    vector called id or payload is `vector.id` or `vector.payload`): lists (dim,) float32, null where a point lacks it.
    columns: instead of `payload`, fields of payloads by name with their Arrow types, null where a
    payload lacks the field. ids: "auto" takes the type that the ids have, int64 for an empty collection; "string" makes
    texts of integers, too. A collection with ids of both kinds needs it.

    parallelism: read tasks; None: up to four for each processor of Ray. For more than one, the ids of all points are
    read once beforehand, without vectors and payloads, to cut ranges of equal size. batch: points in a page, at most
    10,000. consistency: see `shoal.Client.search`; "primary" sees every acknowledged write. timeout: seconds for each
    page.

    A point that exists, and matches, during the whole read comes exactly once. Raises InvalidArgument for bad
    arguments, NotFound; the dataset raises NotFound when the collection is dropped meanwhile.
    """
    filter_or_none(filter)
    check_columns(columns, with_payload=with_payload)
    _check_ids_and_parallelism(ids, parallelism)
    where = tuple(addresses_from_input(address_from_input(address, None)))
    with connect(where, transport=transport) as client:
        info = client.describe_collection(name_from_input(collection))
        kind = _kind_of_ids(client, collection, filter, consistency) if ids == "auto" else ids
        points = client.count(collection, filter, consistency=consistency)
    vectors = info.spec.vectors if with_vectors else ()
    check_not_taken(columns, vectors)
    tables = PointTables(
        ids=kind,
        dim=info.spec.dim if with_vectors and not vectors else None,
        payload=with_payload and columns is None,
        columns=tuple((columns or {}).items()),
        vectors=vectors,
    )
    asked = _Asked(
        address=where,
        collection=collection,
        collection_id=info.id,
        filter=filter,
        tables=tables,
        batch=whole_number("batch", batch, DEFAULT_LIMITS.scroll_points),
        consistency=consistency,
        timeout=seconds(timeout, TIMEOUT_S),
        transport=transport,
    )
    blocks = parallelism or _usual_parallelism(points)
    dataset: ray.data.Dataset = ray.data.read_datasource(CollectionSource(asked, points), override_num_blocks=blocks)
    return dataset


class CollectionSource(Datasource):
    """The points of a collection for Ray Data; `read` makes it."""

    def __init__(self, asked: _Asked, points: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._asked, self._points = asked, points
        self._ranges: dict[int, list[IdRange]] = {}

    def get_name(self) -> str:
        """Return the name that Ray shows for the read tasks."""
        return f"Shoal({self._asked.collection})"

    def estimate_inmemory_data_size(self) -> int:
        """Return about how many bytes the dataset has; payloads count as 64."""
        return self._points * self._asked.tables.row_bytes

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None) -> list[ReadTask]:
        """Return a task for each range of ids. Ray asks more than once; the ids are read the first time."""
        if parallelism not in self._ranges:
            self._ranges[parallelism] = self._cut(parallelism)
        tables = self._asked.tables
        return [
            ReadTask(
                partial(_read_range, self._asked, each),
                BlockMetadata(num_rows=each.points, size_bytes=each.points * tables.row_bytes, input_files=None, exec_stats=None),
                schema=tables.schema,
                per_task_row_limit=per_task_row_limit,
            )
            for each in self._ranges[parallelism]
        ]

    def _cut(self, parallelism: int) -> list[IdRange]:
        if parallelism == 1 or self._points == 0:
            return [IdRange(after=None, last=None, points=self._points)]
        asked = self._asked
        with asked.connect() as client:
            found = client.scroll(
                asked.collection, asked.filter, DEFAULT_LIMITS.scroll_points, with_payload=False, consistency=asked.consistency
            )
            return ranges_of((point.id for point in found), self._points, parallelism)


def _read_range(asked: _Asked, part: IdRange) -> Iterator[Any]:
    """Yield the points of a range as tables, at least one, so that the schema of no points is known."""
    tables = asked.tables
    with asked.connect() as client:
        found = client.scroll(
            asked.collection,
            asked.filter,
            asked.batch,
            after=part.after,
            with_payload=tables.needs_payloads,
            with_vectors=tables.needs_vectors,
            consistency=asked.consistency,
        )
        inside = takewhile(lambda point: not part.ends_before(point.id), found)
        while points := list(islice(inside, asked.batch)):
            yield tables.table_of(points)
        _check_same(asked, client.describe_collection(asked.collection))
    yield tables.table_of([])


def _check_same(asked: _Asked, info: CollectionInfo) -> None:
    """Raise NotFound if another collection has the name now: a part of the dataset may be of that one."""
    if info.id != asked.collection_id:
        raise NotFound(f"collection {asked.collection!r} was dropped, and made anew, while it was read", ErrorDetails(field="collection"))


def _check_ids_and_parallelism(ids: Any, parallelism: Any) -> None:
    if ids not in ("auto", "int64", "string"):
        raise InvalidArgument(f"ids is {ids!r}, it must be auto, int64 or string", ErrorDetails(field="ids"))
    if parallelism is not None:
        whole_number("parallelism", parallelism, DEFAULT_LIMITS.shards)


def _kind_of_ids(client: Client, collection: str, filter: Any, consistency: str) -> IdKind:
    """Return the type of the column of ids. Raises InvalidArgument if there are integers and strings."""
    first = next(client.scroll(collection, filter, 1, with_payload=False, consistency=consistency), None)
    if first is None or isinstance(first.id, str):
        return "int64" if first is None else "string"
    text = next(client.scroll(collection, filter, 1, after=INT64_MAX, with_payload=False, consistency=consistency), None)
    if text is None:
        return "int64"
    said = f"collection {collection!r} has ids that are integers ({first.id}) and ids that are strings ({text.id!r})"
    raise InvalidArgument(f"{said}: a column has one type, pass ids='string'", ErrorDetails(field="ids"))


def _usual_parallelism(points: int) -> int:
    resources = ray.cluster_resources() if ray.is_initialized() else {}  # type: ignore[no-untyped-call]
    processors = int(resources.get("CPU", 1))
    return max(1, min(TASKS_A_CPU * max(1, processors), points // LEAST_POINTS))
