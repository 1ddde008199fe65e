"""The blocking transport over gRPC. It sends the bytes of `shoal.wire.public_calls`."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, cast

import grpc

from shoal.client.forks import ForkLock
from shoal.client.transports.held_stubs import HeldChannel
from shoal.client.transports.tls_probe import explained
from shoal.client.transports.wrong_address import error_of_call
from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import Request
from shoal.wire.api_key import bearer_metadata
from shoal.wire.channels import client_options, open_channel
from shoal.wire.public_calls import METHODS, decoded, encoded
from shoal.wire.tls import Tls

Metadata = Any
"""Pairs of a name and a value; None for none."""


class GrpcTransport:
    """Sends requests over channels, one per address. A channel is opened on first use.

    Thread-safe. A forked process opens channels of its own. tls: None for channels without TLS. When its certificates
    have changed, the next call opens a new channel; calls that run end on the old one.
    """

    def __init__(self, message_bytes: int = DEFAULT_LIMITS.message_bytes, *, tls: Tls | None = None, api_key: str = "") -> None:
        self._message_bytes, self._tls = message_bytes, tls
        self._more: dict[str, Any] = {"metadata": bearer_metadata(api_key)} if api_key else {}
        self._version = 0
        """Of the certificates of the channels."""
        self._lock = ForkLock()
        self._process = os.getpid()
        self._channels: dict[str, grpc.Channel | HeldChannel] = {}
        self._every: weakref.WeakSet[HeldChannel] = weakref.WeakSet()
        """Channels with TLS, also those that were replaced and still carry calls."""
        self._stubs: dict[tuple[str, str], Any] = {}
        self._closed = False

    def send(self, address: str, request: Request, timeout_s: float) -> Any:
        """Return the answer that `request` documents, within about timeout_s seconds. Raises a ShoalError."""
        method = METHODS[type(request)]
        data = encoded(method, request, self._message_bytes)
        return decoded(method, self.exchange(address, type(request), data, timeout_s), address)

    def exchange(self, address: str, kind: type[Request], data: bytes, timeout_s: float) -> bytes:
        """Return the bytes of the answer to a request of this kind, whose bytes are given. Raises a ShoalError."""
        path = METHODS[kind].path
        try:
            return cast(bytes, self._stub(address, path)(data, timeout=timeout_s, **self._more))
        except grpc.RpcError as error:
            raise self._error(error, address, path, timeout_s) from None
        except ValueError:
            raise PreconditionFailed("this client is closed") from None

    def exchange_told(self, address: str, kind: type[Request], data: bytes, timeout_s: float, told: Callable[[Metadata], None]) -> bytes:
        """Do what `exchange` does. told: called with the metadata before the answer, also before that of an error."""
        path = METHODS[kind].path
        try:
            answer, call = self._stub(address, path).with_call(data, timeout=timeout_s, **self._more)
        except grpc.RpcError as error:
            told(cast(Any, error).initial_metadata())
            raise self._error(error, address, path, timeout_s) from None
        except ValueError:
            raise PreconditionFailed("this client is closed") from None
        told(call.initial_metadata())
        return cast(bytes, answer)

    def close(self) -> None:
        """End running calls and refuse new ones."""
        if self._process != os.getpid():
            self._after_fork()
        with self._lock:
            self._closed = True
            for channel in {*self._channels.values(), *self._every}:
                channel.close()
            self._channels, self._stubs = {}, {}

    def _stub(self, address: str, path: str) -> Any:
        if self._process != os.getpid():
            self._after_fork()
        if self._tls is not None:
            self._follow(self._tls)
        stub = self._stubs.get((address, path))
        if stub is not None:
            return stub
        with self._lock:
            if self._closed:
                raise PreconditionFailed("this client is closed")
            if address not in self._channels:
                self._channels[address] = self._opened(address)
            made = self._channels[address].unary_unary(path, None, None)
            self._stubs[address, path] = made
            return made

    def _opened(self, address: str) -> grpc.Channel | HeldChannel:
        options = client_options(self._message_bytes)
        if self._tls is None:
            return open_channel(address, options)
        made = HeldChannel(open_channel(address, options, self._tls.current().channel_credentials()))
        self._every.add(made)
        return made

    def _follow(self, tls: Tls) -> None:
        """Forget the channels if the certificates have changed. Those that carry calls are held by them."""
        newest = tls.current().version
        if newest != self._version:
            with self._lock:
                self._version, self._channels, self._stubs = newest, {}, {}

    def _error(self, error: Any, address: str, path: str, timeout_s: float) -> ShoalError:
        return explained(error_of_call(error, address, path), address, address, self._tls, timeout_s)

    def _after_fork(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                self._process, self._channels, self._stubs, self._every = os.getpid(), {}, {}, weakref.WeakSet()
