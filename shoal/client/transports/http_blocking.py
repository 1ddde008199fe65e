"""The blocking transport over HTTP: calls of the Connect protocol, with binary messages."""

from __future__ import annotations

import math
import time
import uuid
import weakref

from shoal.client.forks import ForkLock, tell_forks
from shoal.client.transports.blocking_pool import BlockingPool
from shoal.client.transports.encrypted_connection import Encryption
from shoal.client.transports.places import SCHEMES, HttpPlace
from shoal.client.transports.tls_probe import explained, host_of, is_unclear, without_answer
from shoal.client.transports.wrong_address import message_of_answer
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.channels import OVERHEAD_BYTES
from shoal.wire.http.failure import NoAnswer
from shoal.wire.http.pool import MOST, MOST_PATIENT
from shoal.wire.http.request import RequestHeads
from shoal.wire.public_calls import METHODS
from shoal.wire.tls import Tls


class _BlockingLines:
    """The connections to one place: those of usual calls, and those of calls that take minutes."""

    def __init__(
        self, place: HttpPlace, client: str, message_bytes: int, connect_s: float, clock: Clock, tls: Tls | None, api_key: str
    ) -> None:
        given_s = math.inf if place.named.startswith(SCHEMES) else connect_s
        encryption = None if tls is None else Encryption(tls, host_of(place.named))
        self.heads = RequestHeads(place.address, client, place.server, api_key)
        self.usual, self.patient = (
            BlockingPool(
                place.address,
                named=place.named,
                most=most,
                message_bytes=message_bytes,
                connect_s=given_s,
                clock=clock,
                encryption=encryption,
            )
            for most in (MOST, MOST_PATIENT)
        )


class HttpTransport:
    """Sends the bytes of requests over HTTP. Thread-safe. A forked process opens connections of its own.

    connect_s: most seconds to open a connection to a place that a router has told; math.inf for all the time of a call.
    tls: None for connections without TLS.
    """

    def __init__(
        self,
        message_bytes: int = DEFAULT_LIMITS.message_bytes,
        *,
        connect_s: float = math.inf,
        clock: Clock = time.monotonic,
        tls: Tls | None = None,
        api_key: str = "",
    ) -> None:
        self._most_bytes = message_bytes + OVERHEAD_BYTES
        self._connect_s, self._clock, self._tls, self._api_key = connect_s, clock, tls, api_key
        self._lock = ForkLock()
        self._client = uuid.uuid4().hex
        self._lines: dict[HttpPlace, _BlockingLines] = {}
        self._every: weakref.WeakSet[_BlockingLines] = weakref.WeakSet()
        """With those that were given up and still carry running calls."""
        self._closed = False
        tell_forks(self)

    def exchange(self, place: HttpPlace, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given.

        Raises a ShoalError, or NoAnswer if the server did not answer the call.
        """
        deadline = self._clock() + timeout_s
        lines, path = self._lines.get(place) or self._opened(place), METHODS[kind].path
        pool = lines.patient if kind.patient else lines.usual
        try:
            answer = pool.exchange(lines.heads.head(path, timeout_s, len(data)), data, deadline, again=not kind.writes)
            return message_of_answer(answer, place.named, path, self._most_bytes)
        except NoAnswer as failure:
            if not is_unclear(failure.error):
                raise
            found = explained(failure.error, place.address, place.named, self._tls, timeout_s)
            raise without_answer(failure, found) from None

    def close(self) -> None:
        """End running calls and refuse new ones."""
        with self._lock:
            self._closed = True
            for lines in self._every:
                lines.usual.close()
                lines.patient.close()

    def in_child(self) -> None:
        """Give up the connections of the parent."""
        for lines in self._every:
            lines.usual.release()
            lines.patient.release()
        self._lines, self._client = {}, uuid.uuid4().hex

    def _opened(self, place: HttpPlace) -> _BlockingLines:
        with self._lock:
            if self._closed:
                raise PreconditionFailed("this client is closed")
            if place not in self._lines:
                self._retire_others(place)
                self._lines[place] = self._new_lines(place)
                self._every.add(self._lines[place])
            return self._lines[place]

    def _new_lines(self, place: HttpPlace) -> _BlockingLines:
        return _BlockingLines(place, self._client, self._most_bytes, self._connect_s, self._clock, self._tls, self._api_key)

    def _retire_others(self, place: HttpPlace) -> None:
        """Give up the places where the same router was before."""
        for other in [each for each in self._lines if each.named == place.named]:
            old = self._lines.pop(other)
            old.usual.retire()
            old.patient.retire()
