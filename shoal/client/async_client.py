"""The asyncio client: the verbs of `Client`, awaited.

It makes no decisions: `verbs` decides, and `async_driver` carries out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, TypeVar, Unpack

import numpy.typing as npt

from shoal.client.async_driver import AsyncDriver, AsyncTransport
from shoal.client.batches import Batches, BatchWrite, iterated
from shoal.client.client import Client
from shoal.client.collection_calls import AwaitedCollectionCalls
from shoal.client.documented import documented_as
from shoal.client.flow import Flow, Tried
from shoal.client.leg_input import FusedOptions, LookedFor, needs_legs
from shoal.client.legs import SearchLeg, Text
from shoal.client.operation_calls import AwaitedOperationCalls
from shoal.client.pages import Pages
from shoal.client.point_updates import AwaitedPointUpdates
from shoal.client.progress import Progress, Shown
from shoal.client.results import Hits, Point
from shoal.client.routers import FROM_ENVIRONMENT, address_from_input
from shoal.client.tls_input import PathInput, tls_files_from_input
from shoal.client.transports.choice import TransportName, async_transport
from shoal.client.verbs import Verbs
from shoal.client.writes import MESSAGES_AT_ONCE, Write
from shoal.core.points import PointId
from shoal.core.requests import Search
from shoal.wire.api_key import check_api_key
from shoal.wire.tls import TlsFiles

T = TypeVar("T")


def connect_async(
    address: str | Iterable[str] = FROM_ENVIRONMENT,
    port: int | None = None,
    *,
    timeout: float | None = None,
    transport: TransportName = "auto",
    tls_ca: PathInput | None = None,
    tls_cert: PathInput | None = None,
    tls_key: PathInput | None = None,
    api_key: str | None = None,
) -> AsyncClient:
    """Return an asyncio client of the cluster at `address`, for any number of event loops (of asyncio or uvloop).

    All arguments are those of `connect`. The first call in a loop opens connections of this loop. They
    are closed when the loop ends (`asyncio.run`, `asyncio.Runner`), when the client is closed (`async with`, `close`),
    or when it is no longer used. Raises InvalidArgument for a malformed address or an unknown transport.
    """
    tls, key = tls_files_from_input(tls_ca, tls_cert, tls_key), "" if api_key is None else check_api_key(api_key)
    return AsyncClient(address_from_input(address, port), timeout=timeout, transport=transport, tls=tls, api_key=key)


@documented_as(Client)
class AsyncClient(AwaitedCollectionCalls, AwaitedPointUpdates, AwaitedOperationCalls):
    """A connection to a cluster for asyncio: the verbs of `Client`, awaited; `scroll` is an async iterator.

    Any number of tasks may use it at once, also of several event loops, in several threads. Cancelling a task ends its
    calls and leaves nothing running. A cancelled write may have been applied in part; it is always safe to call again
    with the same input. Connections are closed with their event loop, and when the client is no longer used; to release
    them earlier, call `await client.close()`, or use an `async with` statement. Errors, timeouts, retries and the
    consistency of reads are those of `Client`.
    """

    def __init__(
        self,
        address: str | Iterable[str],
        *,
        timeout: float | None = None,
        transport: TransportName | AsyncTransport = "auto",
        tls: TlsFiles | None = None,
        api_key: str = "",
    ) -> None:
        """Create a client. transport: as `connect_async` takes it, or an object that sends the requests. tls: None
        for connections without TLS. api_key: "" for none.
        """
        self._verbs = Verbs(address, timeout)
        self._driver = AsyncDriver(async_transport(transport, self._verbs.routers.addresses, tls, api_key))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<shoal.AsyncClient {self._verbs.routers}>"

    async def close(self) -> None:
        """End running calls and release the connections of all loops. Running and later calls raise
        PreconditionFailed.
        """
        await self._driver.close()

    async def optimize(self, name: str, progress: bool | Progress = False, *, timeout: float | None = None) -> None:
        """See Client."""
        with Shown(progress, "optimize", name).drawn(None) as told:
            work = self._verbs.optimize(name, timeout, told)
            work.settled(await self._driver.run_all(work.flows, len(work.flows), len(work.flows), work.done))

    async def upsert(
        self,
        name: str,
        ids: Any,
        vectors: Any,
        payloads: Any = None,
        progress: bool | Progress = False,
        *,
        timeout: float | None = None,
    ) -> int:
        """See Client."""
        shown = Shown(progress, "upsert", name)
        write, before = self._verbs.upsert(name, ids, vectors, payloads, timeout)
        with shown.drawn(write.pieces[-1][1]) as told:
            return await self._upsert(write, before, write.counting(told))

    async def upsert_batches(
        self,
        name: str,
        batches: Iterable[Any] | AsyncIterable[Any],
        progress: bool | Progress = False,
        *,
        timeout: float | None = None,
    ) -> int:
        """Write points in batches as `Client.upsert_batches` does, also from an async iterable.

        A plain iterable is advanced on the event loop.
        """
        gathering = self._verbs.upsert_batches(name, timeout)
        with Shown(progress, "upsert", name).drawn(None) as told:
            async with aclosing(_each(batches)) as each:
                async for batch in each:
                    await self._parts(gathering, gathering.take(batch), told)
            await self._parts(gathering, gathering.rest(), told)
        return gathering.written

    async def _parts(self, gathering: Batches, parts: Iterator[BatchWrite], told: Progress | None) -> None:
        for part in parts:
            with gathering.naming(part):
                done = part.write.counting(told, before=gathering.written, total=part.told)
                gathering.written += await self._upsert(part.write, part.before, done)

    async def delete(self, name: str, ids: Any = None, filter: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> int:
        """See Client."""
        write = self._verbs.delete(name, ids, filter, timeout)
        return await self._write(write, write.counting(None))

    async def search(
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
        """See Client."""
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
            return await self._run(self._verbs.fused_search(name, wanted, k, filter, radius, fused, options))
        quick = self._verbs.quick_search(name, vector, k, filter, radius, options, using) if self._driver.takes_bytes else None
        answer = None if quick is None else await self._driver.exchange(quick.address, Search, quick.data, quick.timeout_s)
        if quick is not None and isinstance(answer, bytes):
            return quick.hits(answer)[0]
        flow = self._verbs.search(name, vector, k, filter, radius, options, using)
        return await self._driver.run(flow, tried=answer if isinstance(answer, Tried) else None)

    async def search_many(
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
        """See Client."""
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
            return await self._run(
                self._verbs.fused_search_many(name, LookedFor(vectors, text, legs, using), k, filter, radius, fused, options)
            )
        quick = self._verbs.quick_search_many(name, vectors, k, filter, radius, options, using) if self._driver.takes_bytes else None
        answer = None if quick is None else await self._driver.exchange(quick.address, Search, quick.data, quick.timeout_s)
        if quick is not None and isinstance(answer, bytes):
            return quick.hits(answer)
        flow = self._verbs.search_many(name, vectors, k, filter, radius, options, using)
        return await self._driver.run(flow, tried=answer if isinstance(answer, Tried) else None)

    async def get(
        self,
        name: str,
        ids: Any,
        *,
        with_payload: bool = True,
        with_vectors: bool = True,
        consistency: str = "session",
        timeout: float | None = None,
    ) -> list[Point]:
        """See Client."""
        return await self._run(
            self._verbs.get(name, ids, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout)
        )

    async def count(
        self, name: str, filter: Mapping[str, Any] | None = None, *, consistency: str = "session", timeout: float | None = None
    ) -> int:
        """See Client."""
        return await self._run(self._verbs.count(name, filter, consistency, timeout))

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
    ) -> AsyncIterator[Point]:
        """Iterate as `Client.scroll` does, with `async for`: over all points in the order of their ids, read page by
        page.
        """
        pages = self._verbs.scroll(
            name, filter, batch, after, with_payload=with_payload, with_vectors=with_vectors, consistency=consistency, timeout=timeout
        )
        return self._points(pages)

    async def _points(self, pages: Pages) -> AsyncIterator[Point]:
        while (flow := pages.next_page()) is not None:
            for point in pages.take(await self._run(flow)):
                yield point

    async def _run(self, flow: Flow[T]) -> T:
        return await self._driver.run(flow)

    async def _upsert(self, write: Write, before: Flow[None] | None, done: Callable[[int], None]) -> int:
        if before is not None:
            await self._run(before)
        return await self._write(write, done)

    async def _write(self, write: Write, done: Callable[[int], None]) -> int:
        return write.settled(await self._driver.run_all(write.flows(), len(write.pieces), MESSAGES_AT_ONCE, done))


async def _each(batches: Iterable[Any] | AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    if isinstance(batches, AsyncGenerator):
        # The generator is closed here, so that it releases its resources when the call fails or is cancelled.
        async with aclosing(batches):
            async for batch in batches:
                yield batch
    elif isinstance(batches, AsyncIterable):
        async for batch in batches:
            yield batch
    else:
        for batch in iterated(batches):
            yield batch
