"""The blocking client: every verb of Shoal as a method. It decides nothing; `verbs` does, and `sync_driver` carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from shoal.client.flow import Flow
from shoal.client.progress import rows_bar
from shoal.client.results import ClusterInfo, CollectionInfo, CollectionSummary, Hit, Hits, Point
from shoal.client.sync_driver import SyncDriver, Transport
from shoal.client.transport import GrpcTransport
from shoal.client.verbs import Pages, Verbs
from shoal.client.writes import MESSAGES_AT_ONCE, Write

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told, while an upsert runs, how many points are acknowledged and how many there are. Called by one thread at a time."""


def connect(address: str | Iterable[str] = "localhost:7600", *, timeout: float | None = None) -> Client:
    """A client of the cluster behind `address`: "host:port" of a router, or several of them (a list, or commas between).

    Nothing is sent before the first call. With several addresses, calls move on to the next when one does not answer.
    timeout: seconds for each call that names none; by default 10 for reads, 60 for writes and 600 for optimize, retries
    included. Raises InvalidArgument for what is no address.
    """
    return Client(address, timeout=timeout)


class Client:
    """A connection to a cluster. Thread-safe; close it, or use it in a `with` statement.

    Every method raises a ShoalError: InvalidArgument at once for bad input, NotFound for an unknown collection, Unavailable
    when nobody could answer within the timeout (asked again with growing pauses of at most 2 s until then), DeadlineExceeded
    when an answer did not come in time. After a failed write, `error.details.applied` says per shard whether it was applied
    (no, maybe, yes); calling again with the same input is always safe.

    consistency of a read: "session" sees this client's own acknowledged writes, "any" whatever the replica asked has,
    "primary" every write acknowledged before, by whomever.
    """

    def __init__(self, address: str | Iterable[str], *, timeout: float | None = None, transport: Transport | None = None) -> None:
        """transport: how requests travel; gRPC unless a test says otherwise."""
        self._verbs = Verbs(address, timeout)
        self._driver = SyncDriver(transport or GrpcTransport())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End running calls and release connections. Later calls raise PreconditionFailed."""
        self._driver.close()

    def create_collection(
        self,
        name: str,
        dim: int,
        metric: str = "l2",
        shards: int = 1,
        replicas: int = 1,
        *,
        index: str = "auto",
        timeout: float | None = None,
    ) -> None:
        """Create a collection; returns when it can be used.

        metric: "l2" (squared Euclidean distance), "ip" (inner product) or "cosine"; index: "auto" or "hnsw".
        Raises AlreadyExists when another call created the name.
        """
        self._run(self._verbs.create_collection(name, dim, metric=metric, shards=shards, replicas=replicas, index=index, timeout=timeout))

    def drop_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Drop a collection and delete its data. The name is free at once."""
        self._run(self._verbs.drop_collection(name, timeout))

    def list_collections(self, *, timeout: float | None = None) -> list[CollectionSummary]:
        """All collections, by name: `.name`, `.spec`, `.state`, `.id` of each."""
        return self._run(self._verbs.list_collections(timeout))

    def describe_collection(self, name: str, *, timeout: float | None = None) -> CollectionInfo:
        """A collection's spec, points, rows, segments and sizes."""
        return self._run(self._verbs.describe_collection(name, timeout))

    def optimize(self, name: str, *, timeout: float | None = None) -> None:
        """Seal and merge everything now; returns when no row is growing and no index build is pending."""
        self._run(self._verbs.optimize(name, timeout))

    def cluster(self, *, timeout: float | None = None) -> ClusterInfo:
        """Workers and shards of the cluster."""
        return self._run(self._verbs.cluster(timeout))

    def upsert(
        self,
        name: str,
        ids: Any,
        vectors: Any,
        payloads: Any = None,
        progress: bool | Progress = False,
        *,
        timeout: float | None = None,
    ) -> int:
        """Write points, replacing those with the same id; returns their number when every one is durable.

        ids: n ints (64 bits) or strings; vectors: (n, dim) array or lists of real numbers, rounded to float32; payloads: n
        dicts or None, or None for all. When an id is given twice the last point counts.
        Large input is cut into messages of about 4 MiB, of which four travel at a time; timeout holds for each of them.
        progress: True draws a bar with rows/s on stderr; a function is called with (acknowledged, all).
        Raises InvalidArgument, before anything is written, naming the index of the first bad point (`error.details.index`).
        """
        write, before = self._verbs.upsert(name, ids, vectors, payloads, timeout)
        if before is not None:
            self._run(before)
        if progress is True:
            with rows_bar(f"upsert {name}", write.pieces[-1][1]) as moved:
                return self._write(write, moved)
        return self._write(write, progress or None)

    def delete(self, name: str, ids: Any = None, filter: Any = None, *, timeout: float | None = None) -> int:
        """Delete points by id; returns how many there were. Ids that do not exist are no error. filter: not in this version."""
        return self._write(self._verbs.delete(name, ids, filter, timeout), None)

    def search(
        self,
        name: str,
        vector: Any,
        k: int = 10,
        *,
        filter: Any = None,
        recall: float | None = None,
        params: dict[str, Any] | None = None,
        exact: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
        allow_partial: bool = False,
        with_payload: bool = True,
        with_vectors: bool = False,
        radius: float | None = None,
        explain: bool = False,
    ) -> list[Hit]:
        """The k points nearest to `vector` (dim,), best first; fewer when the collection holds fewer.

        exact: compare with every point; allow_partial: answer without shards that do not, and name them in the result's
        `missing_shards`. filter, recall, params, radius and explain are refused by this version.
        """
        options = {
            "filter": filter,
            "recall": recall,
            "params": params,
            "exact": exact,
            "consistency": consistency,
            "timeout": timeout,
            "allow_partial": allow_partial,
            "with_payload": with_payload,
            "with_vectors": with_vectors,
            "radius": radius,
            "explain": explain,
        }
        return self._run(self._verbs.search(name, vector, k, options))

    def search_many(
        self,
        name: str,
        vectors: Any,
        k: int = 10,
        *,
        filter: Any = None,
        recall: float | None = None,
        params: dict[str, Any] | None = None,
        exact: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
        allow_partial: bool = False,
        with_payload: bool = True,
        with_vectors: bool = False,
        radius: float | None = None,
        explain: bool = False,
    ) -> list[Hits]:
        """As `search`, for each row of `vectors` (n, dim), in one call: at most 4,096 rows and 1,000,000 hits."""
        options = {
            "filter": filter,
            "recall": recall,
            "params": params,
            "exact": exact,
            "consistency": consistency,
            "timeout": timeout,
            "allow_partial": allow_partial,
            "with_payload": with_payload,
            "with_vectors": with_vectors,
            "radius": radius,
            "explain": explain,
        }
        return self._run(self._verbs.search_many(name, vectors, k, options))

    def get(
        self,
        name: str,
        ids: Any,
        *,
        with_payload: bool = True,
        with_vectors: bool = True,
        consistency: str = "session",
        timeout: float | None = None,
    ) -> list[Point]:
        """Points by id, in the order asked for; ids that do not exist are left out."""
        return self._run(
            self._verbs.get(name, ids, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout)
        )

    def count(self, name: str, filter: Any = None, *, consistency: str = "session", timeout: float | None = None) -> int:
        """Number of points. filter: not in this version."""
        return self._run(self._verbs.count(name, filter, consistency, timeout))

    def scroll(
        self,
        name: str,
        filter: Any = None,
        batch: int = 1000,
        *,
        with_payload: bool = True,
        with_vectors: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
    ) -> Iterator[Point]:
        """All points in id order, integers before strings, read `batch` at a time while you iterate; timeout holds for each.

        Every point that exists all the while comes exactly once. Bad arguments are refused at the call, not at the first
        point. filter: not in this version.
        """
        pages = self._verbs.scroll(
            name, filter, batch, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout
        )
        return self._points(pages)

    def _points(self, pages: Pages) -> Iterator[Point]:
        while (flow := pages.next_page()) is not None:
            yield from pages.take(self._run(flow))

    def _run(self, flow: Flow[T]) -> T:
        return self._driver.run(flow)

    def _write(self, write: Write, progress: Progress | None) -> int:
        acknowledged, total = 0, write.pieces[-1][1]

        def done(position: int) -> None:
            nonlocal acknowledged
            start, end = write.pieces[position]
            acknowledged += end - start
            if progress is not None:
                progress(acknowledged, total)

        outcomes: list[Any] = list(self._driver.run_all(write.flows(), len(write.pieces), MESSAGES_AT_ONCE, done))
        return write.settled(outcomes)
