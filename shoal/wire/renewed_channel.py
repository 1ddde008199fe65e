"""Channels between roles. With TLS, a new channel takes the place of the old one when the certificates change.

gRPC cannot replace the certificates of a channel. While the old channel is connected, calls stay on it until the server
has answered on the new one, so no call fails because of a new certificate. The old one is closed after its last call.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import grpc
import grpc.aio

from shoal.wire.channels import ChannelOptions, open_aio_channel, open_channel, options_of_one_call
from shoal.wire.tls import INTERNAL_NAME, Tls, TlsMaterial

_READY = grpc.ChannelConnectivity.READY

_ASKED = "/grpc.health.v1.Health/Check"
"""A call that changes nothing. Any answer will do, also that the server does not know the call."""

_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.PERMISSION_DENIED)
_ANSWER_S = 5.0
_AGAIN_S = 1.0

_INTERNAL: ChannelOptions = (("grpc.ssl_target_name_override", INTERNAL_NAME),)


def internal_channel(address: str, options: ChannelOptions, tls: Tls | None) -> grpc.aio.Channel:
    """Return a channel to another role, for the running event loop. tls: None for plain text."""
    return open_aio_channel(address, options) if tls is None else RenewedChannel(address, (*options, *_INTERNAL), tls)


def internal_channel_of_one_call(address: str, message_bytes: int, tls: Tls | None) -> grpc.Channel:
    """Return a blocking channel to another role, for a few calls that are not repeated. tls: None for plain text."""
    options = options_of_one_call(message_bytes)
    return (
        open_channel(address, options)
        if tls is None
        else open_channel(address, (*options, *_INTERNAL), tls.current().channel_credentials())
    )


class RenewedChannel(grpc.aio.Channel):
    """A channel that follows the files of its certificates. It belongs to one event loop."""

    def __init__(self, address: str, options: ChannelOptions, tls: Tls) -> None:
        """options: name the server, too, if its certificate has another name than its address."""
        self._address, self._options, self._tls = address, options, tls
        self._closing: set[asyncio.Task[None]] = set()
        self._old: set[_OneChannel] = set()
        self._switching: asyncio.Task[None] | None = None
        self._closed = False
        material = tls.current()
        self._version = material.version
        self._now = self._opened(material)

    def unary_unary(self, *form: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return partial(self._call, ("unary_unary", form, named), {})

    def unary_stream(self, *form: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return partial(self._call, ("unary_stream", form, named), {})

    def stream_unary(self, *form: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return partial(self._call, ("stream_unary", form, named), {})

    def stream_stream(self, *form: Any, **named: Any) -> Any:
        """See grpc.aio.Channel."""
        return partial(self._call, ("stream_stream", form, named), {})

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the channel of new calls."""
        return self._newest().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See grpc.aio.Channel."""
        await self._now.channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See grpc.aio.Channel."""
        await self._newest().channel.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close all channels. Calls under way have grace seconds; None: none."""
        self._closed = True
        switching = self._switching
        self._stop_switching()
        if switching is not None:
            await asyncio.gather(switching, return_exceptions=True)
        for each in (self._now, *self._old):
            await each.channel.close(grace)
        await asyncio.gather(*self._closing)

    async def __aenter__(self) -> RenewedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _call(self, form: tuple[str, tuple[Any, ...], dict[str, Any]], made: dict[_OneChannel, Any], *request: Any, **named: Any) -> Any:
        """Make a call. made: the function of gRPC for calls of this form on the channel that was used last."""
        one = self._newest()
        function = made.get(one)
        if function is None:
            made.clear()
            kind, positional, rest = form
            function = made[one] = getattr(one.channel, kind)(*positional, **rest)
        call = function(*request, **named)
        one.running += 1
        call.add_done_callback(partial(self._ended, one))
        return call

    def _newest(self) -> _OneChannel:
        """Return the channel for a call that begins now."""
        material = self._tls.current()
        if material.version != self._version and not self._closed:
            self._version = material.version
            self._stop_switching()
            made = self._opened(material)
            if self._now.channel.get_state() is _READY:
                self._switching = asyncio.get_running_loop().create_task(self._switch(made))
            else:
                self._replace(made)
        return self._now

    async def _switch(self, made: _OneChannel) -> None:
        """Use a new channel once the server answers there. Close it if this is cancelled before.

        A channel that is connected is no proof: the server may refuse our certificate a moment later.
        """
        ask = made.channel.unary_unary(_ASKED, None, None)
        try:
            while not await _is_answered(ask):  # noqa: ASYNC110
                await asyncio.sleep(_AGAIN_S)
        except BaseException:
            self._close(made)
            raise
        self._replace(made)

    def _stop_switching(self) -> None:
        if self._switching is not None:
            self._switching.cancel()
            self._switching = None

    def _replace(self, made: _OneChannel) -> None:
        old, self._now = self._now, made
        self._old.add(old)
        self._close_if_idle(old)

    def _opened(self, material: TlsMaterial) -> _OneChannel:
        return _OneChannel(open_aio_channel(self._address, self._options, material.channel_credentials()))

    def _ended(self, one: _OneChannel, _: object) -> None:
        one.running -= 1
        self._close_if_idle(one)

    def _close_if_idle(self, one: _OneChannel) -> None:
        if one in self._old and not one.running:
            self._old.discard(one)
            self._close(one)

    def _close(self, one: _OneChannel) -> None:
        task = asyncio.get_running_loop().create_task(one.channel.close(None))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _is_answered(ask: Any) -> bool:
    try:
        await ask(b"", timeout=_ANSWER_S, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        return error.code() not in _NO_ANSWER
    return True


class _OneChannel:
    """A channel with the certificates of one moment. running: its calls that have not ended."""

    __slots__ = ("channel", "running")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel, self.running = channel, 0
