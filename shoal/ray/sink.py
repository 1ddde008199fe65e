"""Write a dataset into a collection: each write task upserts the blocks that Ray hands to it, one after the other.

Ray may run a task again after a worker of Ray was lost. The same ids are written again then, so no point is doubled.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray.data import Datasink
from ray.data.block import BlockAccessor

from shoal.client.batch_pipeline import BatchPipeline, PointBatch
from shoal.client.client import Client, connect
from shoal.client.inputs import name_from_input, points_from_input, seconds
from shoal.client.named_columns import check_fits
from shoal.client.named_input import name_of_vector
from shoal.client.routers import address_from_input, addresses_from_input
from shoal.client.transports.choice import TransportName
from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.ray.blocks import BlockColumns, rows_at_once

TIMEOUT_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkResult:
    """What was written. points: acknowledged, each durable; rows: of the dataset; tasks: write tasks.

    Of rows of one block with the same id only the last one is written, so points may be fewer than rows.
    """

    points: int
    rows: int
    tasks: int


class Sink(Datasink[int]):
    """Writes the rows of a dataset as points: `dataset.write_datasink(Sink("localhost:7600", "things"))`.

    `result` is a SinkResult after a dataset was written whole, and None before and after a failure. Then points of some
    blocks may be written. It is safe to write the dataset again: points are replaced by themselves.
    """

    def __init__(
        self,
        address: str | Iterable[str],
        collection: str,
        *,
        id: str = "id",
        vector: str | Mapping[str, str] = "vector",
        payload: str | Sequence[str] | None = None,
        timeout: float = TIMEOUT_S,
        transport: TransportName = "auto",
    ) -> None:
        """Write into the collection, which must exist; nothing is sent yet.

        address, transport: see `shoal.connect`; the address must be reachable from every node of Ray. id: the column
        of ids (integers, strings or UUIDs); vector: of vectors (tensors, lists or fixed-size lists of numbers), for a
        collection with named vectors a dict with the column of each, as in {"image": "pixels", "text": "embedding"},
        null where a point lacks the vector; payload: the columns that become the fields of payloads, or the one column
        (a string) that holds whole payloads, as objects or JSON texts; None: all other columns; []: no payloads.
        timeout: seconds for each message of about 4 MiB, pauses that a busy cluster asks for included.

        Raises InvalidArgument for a malformed argument.
        """
        self._address = tuple(addresses_from_input(address_from_input(address, None)))
        self._collection = name_from_input(collection)
        points = BlockColumns(id=_column("id", id), vector=_vector_columns(vector), payload=())
        self._columns = replace(points, payload=_payload_columns(payload, points.of_points))
        self._options: dict[str, Any] = {"timeout": seconds(timeout, TIMEOUT_S), "transport": transport}
        self._spec: CollectionSpec | None = None
        self.result: SinkResult | None = None

    def on_write_start(self, schema: Any = None) -> None:
        """Ask for the collection, before any task begins. Raises NotFound, or Unavailable; InvalidArgument if its
        vectors are not those that columns are given for.

        schema: not looked at. It is that of the rows before the steps that Ray joins with the write.
        """
        self.result = None
        with connect(self._address, transport=self._options["transport"]) as client:
            self._spec = client.describe_collection(self._collection).spec
        _check_names(self._columns.vector, self._spec)

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        """Write the blocks of one task; return the number of points. Two pieces are under way, while the next one is
        taken and checked.

        Raises ShoalErrors. InvalidArgument names the column and the row; nothing of that block is written then.
        """
        written: list[int] = []
        with connect(self._address, **self._options) as client:
            BatchPipeline(lambda piece, _: written.append(self._upsert(client, piece)), lambda *_: None).run(self._checked(client, blocks))
        return sum(written)

    def on_write_complete(self, write_result: Any) -> None:
        """Keep what was written as `result`."""
        told = [int(points) for points in write_result.write_returns]
        self.result = SinkResult(points=sum(told), rows=int(write_result.num_rows), tasks=len(told))

    def get_name(self) -> str:
        """Return the name that Ray shows for the write tasks."""
        return f"Shoal({self._collection})"

    def _checked(self, client: Client, blocks: Iterable[Any]) -> Iterator[PointBatch]:
        """Yield the pieces of blocks; the first of a block when all of it was checked.

        Payloads of a block of one piece are checked by its upsert. A block without rows may lack columns, too.
        """
        spec = self._spec or client.describe_collection(self._collection).spec
        for table in (BlockAccessor.for_block(block).to_arrow() for block in blocks):
            if table.num_rows <= rows_at_once(table.num_rows, table.nbytes):
                for piece in self._columns.pieces_of(table) if table.num_rows else ():
                    self._check(piece, spec, None)
                    yield piece
                continue
            for piece in self._columns.pieces_of(table):
                self._check(piece, spec, piece.payloads)
            yield from self._columns.pieces_of(table)

    def _check(self, piece: PointBatch, spec: CollectionSpec, payloads: Any) -> None:
        """Raise InvalidArgument for what the cluster would refuse. payloads: None to leave them out."""
        try:
            points = points_from_input(piece.ids, piece.vectors, payloads, integers_stay=True)
            check_fits(points, spec)
        except InvalidArgument as error:
            raise self._columns.named(error, piece.places[0]) from None

    def _upsert(self, client: Client, piece: PointBatch) -> int:
        try:
            return client.upsert(self._collection, piece.ids, piece.vectors, piece.payloads)
        except InvalidArgument as error:
            raise self._columns.named(error, piece.places[0]) from None


def _column(field: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise InvalidArgument(f"{field} is {value!r}, it must be the name of a column", ErrorDetails(field=field))


def _vector_columns(value: Any) -> str | Mapping[str, str]:
    if not isinstance(value, Mapping):
        return _column("vector", value)
    if not value:
        raise InvalidArgument("vector is an empty dict, give the column of at least one vector", ErrorDetails(field="vector"))
    return {name_of_vector(name, "vector"): _column("vector", column) for name, column in value.items()}


def _check_names(vector: str | Mapping[str, str], spec: CollectionSpec) -> None:
    """Raise InvalidArgument unless columns are given for vectors that the collection has."""
    if not isinstance(vector, str):
        for name in vector:
            spec.vector_of(name)
    elif spec.vectors:
        wanted = ", ".join(f"{each.name!r}: ..." for each in spec.vectors)
        said = f"collection {spec.name!r} has several vectors: give the column of each, vector={{{wanted}}}, not vector={vector!r}"
        raise InvalidArgument(said, ErrorDetails(field="vector"))


def _payload_columns(value: Any, others: Sequence[str]) -> str | tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (value,)
    for at, name in enumerate(names):
        _column("payload", name)
        if name in others or name in names[:at]:
            raise InvalidArgument(f"payload names the column {name!r}, which is taken already", ErrorDetails(field="payload"))
    return value if isinstance(value, str) else names
