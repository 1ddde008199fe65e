"""Carries out one call to etcd: picks the endpoints, bounds the time, and turns a failure into an error.

A call goes on to the next endpoint as long as it surely changed nothing. A read does so after any failure, a write only
before it was given to a connection. A write with an unknown outcome is never sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc.aio

from shoal.core.deadline import Deadline
from shoal.core.errors import ShoalError, Unavailable
from shoal.store.etcd.channels import EtcdEndpoint, EtcdEndpoints
from shoal.store.etcd.verdict import Compacted, StaleToken, failed_read, failed_write
from shoal.store.interface import StoreUnavailable

Answer = TypeVar("Answer")
Attempt = Callable[[EtcdEndpoint, float], Awaitable[Answer]]
"""Asks one endpoint; the number is the time limit in seconds."""

Verdict = Callable[[str, str, str], ShoalError]
"""Returns the error of a failed attempt, from the endpoint's address and the gRPC status and details."""


class EtcdCalls:
    """Carries out calls over the endpoints of one client."""

    def __init__(self, endpoints: EtcdEndpoints, dial_timeout_s: float) -> None:
        self._endpoints = endpoints
        self._dial_timeout_s = dial_timeout_s

    async def read(self, attempt: Attempt[Answer], timeout_s: float) -> Answer:
        """Carry out a call that may be repeated.

        Each endpoint gets a share of the time. Raises StoreUnavailable or a refusal.
        """
        return await self._over_endpoints(attempt, timeout_s, verdict=failed_read, shared=True)

    async def write(self, attempt: Attempt[Answer], timeout_s: float) -> Answer:
        """Carry out a call that must not be repeated. Raises StoreUnavailable, OutcomeUnknown or a refusal."""
        return await self._over_endpoints(attempt, timeout_s, verdict=failed_write, shared=False)

    async def _over_endpoints(self, attempt: Attempt[Answer], timeout_s: float, *, verdict: Verdict, shared: bool) -> Answer:
        deadline = Deadline.after(timeout_s, asyncio.get_running_loop().time)
        endpoints = self._endpoints.attempts()
        failure: ShoalError = StoreUnavailable(f"no time was left for a call to etcd ({timeout_s:.3g} s)")
        for position, endpoint in enumerate(endpoints):
            if deadline.passed:
                break
            share = deadline.share(len(endpoints) - position)
            try:
                await endpoint.ready(min(share.left_s, self._dial_timeout_s))
                answer = await _ask_as_user(attempt, endpoint, share if shared else deadline, verdict)
            except Compacted:
                raise
            except Unavailable as error:
                self._endpoints.order.failed(endpoint.index)
                if not isinstance(error, StoreUnavailable):
                    raise
                failure = error
            else:
                self._endpoints.order.worked(endpoint.index)
                return answer
        raise failure


async def _ask_as_user(attempt: Attempt[Answer], endpoint: EtcdEndpoint, end: Deadline, verdict: Verdict) -> Answer:
    """Ask with a token. If etcd does not know the token, it did nothing: ask once more with a new token."""
    await endpoint.login(end.left_s)
    sent = endpoint.metadata
    try:
        return await _ask(attempt, endpoint, end.left_s, verdict)
    except StaleToken:
        if not endpoint.token.wanted:
            raise
    endpoint.token.forget(sent)
    await endpoint.login(end.left_s)
    return await _ask(attempt, endpoint, end.left_s, verdict)


async def _ask(attempt: Attempt[Answer], endpoint: EtcdEndpoint, timeout_s: float, verdict: Verdict) -> Answer:
    try:
        return await attempt(endpoint, timeout_s)
    except grpc.aio.AioRpcError as error:
        raise verdict(endpoint.address, error.code().name, error.details() or "") from None
    except asyncio.CancelledError:
        # grpc.aio also raises CancelledError when the channel is closed. This task was then not cancelled.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise verdict(endpoint.address, "CANCELLED", "the connection was closed during the call") from None
