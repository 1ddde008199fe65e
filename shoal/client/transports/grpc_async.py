"""The asyncio transport over gRPC. It sends the bytes of `shoal.wire.public_calls`.

It belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from shoal.client.transports.tls_probe import explained, is_unclear
from shoal.client.transports.wrong_address import error_of_call
from shoal.core.errors import NotConnected, PreconditionFailed
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.api_key import bearer_metadata
from shoal.wire.channels import client_options, open_aio_channel
from shoal.wire.public_calls import METHODS, decoded, encoded
from shoal.wire.renewed_channel import RenewedChannel
from shoal.wire.tls import Tls


class AsyncGrpcTransport:
    """Sends requests over channels, one per address. A channel is opened on first use, on the loop of that call.

    tls: None for channels without TLS. When its certificates have changed, a new channel takes the place of the old
    one.
    """

    def __init__(self, message_bytes: int = DEFAULT_LIMITS.message_bytes, *, tls: Tls | None = None, api_key: str = "") -> None:
        self._message_bytes, self._tls = message_bytes, tls
        self._more: dict[str, Any] = {"metadata": bearer_metadata(api_key)} if api_key else {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[tuple[str, str], Any] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Return the answer that `request` documents, within about timeout_s seconds. Raises a ShoalError.

        When its task is cancelled, the call ends.
        """
        method = METHODS[type(request)]
        data = encoded(method, request, self._message_bytes)
        return decoded(method, await self.exchange(address, type(request), data, timeout_s), address)

    async def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given. Raises a ShoalError."""
        return (await self._called(address, kind, data, timeout_s))[0]

    async def exchange_told(self, address: str, kind: type[Request], data: bytes, timeout_s: float, told: Callable[[Any], None]) -> bytes:
        """Do what `exchange` does. told: called with the metadata before the answer, also before that of an error."""
        answer, call = await self._called(address, kind, data, timeout_s, told)
        told(await call.initial_metadata())
        return answer

    async def _called(
        self, address: str, kind: type[Request], data: bytes, timeout_s: float, told: Callable[[Any], None] | None = None
    ) -> tuple[bytes, Any]:
        path = METHODS[kind].path
        stub = self._stub(address, path)
        try:
            call = stub(data, timeout=timeout_s, **self._more)
            return await call, call
        except grpc.aio.AioRpcError as error:
            if told is not None:
                told(error.initial_metadata())
            found = error_of_call(error, address, path)
            if is_unclear(found):
                found = await asyncio.to_thread(explained, found, address, address, self._tls, timeout_s)
            raise found from None
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            raise self._why_ended(error, address) from None

    async def close(self) -> None:
        """End running calls and refuse new ones."""
        self._closed = True
        channels, self._channels, self._stubs = list(self._channels.values()), {}, {}
        for channel in channels:
            await channel.close(None)

    def _stub(self, address: str, path: str) -> Any:
        self._check_usable()
        stub = self._stubs.get((address, path))
        if stub is None:
            if address not in self._channels:
                self._channels[address] = self._opened(address)
            stub = self._stubs[address, path] = self._channels[address].unary_unary(path, None, None)
        return stub

    def _opened(self, address: str) -> grpc.aio.Channel:
        options = client_options(self._message_bytes)
        return open_aio_channel(address, options) if self._tls is None else RenewedChannel(address, options, self._tls)

    def _check_usable(self) -> None:
        if self._closed:
            raise PreconditionFailed("this client is closed")
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise PreconditionFailed("this transport belongs to another event loop; a client of connect_async has one for each")

    def _why_ended(self, error: BaseException, address: str) -> BaseException:
        """Return the error of a call that was ended on this side.

        grpc.aio raises CancelledError when the task is cancelled and also when its channel is closed. Only the first is
        passed on as it is.
        """
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
            return error
        if self._closed:
            return PreconditionFailed("this client was closed during the call")
        return NotConnected(f"the connection to {address} was closed")
