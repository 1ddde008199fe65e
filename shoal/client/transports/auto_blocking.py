"""The blocking transport that uses HTTP where a router offers it. `places` decides, this carries out."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

from shoal.client.forks import ForkLock
from shoal.client.transports.grpc_blocking import GrpcTransport
from shoal.client.transports.http_blocking import HttpTransport
from shoal.client.transports.places import CONNECT_S, QUESTION, HttpPlace, Ways
from shoal.core.deadline import Clock
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.http.failure import NoAnswer, late
from shoal.wire.public_calls import METHODS, decoded, encoded
from shoal.wire.tls import Tls


class AutoTransport:
    """Sends requests over HTTP, or over gRPC where HTTP cannot be used. Thread-safe, also for forked processes.

    only_http: the one use of gRPC is to ask a router where its HTTP port is. tls: None for connections without TLS.
    api_key: that is shown with each call, "" for none.
    """

    def __init__(
        self,
        message_bytes: int = DEFAULT_LIMITS.message_bytes,
        *,
        only_http: bool = False,
        clock: Clock = time.monotonic,
        tls: Tls | None = None,
        api_key: str = "",
    ) -> None:
        self._message_bytes, self._only_http, self._clock = message_bytes, only_http, clock
        self._http = HttpTransport(message_bytes, connect_s=math.inf if only_http else CONNECT_S, clock=clock, tls=tls, api_key=api_key)
        self._grpc = GrpcTransport(message_bytes, tls=tls, api_key=api_key)
        self._ways = Ways(clock, only_http=only_http)
        self._asking = ForkLock()

    def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Return the answer that `request` documents, within about timeout_s seconds. Raises a ShoalError."""
        method = METHODS[type(request)]
        data = encoded(method, request, self._message_bytes)
        return decoded(method, self.exchange(address, type(request), data, timeout_s), address)

    def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given. Raises a ShoalError."""
        place = self._ways.place(address)
        if place is None and not self._only_http:
            return self._over_grpc(address, kind, data, timeout_s)
        began = self._clock()
        if place is None:
            place = self._asked(address, timeout_s)
            timeout_s = max(0.0, timeout_s - (self._clock() - began))
        try:
            answer = self._http.exchange(place, kind, data, timeout_s)
        except NoAnswer as failure:
            left_s = timeout_s - (self._clock() - began)
            if not self._ways.failed(address, place, failure) or left_s <= 0:
                raise failure.error from None
        else:
            self._ways.answered(address)
            return answer
        return self._over_grpc(address, kind, data, left_s)

    def close(self) -> None:
        """End running calls and refuse new ones."""
        self._http.close()
        self._grpc.close()

    def _over_grpc(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        return self._grpc.exchange_told(address, kind, data, timeout_s, partial(self._ways.told, address))

    def _asked(self, address: str, timeout_s: float) -> HttpPlace:
        """Ask a router, by a call that costs it little, where its HTTP port is.

        One call at a time: those that wait find the answer there.
        """
        began = self._clock()
        with self._asking.within(timeout_s) as is_mine:
            if not is_mine:
                raise late(address).error
            place = self._ways.place(address)
            if place is None:
                left_s = max(0.0, timeout_s - (self._clock() - began))
                self._grpc.exchange_told(address, *QUESTION, left_s, partial(self._ways.told, address))
                place = self._ways.asked(address)
            return place
