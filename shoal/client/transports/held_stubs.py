"""Blocking gRPC channels that are replaced when certificates change: the old one is closed after its last call.

gRPC reads the certificates of a channel once. Without TLS nothing is replaced, and nothing of this is used.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import grpc


class HeldChannel:
    """A blocking channel that is closed when nobody holds this object: neither a transport nor a call."""

    __slots__ = ("__weakref__", "_channel", "_process")

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel, self._process = channel, os.getpid()

    def unary_unary(self, path: str, *_: None) -> HeldStub:
        """Return the call of this path."""
        return HeldStub(self._channel.unary_unary(path, None, None), self)

    def close(self) -> None:
        """End running calls and refuse new ones."""
        self._channel.close()

    def __del__(self) -> None:
        # A forked process must not touch the channels of its parent.
        if self._process == os.getpid():
            with contextlib.suppress(Exception):
                self._channel.close()


class HeldStub:
    """A call over a channel, which is held while the call runs."""

    __slots__ = ("_held", "_stub")

    def __init__(self, stub: Any, held: HeldChannel) -> None:
        self._stub, self._held = stub, held

    def __call__(self, data: bytes, *, timeout: float, **more: Any) -> Any:
        """Call, as the stub of gRPC does. The caller keeps this object until the call has ended."""
        return self._stub(data, timeout=timeout, **more)

    def with_call(self, data: bytes, *, timeout: float, **more: Any) -> Any:
        """See __call__."""
        return self._stub.with_call(data, timeout=timeout, **more)
