"""A watch over etcd. It goes on after broken streams, dead endpoints and compaction, until its reader closes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from shoal.core.errors import PermissionDenied, Unauthenticated
from shoal.store.etcd.channels import EtcdEndpoint, EtcdEndpoints
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.verdict import StaleToken
from shoal.store.etcd.watch_progress import Advance, Position, Relist, Reopen, WatchCreated, absorb
from shoal.store.etcd.watch_stream import EtcdWatchStream
from shoal.store.interface import Delta, Listed, Listing, StoreUnavailable

log = logging.getLogger(__name__)

ListPrefix = Callable[[str, float], Awaitable[Listing]]
"""Lists a prefix; the number is the time limit in seconds."""

FIRST_S, LONGEST_S = 0.1, 2.0
"""Shortest and longest pause, in seconds, before the stream is opened again."""

_QUEUED = 64
"""The most listings and deltas that wait for a slow reader. With more, the stream itself waits."""


class EtcdWatch:
    """Watch over etcd.

    Its own task follows the stream, so that `connected` is up to date also between reads.
    """

    def __init__(
        self, *, prefix: str, endpoints: EtcdEndpoints, settings: EtcdSettings, list_prefix: ListPrefix, jitter: Callable[[], float]
    ) -> None:
        self._prefix = prefix
        self._endpoints = endpoints
        self._settings = settings
        self._list_prefix = list_prefix
        self._jitter = jitter
        self._position: Position | None = None
        self._problem: str | None = "the watch has not connected yet"
        self._failures = 0
        self._let_in = False
        self._queue: asyncio.Queue[Listed | Delta | Exception | None] = asyncio.Queue(_QUEUED)
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """See Watch."""
        return self._problem is None

    @property
    def problem(self) -> str | None:
        """See Watch."""
        return self._problem

    def __aiter__(self) -> AsyncIterator[Listed | Delta]:
        return self

    async def __anext__(self) -> Listed | Delta:
        if self._closed:
            raise StopAsyncIteration
        self._start()
        heard = await self._queue.get()
        if isinstance(heard, Listed | Delta):
            return heard
        self._closed = True
        if heard is None:
            raise StopAsyncIteration
        raise heard

    async def aclose(self) -> None:
        """See Watch."""
        self._closed = True
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        self._problem = "the watch is closed"
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def _start(self) -> None:
        if self._following is None and not self._closed:
            self._following = asyncio.create_task(self._follow(), name=f"watch {self._prefix}")

    async def _follow(self) -> None:
        try:
            while True:
                problem = await self._follow_endpoint()
                self._failures += 1
                self._note(problem)
                await asyncio.sleep(backoff_s(self._failures, self._jitter()))
        except Exception as error:
            self._problem = str(error)
            await self._queue.put(error)

    async def _follow_endpoint(self) -> str:
        """Follow a stream of the preferred endpoint to its end. Returns the reason of its end."""
        endpoint = self._endpoints.preferred()
        try:
            await endpoint.ready(self._settings.dial_timeout_s)
            await endpoint.login(self._settings.call_timeout_s)
            position = self._position or await self._list()
            return await self._follow_stream(endpoint, position)
        except StoreUnavailable as error:
            self._endpoints.order.failed(endpoint.index)
            return error.message
        except StaleToken as error:
            self._endpoints.token.forget(endpoint.metadata)
            return error.message
        except (Unauthenticated, PermissionDenied) as error:
            # After one successful login, keep trying: a reader must not fail because an operator changes a password.
            if not self._let_in:
                raise
            self._endpoints.token.forget(endpoint.metadata)
            return error.message

    async def _list(self) -> Position:
        listing = await self._list_prefix(self._prefix, self._settings.call_timeout_s)
        self._let_in = True
        await self._queue.put(Listed(revision=listing.revision, entries=listing.entries))
        self._position = Position(revision=listing.revision)
        return self._position

    async def _follow_stream(self, endpoint: EtcdEndpoint, position: Position) -> str:
        stream = EtcdWatchStream(endpoint=endpoint, prefix=self._prefix, start=position.revision, silence_s=self._settings.silence_s)
        try:
            return await self._absorb_all(stream, position)
        finally:
            await stream.close()

    async def _absorb_all(self, stream: EtcdWatchStream, position: Position) -> str:
        while True:
            message = await stream.receive()
            match absorb(position, message):
                case Advance(position=position, deltas=deltas):
                    for delta in deltas:
                        await self._queue.put(delta)
                        self._position = Position(revision=delta.revision)
                    if isinstance(message, WatchCreated):
                        self._note(None)
                        self._failures = 0
                case Relist(reason=reason):
                    self._position = None
                    return reason
                case Reopen(reason=reason):
                    # For an unknown token, etcd 3.4 reports only "permission denied" here.
                    self._endpoints.token.forget(self._endpoints.token.metadata)
                    return reason

    def _note(self, problem: str | None) -> None:
        """Set the problem, None for connected, and log the change once."""
        if problem is not None and self._problem is None:
            log.warning("watch of %s is disconnected: %s", self._prefix, problem)
        elif problem is None and self._failures:
            log.info("watch of %s is connected again after %d attempts", self._prefix, self._failures)
        self._problem = problem


def backoff_s(failures: int, jitter: float) -> float:
    """Return the seconds to wait after this number of failures in a row (>= 1). Pure.

    The ceiling doubles from FIRST_S up to LONGEST_S. jitter, in [0, 1), picks a time between half the ceiling and the
    ceiling, so that clients that failed together do not reconnect together.
    """
    ceiling = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 16))
    return ceiling * (0.5 + 0.5 * jitter)
