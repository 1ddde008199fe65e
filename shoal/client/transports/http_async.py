"""The asyncio transport over HTTP: calls of the Connect protocol, with binary messages."""

from __future__ import annotations

import asyncio
import math
import uuid
import weakref

from shoal.client.transports.places import SCHEMES, HttpPlace
from shoal.client.transports.tls_probe import explained, host_of, is_unclear, without_answer
from shoal.client.transports.wrong_address import message_of_answer
from shoal.core.errors import PreconditionFailed
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.channels import OVERHEAD_BYTES
from shoal.wire.http.async_pool import AsyncPool
from shoal.wire.http.failure import NoAnswer
from shoal.wire.http.pool import MOST, MOST_PATIENT
from shoal.wire.http.request import RequestHeads
from shoal.wire.public_calls import METHODS
from shoal.wire.tls import Tls


class _AsyncLines:
    """The connections to one place: those of usual calls, and those of calls that take minutes."""

    def __init__(self, place: HttpPlace, client: str, most_bytes: int, connect_s: float, tls: Tls | None, api_key: str) -> None:
        given_s = math.inf if place.named.startswith(SCHEMES) else connect_s
        name = host_of(place.named)
        self.heads = RequestHeads(place.address, client, place.server, api_key)
        self.usual, self.patient = (
            AsyncPool(place.address, named=place.named, most=most, message_bytes=most_bytes, connect_s=given_s, tls=tls, server_name=name)
            for most in (MOST, MOST_PATIENT)
        )


class AsyncHttpTransport:
    """Sends the bytes of requests over HTTP. It belongs to the event loop of its first call.

    connect_s: most seconds to open a connection to a place that a router has told; math.inf for all the time of a call.
    tls: None for connections without TLS.
    """

    def __init__(
        self, message_bytes: int = DEFAULT_LIMITS.message_bytes, *, connect_s: float = math.inf, tls: Tls | None = None, api_key: str = ""
    ) -> None:
        self._most_bytes, self._connect_s, self._tls, self._api_key = message_bytes + OVERHEAD_BYTES, connect_s, tls, api_key
        self._client = uuid.uuid4().hex
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lines: dict[HttpPlace, _AsyncLines] = {}
        self._every: weakref.WeakSet[_AsyncLines] = weakref.WeakSet()
        """With those that were given up and still carry running calls."""
        self._closed = False

    async def exchange(self, place: HttpPlace, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given.

        Raises a ShoalError, or NoAnswer if the server did not answer the call. When its task is cancelled, the
        connection of the call is closed, and so the call ends.
        """
        deadline = self._running().time() + timeout_s
        lines, path = self._lines.get(place) or self._opened(place), METHODS[kind].path
        pool = lines.patient if kind.patient else lines.usual
        try:
            answer = await pool.exchange(lines.heads.head(path, timeout_s, len(data)), data, deadline, again=not kind.writes)
            return message_of_answer(answer, place.named, path, self._most_bytes)
        except NoAnswer as failure:
            if not is_unclear(failure.error):
                raise
            found = await asyncio.to_thread(explained, failure.error, place.address, place.named, self._tls, timeout_s)
            raise without_answer(failure, found) from None

    async def close(self) -> None:
        """End running calls and refuse new ones."""
        self._closed = True
        # Not only those in the weak set: when the garbage collector ends a client, it empties that one first.
        for lines in {*self._lines.values(), *self._every}:
            lines.usual.close()
            lines.patient.close()
        # The loop closes the sockets in its next turn.
        await asyncio.sleep(0)

    def _running(self) -> asyncio.AbstractEventLoop:
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise PreconditionFailed("this transport belongs to another event loop; a client of connect_async has one for each")
        return running

    def _opened(self, place: HttpPlace) -> _AsyncLines:
        if self._closed:
            raise PreconditionFailed("this client is closed")
        for other in [each for each in self._lines if each.named == place.named]:
            # The same router was there before.
            old = self._lines.pop(other)
            old.usual.retire()
            old.patient.retire()
        made = self._lines[place] = _AsyncLines(place, self._client, self._most_bytes, self._connect_s, self._tls, self._api_key)
        self._every.add(made)
        return made
