"""The blocking client: every verb of Shoal as a method.

It decides nothing; `verbs` does, and `sync_driver` carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy.typing as npt

from shoal.client.batches import Batches, BatchWrite, iterated
from shoal.client.flow import Flow
from shoal.client.progress import Progress, Shown
from shoal.client.results import Hits, Point
from shoal.client.sync_driver import SyncDriver, Transport
from shoal.client.sync_transport import GrpcTransport
from shoal.client.verbs import Pages, Verbs
from shoal.client.writes import MESSAGES_AT_ONCE, Write
from shoal.core.recovery import AuditEntry
from shoal.core.replies import ClusterInfo, CollectionInfo, CollectionSummary, ShardRecovery
from shoal.core.shard_calls import SegmentCurve, ShardRecall

T = TypeVar("T")


def connect(address: str | Iterable[str] = "localhost:7600", *, timeout: float | None = None) -> Client:
    """A client of the cluster behind `address`: "host:port" of a router, or several of them (a list, or commas
    between).

    Nothing is sent before the first call. With several addresses, calls move on to the next when one does not answer.
    timeout: seconds for each call that names none; by default 10 for reads, 60 for writes and 600 for optimize, retries
    included. Raises InvalidArgument for what is no address.
    """
    return Client(address, timeout=timeout)


class Client:
    """A connection to a cluster. Thread-safe; close it, or use it in a `with` statement.

    Every method raises a ShoalError: InvalidArgument at once for bad input, NotFound for an unknown collection,
    Unavailable when nobody could answer within the timeout (asked again with growing pauses of at most 2 s until then),
    DeadlineExceeded when an answer did not come in time. After a failed write, `error.details.applied` says per shard
    whether it was applied (no, maybe, yes); calling again with the same input is always safe.

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
        recall: float = 0.95,
        min_isr: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Create a collection; returns when it can be used.

        metric: "l2" (squared Euclidean distance), "ip" (inner product) or "cosine". index: "auto" (exact while small,
        then a graph), "flat" (always exact), "hnsw", "ivf", or a FAISS factory string such as "HNSW32", "HNSW16,SQ8",
        "IVF1024,Flat", "IVF1024,PQ64" or "IVF1024,RaBitQ". Quantised indexes take less memory; their hits are scored
        exactly from the stored vectors. recall: target of searches that name none, 0 < recall <= 1. replicas: of
        each shard, 1 to 7, on as many workers. min_isr: replicas that a write must reach before it is acknowledged, 1
        to replicas; None for one less than replicas. Raises AlreadyExists when another call created the name,
        PreconditionFailed when there are fewer live workers than replicas, InvalidArgument for what cannot work, as a
        PQ that does not divide dim.
        """
        self._run(
            self._verbs.create_collection(
                name,
                dim,
                metric=metric,
                shards=shards,
                replicas=replicas,
                index=index,
                recall=recall,
                min_isr=min_isr,
                timeout=timeout,
            )
        )

    def alter_collection(
        self,
        name: str,
        *,
        index: str | None = None,
        recall: float | None = None,
        replicas: int | None = None,
        min_isr: int | None = None,
        timeout: float | None = None,
    ) -> None:
        """Change a live collection; returns when that is decided.

        Searches go on with the old index while segments are built anew aside and swapped one by one:
        `describe_collection(name).builds_pending` tells how many shards have one running or due (0: all is done),
        `.waiting` why it does not begin. A new recall holds from the next searches on. Replicas come and go behind it;
        writes and searches go on. All as in `create_collection`; None leaves it as it is; min_isr 0 is the usual one.
        Raises PreconditionFailed for more replicas than there are live workers.
        """
        self._run(self._verbs.alter_collection(name, index=index, recall=recall, replicas=replicas, min_isr=min_isr, timeout=timeout))

    def drop_collection(self, name: str, *, timeout: float | None = None) -> None:
        """Drop a collection and delete its data.

        When it returns, the router asked lists it no more, and the name is free.
        """
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

    def tune(self, name: str, k: int = 10, *, timeout: float | None = None) -> list[SegmentCurve]:
        """Measure recall against cost of each sealed segment now, for k hits, on queries the collection was asked
        (while it has seen too few, on points of its own), and keep what was learnt for later searches.

        Each SegmentCurve has points of growing breadth: recall, and microseconds of one search. Segments that are
        searched exactly have no curve. Takes seconds to minutes, at low priority.
        """
        return self._run(self._verbs.tune(name, k, timeout))

    def measure_recall(
        self, name: str, k: int = 10, sample: int = 100, recall: float | None = None, *, timeout: float | None = None
    ) -> list[ShardRecall]:
        """Recall that searches have now: of each shard, `sample` queries it was asked are searched as any search is and
        compared with the exact answer, at low priority.

        recall: the target to search with; None for the collection's own. ShardRecall.real_queries is False while a
        shard has seen too few queries, so that points of its own stood in for them.
        """
        return self._run(self._verbs.measure_recall(name, k, sample, recall, timeout))

    def recover_shard(
        self,
        name: str,
        shard: int,
        *,
        worker: str | None = None,
        accept_data_loss: bool = False,
        reason: str = "",
        asked_by: str = "",
        timeout: float | None = None,
    ) -> ShardRecovery:
        """For a shard whose in-sync replicas are all lost for good: make what another replica holds its data.

        Without accept_data_loss nothing is changed: the answer tells which replica would be believed and which would be
        given up. worker: whose replica is to be believed, None for the longest log. reason, asked_by: for the audit, at
        most 1,000 and 64 characters. Raises PreconditionFailed while a replica that holds every acknowledged write may
        still be had.
        """
        return self._run(
            self._verbs.recover_shard(
                name, shard, worker=worker, accept_data_loss=accept_data_loss, reason=reason, asked_by=asked_by, timeout=timeout
            )
        )

    def audit(self, limit: int = 100, *, timeout: float | None = None) -> list[AuditEntry]:
        """What operators did that may have cost data, newest first, at most `limit` entries."""
        return self._run(self._verbs.audit(limit, timeout))

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

        ids: n ints (64 bits) or strings; vectors: (n, dim) array or lists of real numbers, rounded to float32;
        payloads: n dicts or None, or None for all. When an id is given twice the last point counts. Large input is cut
        into messages of about 4 MiB, of which four travel at a time; timeout holds for each of them. progress: True
        draws a bar with rows/s on stderr; a function is called with (acknowledged, all). Raises InvalidArgument, before
        anything is written, naming the index of the first bad point (`error.details.index`).
        """
        shown = Shown(progress, f"upsert {name}")
        write, before = self._verbs.upsert(name, ids, vectors, payloads, timeout)
        with shown.drawn(write.pieces[-1][1]) as told:
            return self._upsert(write, before, write.counting(told))

    def upsert_batches(self, name: str, batches: Iterable[Any], progress: bool | Progress = False, *, timeout: float | None = None) -> int:
        """Write points that come in batches, from a list or a generator; returns their number when every one is
        durable.

        batches: of (ids, vectors) or (ids, vectors, payloads), each as `upsert` takes them. They are asked for one at a
        time, so memory stays bounded: about 16 MiB of small batches are gathered and written before the next one is
        asked for. When an id comes twice the last point counts. progress: as in `upsert`, with the points taken so far
        for all. Raises InvalidArgument for a bad batch, naming its number from 0 and the position in it
        (`error.details.index`); the batches before it are then written, nothing of it or behind it is. What the
        iterator itself raises passes through; batches that were gathered and not yet written are then given up. Doing
        it all again is always safe.
        """
        gathering = self._verbs.upsert_batches(name, timeout)
        with Shown(progress, f"upsert {name}").drawn(None) as told:
            for batch in iterated(batches):
                self._parts(gathering, gathering.take(batch), told)
            self._parts(gathering, gathering.rest(), told)
        return gathering.written

    def _parts(self, gathering: Batches, parts: Iterator[BatchWrite], told: Progress | None) -> None:
        for part in parts:
            with gathering.naming(part):
                done = part.write.counting(told, before=gathering.written, total=part.told)
                gathering.written += self._upsert(part.write, part.before, done)

    def delete(self, name: str, ids: Any = None, filter: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> int:
        """Delete points by ids, or all that match a filter; returns how many there were.

        Ids that do not exist are no error. A filter is evaluated on each shard as of one moment after another until
        nothing matches any more; an empty one is refused. When a call by filter was tried again inside, the number is
        that of the last attempt.
        """
        write = self._verbs.delete(name, ids, filter, timeout)
        return self._write(write, write.counting(None))

    def search(
        self,
        name: str,
        vector: Any,
        k: int | None = None,
        *,
        filter: Mapping[str, Any] | None = None,
        recall: float | None = None,
        params: Mapping[str, int] | None = None,
        exact: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
        allow_partial: bool = False,
        with_payload: bool = True,
        with_vectors: bool = False,
        radius: float | None = None,
        explain: bool = False,
    ) -> Hits:
        """The k points nearest to `vector` (dim,), best first; fewer only when fewer match.

        filter: only points whose payload matches, as in {"label": 3, "price": {"$lt": 10}}; it costs no results and no
        recall. k: 10 unless given. radius: only points at least as near (l2: score at most radius; ip, cosine: at
        least); without a k then all of them, as far as one answer holds 16,384, and the result's `more` tells when k
        cut them off. How exact: exact=True compares with every point; recall (0 < recall <= 1) is the share of the true
        nearest to find on average, by default the collection's; params={"ef": 64} or {"nprobe": 8} says how far to
        search an index. One of the three. explain: the result's `explain` tells how each segment of each shard was
        searched; allow_partial: answer without shards that do not, and name them in the result's `missing_shards`.
        """
        options = {
            "recall": recall,
            "params": params,
            "exact": exact,
            "consistency": consistency,
            "timeout": timeout,
            "allow_partial": allow_partial,
            "with_payload": with_payload,
            "with_vectors": with_vectors,
            "explain": explain,
        }
        return self._run(self._verbs.search(name, vector, k, filter, radius, options))

    def search_many(
        self,
        name: str,
        vectors: Any,
        k: int | Sequence[int] | npt.NDArray[Any] | None = None,
        *,
        filter: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        recall: float | None = None,
        params: Mapping[str, int] | None = None,
        exact: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
        allow_partial: bool = False,
        with_payload: bool = True,
        with_vectors: bool = False,
        radius: float | None = None,
        explain: bool = False,
    ) -> list[Hits]:
        """As `search`, for each row of `vectors` (n, dim), in one call: at most 4,096 rows and 1,000,000 hits.

        k and filter: one for all rows, or a list with one for each (a filter of None: all points). With radius and
        without a k, each row gets at most 1,000,000 / n hits.
        """
        options = {
            "recall": recall,
            "params": params,
            "exact": exact,
            "consistency": consistency,
            "timeout": timeout,
            "allow_partial": allow_partial,
            "with_payload": with_payload,
            "with_vectors": with_vectors,
            "explain": explain,
        }
        return self._run(self._verbs.search_many(name, vectors, k, filter, radius, options))

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

    def count(
        self, name: str, filter: Mapping[str, Any] | None = None, *, consistency: str = "session", timeout: float | None = None
    ) -> int:
        """Number of points; with a filter, of those that match."""
        return self._run(self._verbs.count(name, filter, consistency, timeout))

    def scroll(
        self,
        name: str,
        filter: Mapping[str, Any] | None = None,
        batch: int = 1000,
        *,
        with_payload: bool = True,
        with_vectors: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
    ) -> Iterator[Point]:
        """All points, or those that match a filter, in id order, integers before strings, read `batch` at a time while
        you iterate; timeout holds for each.

        Every point that exists, and matches, all the while comes exactly once. Raises NotFound when the collection is
        dropped meanwhile, made anew or not. Bad arguments are refused at the call, not at the first point.
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

    def _upsert(self, write: Write, before: Flow[None] | None, done: Callable[[int], None]) -> int:
        if before is not None:
            self._run(before)
        return self._write(write, done)

    def _write(self, write: Write, done: Callable[[int], None]) -> int:
        return write.settled(self._driver.run_all(write.flows(), len(write.pieces), MESSAGES_AT_ONCE, done))
