"""The blocking client: every verb of Shoal as a method.

It makes no decisions: `verbs` decides, and `sync_driver` carries out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, Unpack

import numpy.typing as npt

from shoal.client.batches import Batches, BatchWrite, iterated
from shoal.client.collection_calls import CollectionCalls
from shoal.client.flow import Flow, Tried
from shoal.client.leg_input import FusedOptions, LookedFor, needs_legs
from shoal.client.legs import SearchLeg, Text
from shoal.client.operation_calls import OperationCalls
from shoal.client.pages import Pages
from shoal.client.point_updates import PointUpdates
from shoal.client.progress import Progress, Shown
from shoal.client.results import Hits, Point
from shoal.client.routers import FROM_ENVIRONMENT, address_from_input
from shoal.client.sync_driver import SyncDriver, Transport
from shoal.client.tls_input import PathInput, tls_files_from_input
from shoal.client.transports.choice import TransportName, blocking_transport
from shoal.client.verbs import Verbs
from shoal.client.writes import MESSAGES_AT_ONCE, Write
from shoal.core.points import PointId
from shoal.core.requests import Search
from shoal.wire.api_key import check_api_key
from shoal.wire.tls import TlsFiles

T = TypeVar("T")


def connect(
    address: str | Iterable[str] = FROM_ENVIRONMENT,
    port: int | None = None,
    *,
    timeout: float | None = None,
    transport: TransportName = "auto",
    tls_ca: PathInput | None = None,
    tls_cert: PathInput | None = None,
    tls_key: PathInput | None = None,
    api_key: str | None = None,
) -> Client:
    """Return a client of the cluster at `address`: "host:port" of a router, or several (a list, or joined by commas).

    address: by default that of the environment variable SHOAL_ADDRESS, or localhost:7600. port: if `address` is a host.
    Nothing is sent before the first call. With several addresses, a call moves on to the next one when a router does
    not answer. timeout: seconds for each call that gives none, retries included; None: 10 for reads, 60 for writes, 600
    for optimize, and 1 until a router was reached for the first time; a given one also waits for a cluster to start.

    transport: "auto" sends the first call over gRPC and the following ones over HTTP, which is faster, if the router
    says that it has an HTTP port that can be reached; "http" uses only HTTP; "grpc" uses only gRPC. An address
    "http://host:port" is a router's HTTP port itself. Answers and errors are the same over both.

    tls_ca: file of the CA that signed the routers' certificate (PEM); every connection is encrypted then, and an HTTP
    port is "https://host:port". tls_cert, tls_key: files of the client's own certificate and its key, for routers that
    ask for one. Files that are replaced are read again: new connections use them, and no call fails for it.

    api_key: for routers that ask for one; it is sent with each call, so give tls_ca, too, unless the way is safe.

    Raises InvalidArgument for a malformed address, an unknown transport, and files and keys that cannot be used.
    """
    tls, key = tls_files_from_input(tls_ca, tls_cert, tls_key), "" if api_key is None else check_api_key(api_key)
    return Client(address_from_input(address, port), timeout=timeout, transport=transport, tls=tls, api_key=key)


class Client(CollectionCalls, PointUpdates, OperationCalls):
    """A connection to a cluster. Thread-safe; close it, or use it in a `with` statement.

    Every method raises ShoalErrors. InvalidArgument: bad input, raised at once. NotFound: the collection is unknown.
    Unavailable: no server could answer within the timeout; until then the call is retried after growing pauses of at
    most 2 s. DeadlineExceeded: the answer did not arrive in time. After a failed write, `error.details.applied` says
    for each shard whether the write was applied (no, maybe, yes). It is always safe to call again with the same input.

    consistency of a read: "session" sees this client's own acknowledged writes; "any" sees what the chosen replica has;
    "primary" sees every write that any client got acknowledged before.

    `rebalance` has the verbs that spread data over the workers, `workers` those that take workers out of the cluster,
    and `keys` those of API keys.
    """

    def __init__(
        self,
        address: str | Iterable[str],
        *,
        timeout: float | None = None,
        transport: TransportName | Transport = "auto",
        tls: TlsFiles | None = None,
        api_key: str = "",
    ) -> None:
        """Create a client. transport: as `connect` takes it, or an object that sends the requests. tls: None
        for connections without TLS. api_key: "" for none.
        """
        self._verbs = Verbs(address, timeout)
        self._driver = SyncDriver(blocking_transport(transport, self._verbs.routers.addresses, tls, api_key))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<shoal.Client {self._verbs.routers}>"

    def close(self) -> None:
        """End running calls and release connections. Later calls raise PreconditionFailed."""
        self._driver.close()

    def optimize(self, name: str, progress: bool | Progress = False, *, timeout: float | None = None) -> None:
        """Seal and merge everything now; returns when no row is growing and no index build is pending.

        progress: as in `upsert`, with (rows in built indexes, all rows), looked up four times a second. The rows of a
        segment count when its index is built.
        """
        with Shown(progress, "optimize", name).drawn(None) as told:
            work = self._verbs.optimize(name, timeout, told)
            work.settled(self._driver.run_all(work.flows, len(work.flows), len(work.flows), work.done))

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
        """Write points, replacing those with the same id; returns their number when all are durable.

        ids: n ints (64 bits), strings or UUIDs; vectors: (n, dim) array or lists of real numbers, rounded to float32;
        payloads: n dicts or None, or None for all; all of them also as frames or Series of pandas or polars. If an id
        is given twice, the last point counts. Large input is cut into messages of about 4 MiB, of which four travel at
        a time; timeout holds for each of them. progress: True draws a bar with rows/s, on stderr or in a notebook's
        cell; a function is called with (acknowledged, all).

        In a collection with named vectors, vectors is a dict from names to such arrays or lists, as in {"image": a,
        "text": b}. A list or Series has None for each point that lacks the vector. An upsert is the whole point, so
        vectors that it does not give are gone; `update_vectors` keeps them.

        Raises InvalidArgument before anything is written; it names the vector and the index of the first bad point
        (`error.details.index`). Names and dimensions of a single message are checked by the server.
        """
        shown = Shown(progress, "upsert", name)
        write, before = self._verbs.upsert(name, ids, vectors, payloads, timeout)
        with shown.drawn(write.pieces[-1][1]) as told:
            return self._upsert(write, before, write.counting(told))

    def upsert_batches(self, name: str, batches: Iterable[Any], progress: bool | Progress = False, *, timeout: float | None = None) -> int:
        """Write points that come in batches, from a list or a generator; returns their number when all are durable.

        batches: of (ids, vectors) or (ids, vectors, payloads), each as `upsert` takes them. They are requested one at a
        time, so memory stays bounded: about 16 MiB of small batches are gathered and written before the next one is
        requested. If an id comes twice, the last point counts. progress: as in `upsert`, where `all` is the number of
        points taken so far.

        Raises InvalidArgument for a bad batch; it names the number of the batch, from 0, and the position in it
        (`error.details.index`). The batches before are then written; the bad one and those after it are not. An error
        of the iterator itself passes through; batches that were gathered but not yet written are then lost. It is
        always safe to run it all again.
        """
        gathering = self._verbs.upsert_batches(name, timeout)
        with Shown(progress, "upsert", name).drawn(None) as told:
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

        Ids that do not exist are ignored. An empty filter is refused. Each shard evaluates a filter again and again,
        each time on its points of that moment, until nothing matches. If a call by filter was retried internally, the
        number is that of the last attempt.
        """
        write = self._verbs.delete(name, ids, filter, timeout)
        return self._write(write, write.counting(None))

    def search(
        self,
        name: str,
        vector: Any = None,
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
        text: str | Text | None = None,
        legs: Sequence[SearchLeg] | None = None,
        using: str | None = None,
        **fused: Unpack[FusedOptions],
    ) -> Hits:
        """Return the k points nearest to `vector` (dim,), or with the words of `text`, or best in both, best first.

        filter: only points whose payload matches, as in {"label": 3, "price": {"$lt": 10}}; it costs no results and no
        recall. k: 10 if not given; there are fewer hits only if fewer match. radius: only points at least as near (l2:
        score at most radius; ip, cosine: at least). With radius and without k, all of them are returned, up to the
        16,384 that one answer holds; `more` of the result says whether k cut off any.

        How exact vectors are searched, one of three: exact=True; recall (0 < recall <= 1), the share of the true
        nearest to find on average, by default the collection's; params={"ef": 64} or {"nprobe": 8}.

        using: the name of the vector that is compared, in a collection with named vectors. There vector may also be a
        dict, as in {"image": [...], "text": [...]}, in which each is a leg with the name of its vector. text is never
        parsed; legs, instead of vector and text, are any number of Dense and Text. With any of these, or with one of
        `fused` (see FusedOptions), hits are ranked by fused scores, and tell `legs`, `highlights` and `group`.

        explain: `explain` of the result says how it was searched. allow_partial: leave out shards that do not answer,
        and name them in `missing_shards` of the result.
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
        if (fused or text is not None or legs is not None) and needs_legs(text, legs, fused):
            wanted = LookedFor(vector, text, legs, using)
            return self._run(self._verbs.fused_search(name, wanted, k, filter, radius, fused, options))
        quick = self._verbs.quick_search(name, vector, k, filter, radius, options, using) if self._driver.takes_bytes else None
        answer = None if quick is None else self._driver.exchange(quick.address, Search, quick.data, quick.timeout_s)
        if quick is not None and isinstance(answer, bytes):
            return quick.hits(answer)[0]
        flow = self._verbs.search(name, vector, k, filter, radius, options, using)
        return self._driver.run(flow, tried=answer if isinstance(answer, Tried) else None)

    def search_many(
        self,
        name: str,
        vectors: Any = None,
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
        text: Sequence[str | Text] | Text | None = None,
        legs: Sequence[SearchLeg | Sequence[Text]] | None = None,
        using: str | None = None,
        **fused: Unpack[FusedOptions],
    ) -> list[Hits]:
        """Search as `search` does for each row of `vectors` (n, dim), in as few calls as possible: one call takes 4,096
        rows and 1,000,000 hits. More are cut, and timeout holds for each call.

        k and filter: one for all rows, or a list with one for each (a filter of None: all points). With radius and
        without k, each row gets at most 1,000,000 / n hits, and 244 or more. text: a list with one for each query.
        legs: a Dense takes (n, dim), a Text a list; a list of Text is a leg, too. vectors by name are (n, dim) each.
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
        if (fused or text is not None or legs is not None) and needs_legs(text, legs, fused):
            wanted = LookedFor(vectors, text, legs, using)
            return self._run(self._verbs.fused_search_many(name, wanted, k, filter, radius, fused, options))
        quick = self._verbs.quick_search_many(name, vectors, k, filter, radius, options, using) if self._driver.takes_bytes else None
        answer = None if quick is None else self._driver.exchange(quick.address, Search, quick.data, quick.timeout_s)
        if quick is not None and isinstance(answer, bytes):
            return quick.hits(answer)
        flow = self._verbs.search_many(name, vectors, k, filter, radius, options, using)
        return self._driver.run(flow, tried=answer if isinstance(answer, Tried) else None)

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
        """Return points by id, in the order asked for; ids that do not exist are left out."""
        return self._run(
            self._verbs.get(name, ids, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout)
        )

    def count(
        self, name: str, filter: Mapping[str, Any] | None = None, *, consistency: str = "session", timeout: float | None = None
    ) -> int:
        """Return the number of points; with a filter, of those that match."""
        return self._run(self._verbs.count(name, filter, consistency, timeout))

    def scroll(
        self,
        name: str,
        filter: Mapping[str, Any] | None = None,
        batch: int = 1000,
        *,
        after: PointId | None = None,
        with_payload: bool = True,
        with_vectors: bool = False,
        consistency: str = "session",
        timeout: float | None = None,
    ) -> Iterator[Point]:
        """Iterate over all points, or those that match, by ids, integers before strings; after: begin behind this id.
        Each read is of `batch` points. A point that is there all the while comes once. NotFound: dropped meanwhile.
        """
        pages = self._verbs.scroll(
            name, filter, batch, after, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout
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
