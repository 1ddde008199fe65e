"""The asyncio transport that uses HTTP where a router offers it. `places` decides, this carries out."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import Any

from shoal.client.transports.grpc_async import AsyncGrpcTransport
from shoal.client.transports.http_async import AsyncHttpTransport
from shoal.client.transports.places import CONNECT_S, QUESTION, HttpPlace, Ways
from shoal.core.deadline import Clock
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.http.failure import NoAnswer, late
from shoal.wire.public_calls import METHODS, decoded, encoded
from shoal.wire.tls import Tls


class AsyncAutoTransport:
    """Sends requests over HTTP, or over gRPC where HTTP cannot be used. It belongs to the event loop of its first call.

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
        self._http = AsyncHttpTransport(message_bytes, connect_s=math.inf if only_http else CONNECT_S, tls=tls, api_key=api_key)
        self._grpc = AsyncGrpcTransport(message_bytes, tls=tls, api_key=api_key)
        self._ways = Ways(clock, only_http=only_http)
        self._asking = asyncio.Lock()

    async def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Return the answer that `request` documents, within about timeout_s seconds. Raises a ShoalError.

        When its task is cancelled, the call ends.
        """
        method = METHODS[type(request)]
        data = encoded(method, request, self._message_bytes)
        return decoded(method, await self.exchange(address, type(request), data, timeout_s), address)

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given. Raises a ShoalError."""
        place = self._ways.place(address)
        if place is None and not self._only_http:
            return await self._over_grpc(address, kind, data, timeout_s)
        began = self._clock()
        if place is None:
            place = await self._asked(address, timeout_s)
            timeout_s = max(0.0, timeout_s - (self._clock() - began))
        try:
            answer = await self._http.exchange(place, kind, data, timeout_s)
        except NoAnswer as failure:
            left_s = timeout_s - (self._clock() - began)
            if not self._ways.failed(address, place, failure) or left_s <= 0:
                raise failure.error from None
        else:
            self._ways.answered(address)
            return answer
        return await self._over_grpc(address, kind, data, left_s)

    async def close(self) -> None:
        """End running calls and refuse new ones."""
        await self._http.close()
        await self._grpc.close()

    async def _over_grpc(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        return await self._grpc.exchange_told(address, kind, data, timeout_s, partial(self._ways.told, address))

    async def _asked(self, address: str, timeout_s: float) -> HttpPlace:
        """Ask a router, by a call that costs it little, where its HTTP port is.

        One call at a time: those that wait find the answer there.
        """
        began = self._clock()
        try:
            async with asyncio.timeout(timeout_s):
                await self._asking.acquire()
        except TimeoutError:
            raise late(address).error from None
        try:
            place = self._ways.place(address)
            if place is None:
                left_s = max(0.0, timeout_s - (self._clock() - began))
                await self._grpc.exchange_told(address, *QUESTION, left_s, partial(self._ways.told, address))
                place = self._ways.asked(address)
            return place
        finally:
            self._asking.release()
