"""Owns the connections to the endpoints of etcd, and how a channel to etcd is made."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from shoal.core.errors import PreconditionFailed
from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd import etcd_rpc_pb2_grpc as stubs
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.token import EtcdToken
from shoal.store.etcd.verdict import failed_connection, failed_login, failed_read
from shoal.store.interface import StoreUnavailable
from shoal.wire.channels import open_aio_channel
from shoal.wire.renewed_channel import RenewedChannel

_MESSAGE_BYTES = 256 * 1024 * 1024
"""More than the largest answer: a page of a listing in which every value has the size of etcd's request limit."""

_PROBE_S = 0.5

_READY = grpc.ChannelConnectivity.READY
_FAILED = grpc.ChannelConnectivity.TRANSIENT_FAILURE


def channel_options(settings: EtcdSettings) -> tuple[tuple[str, int], ...]:
    """Return the options of every channel to etcd.

    Pings find a dead peer, which an idle stream does not. etcd disconnects clients that ping more often than every 5 s.
    """
    return (
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 3_000),
        ("grpc.http2.ping_timeout_ms", 3_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", int(settings.dial_timeout_s * 1000)),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_retries", 0),
    )


@dataclass(frozen=True, kw_only=True)
class EtcdEndpoint:
    """One endpoint, its channel and its stubs (generated code without types)."""

    index: int
    address: str
    channel: grpc.aio.Channel
    kv: Any
    lease: Any
    watch: Any
    auth: Any
    secure: bool
    token: EtcdToken
    logging_in: asyncio.Lock

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of every call."""
        return self.token.metadata

    async def login(self, timeout_s: float) -> None:
        """Get a token, unless there is one or none is needed. Call this after `ready`.

        Raises Unauthenticated for a wrong name or password, StoreUnavailable otherwise.
        """
        if self.token.known:
            return
        async with self.logging_in:
            if not self.token.known:
                await self._login(timeout_s)

    async def ready(self, timeout_s: float) -> None:
        """Wait until the channel is connected. If this fails, the call was surely not sent.

        Raises StoreUnavailable if the endpoint cannot be connected now or within timeout_s, PreconditionFailed if the
        store is closed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected()
        except grpc.aio.UsageError:
            raise PreconditionFailed("the store was closed during a call") from None
        except TimeoutError:
            raise StoreUnavailable(f"etcd at {self.address} accepted no connection in {timeout_s:.3g} s") from None

    async def _connected(self) -> None:
        state = self.channel.get_state(try_to_connect=True)
        while state is not _READY:
            if state is _FAILED:
                raise failed_connection(self.address, await self._why() if self.secure else "")
            await self.channel.wait_for_state_change(state)
            state = self.channel.get_state(try_to_connect=True)

    async def _why(self) -> str:
        """Return gRPC's reason for a failed connection. gRPC gives it only as the error of a call, so make one."""
        try:
            await self.kv.Range(rpc.RangeRequest(key=b"\x00"), timeout=_PROBE_S, metadata=self.metadata)
        except grpc.aio.AioRpcError as error:
            return error.details() or ""
        return ""

    async def _login(self, timeout_s: float) -> None:
        try:
            answer = await self.auth.Authenticate(self.token.request(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            failure = failed_login(self.address, self.token.user, error.code().name, error.details() or "")
            if failure is not None:
                raise failure from None
            self.token.take("")
        except asyncio.CancelledError:
            # A channel that is closed during a call cancels the call, not the task.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise failed_read(self.address, "CANCELLED", "the connection was closed during the login") from None
        else:
            self.token.take(answer.token)


class EtcdEndpoints:
    """All endpoints of one client. Each connects when first used, and belongs to the event loop that uses it first."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.order = EndpointOrder(len(settings.endpoints))
        self.token = EtcdToken(settings.login)
        self._settings = settings
        self._logging_in = asyncio.Lock()
        self._made: dict[int, EtcdEndpoint] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def attempts(self) -> tuple[EtcdEndpoint, ...]:
        """Return each endpoint once, the preferred one first. Raises PreconditionFailed if closed."""
        return tuple(self._endpoint(index) for index in self.order.attempts())

    def preferred(self) -> EtcdEndpoint:
        """Return the endpoint to try first. Raises PreconditionFailed if closed."""
        return self._endpoint(self.order.preferred)

    async def close(self) -> None:
        """Close all channels."""
        self._closed = True
        for endpoint in self._made.values():
            await endpoint.channel.close(None)

    def _endpoint(self, index: int) -> EtcdEndpoint:
        if self._closed:
            raise PreconditionFailed("the store is closed")
        if index not in self._made:
            self._made[index] = self._make(index)
        return self._made[index]

    def _make(self, index: int) -> EtcdEndpoint:
        address = self._settings.endpoints[index]
        options, tls = channel_options(self._settings), self._settings.tls
        channel = open_aio_channel(address, options) if tls is None else RenewedChannel(address, options, tls)
        return EtcdEndpoint(
            index=index,
            address=address,
            channel=channel,
            kv=stubs.KVStub(channel),  # type: ignore[no-untyped-call]
            lease=stubs.LeaseStub(channel),  # type: ignore[no-untyped-call]
            watch=stubs.WatchStub(channel),  # type: ignore[no-untyped-call]
            auth=stubs.AuthStub(channel),  # type: ignore[no-untyped-call]
            secure=tls is not None,
            token=self.token,
            logging_in=self._logging_in,
        )


class EndpointOrder:
    """The order in which endpoints 0..count-1 are tried: a ring that begins at the endpoint that worked last. Pure."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.preferred = 0

    def attempts(self) -> tuple[int, ...]:
        """Return each endpoint once, the preferred one first."""
        return tuple((self.preferred + step) % self._count for step in range(self._count))

    def worked(self, endpoint: int) -> None:
        """Prefer an endpoint that answered."""
        self.preferred = endpoint

    def failed(self, endpoint: int) -> None:
        """Prefer the next endpoint if the preferred one has failed."""
        if endpoint == self.preferred:
            self.preferred = (endpoint + 1) % self._count
