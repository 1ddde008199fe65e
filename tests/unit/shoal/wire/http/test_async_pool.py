from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from shoal.wire.http.async_connection import AsyncConnection
from shoal.wire.http.async_pool import AsyncPool
from shoal.wire.http.failure import NoAnswer, NoAnswerCause


class ResetTransport:
    """A transport whose peer has reset the connection in the moment in which it was made."""

    def __init__(self) -> None:
        self.socket = socket.socket()

    def get_extra_info(self, _: str) -> socket.socket:
        return self.socket

    def abort(self) -> None:
        self.socket.close()


def test_a_connection_that_is_reset_at_once_was_not_reached_and_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(new: Callable[[], AsyncConnection], *_: Any) -> tuple[Any, AsyncConnection]:
        transport, made = ResetTransport(), new()
        made.connection_made(transport)  # type: ignore[arg-type]
        return transport, made

    async def run() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "create_connection", connect)
        pool = AsyncPool("127.0.0.1:9", named="worker", most=1, message_bytes=1_000)
        for _ in range(3):
            with pytest.raises(NoAnswer, match="worker: no connection: it was closed at once") as caught:
                await pool.exchange(b"", b"", loop.time() + 10.0, again=True)
            assert caught.value.cause is NoAnswerCause.NOT_REACHED
        assert not pool.is_full

    asyncio.run(run())
