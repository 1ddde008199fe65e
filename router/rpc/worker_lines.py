"""Carries the bytes of calls to one worker: calls on points over HTTP where the worker offers it, all others over gRPC
(ADR 25).

HTTP is never the reason for an error: a call that the worker cannot have seen over HTTP is sent over gRPC. So is a call
that finds all connections in use.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from shoal.core.cluster_map import WorkerEntry
from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed, ShoalError, Unavailable
from shoal.router.logic.worker_lane import OPEN, Lane, after_failure, next_call
from shoal.wire.channels import OVERHEAD_BYTES, client_options
from shoal.wire.grpc_words import too_large
from shoal.wire.http.async_pool import AsyncPool
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.http.peer_answer import message_of_peer
from shoal.wire.http.pool import MOST
from shoal.wire.http.request import RequestHeads
from shoal.wire.remote_call import call_remote
from shoal.wire.renewed_channel import internal_channel
from shoal.wire.tls import INTERNAL_NAME, Tls
from shoal.wire.worker_methods import WorkerMethod

CONNECT_S = 0.5
"""Most time to open an HTTP connection. A call that waited for it in vain goes over gRPC."""

_UNSEEN = frozenset({NoAnswerCause.NOT_REACHED, NoAnswerCause.STRANGER})
"""Causes after which the worker has not seen the call."""


class GrpcLine:
    """Calls over one gRPC channel, which it owns. named: the worker, for messages. tls: None for plain text."""

    def __init__(self, address: str, named: str, message_bytes: int, tls: Tls | None = None) -> None:
        self._named = named
        self._channel = internal_channel(address, client_options(message_bytes), tls)
        self._calls: dict[str, Any] = {}

    async def exchange(self, method: WorkerMethod, data: bytes, timeout_s: float, unknown: type[ShoalError] | None) -> bytes:
        """Return the bytes of the answer. Raises ShoalErrors: see call_remote."""
        call = self._calls.get(method.path)
        if call is None:
            call = self._calls[method.path] = self._channel.unary_unary(method.path, None, None)
        answer: bytes = await call_remote(call, data, timeout_s, self._named, unknown=unknown)
        return answer

    async def close(self) -> None:
        """Close the channel. Calls in flight fail with Unavailable."""
        await self._channel.close(None)


class HttpLine:
    """Calls over at most `most` HTTP connections. server: id of the process that may answer; another one refuses."""

    def __init__(self, address: str, named: str, server: str, *, message_bytes: int, most: int = MOST, tls: Tls | None = None) -> None:
        self._named, self._message_bytes = named, message_bytes
        self._heads = RequestHeads(address, "router", server)
        self._pool = AsyncPool(
            address, named=named, most=most, message_bytes=message_bytes, connect_s=CONNECT_S, tls=tls, server_name=INTERNAL_NAME
        )
        self._loop = asyncio.get_running_loop()

    @property
    def is_full(self) -> bool:
        """Whether a call would have to wait for a connection."""
        return self._pool.is_full

    async def exchange(self, method: WorkerMethod, data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer. Raises ShoalErrors, and NoAnswer if the worker did not answer the call.

        When its task is cancelled, the connection is closed, and so the worker ends its work. A write is not sent
        again on another connection: its outcome is open.
        """
        head, deadline = self._heads.head(method.path, timeout_s, len(data)), self._loop.time() + timeout_s
        try:
            answer = await self._pool.exchange(head, data, deadline, again=not method.writes)
        except PreconditionFailed:
            raise Unavailable(f"{self._named}: its connection was closed during the call") from None
        return message_of_peer(answer, self._named, self._message_bytes)

    def close(self) -> None:
        """Close all connections. Calls in flight fail with Unavailable."""
        self._pool.close()


class WorkerLines:
    """The lines to one worker. `named` is the worker, for messages."""

    def __init__(
        self, worker: WorkerEntry, message_bytes: int, *, most: int = MOST, clock: Clock = time.monotonic, tls: Tls | None = None
    ) -> None:
        """message_bytes: largest message either way. most: connections by HTTP. tls: None for plain text."""
        self.named = f"worker at {worker.address}"
        self._most_bytes = message_bytes + OVERHEAD_BYTES
        self._grpc = GrpcLine(worker.address, self.named, message_bytes, tls)
        self._http = None
        if worker.http_address:
            self._http = HttpLine(worker.http_address, self.named, worker.incarnation, message_bytes=self._most_bytes, most=most, tls=tls)
        self._lane: Lane = OPEN
        self._clock = clock

    async def exchange(self, method: WorkerMethod, data: bytes, timeout_s: float, unknown: type[ShoalError] | None = None) -> bytes:
        """Return the bytes of the answer to a request, whose bytes are given. Raises ShoalErrors.

        unknown: raised if the worker does not know the method; else Internal is.
        """
        if len(data) > self._most_bytes:
            raise too_large(len(data), self._most_bytes)
        began = self._clock()
        http = self._http_for(method, began)
        if http is not None:
            try:
                answer = await http.exchange(method, data, timeout_s)
            except NoAnswer as failure:
                if failure.cause not in _UNSEEN:
                    raise failure.error from None
                self._lane = after_failure(self._lane, self._clock())
                timeout_s = max(0.0, timeout_s - (self._clock() - began))
            except ShoalError:
                self._lane = OPEN
                raise
            else:
                self._lane = OPEN
                return answer
        return await self._grpc.exchange(method, data, timeout_s, unknown)

    async def close(self) -> None:
        """Close all connections. Calls in flight fail with Unavailable."""
        if self._http is not None:
            self._http.close()
        await self._grpc.close()

    def _http_for(self, method: WorkerMethod, now: float) -> HttpLine | None:
        """Return the line for a call if it goes over HTTP."""
        if self._http is None or not method.of_data or self._http.is_full:
            return None
        over_http, self._lane = next_call(self._lane, now)
        return self._http if over_http else None
