"""A connection that tests can damage: it forwards TCP, can be cut, and can swallow one direction."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine

_STEP_S = 10.0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards connections to one port. Runs in the event loop of the test."""

    def __init__(self, target_port: int, target_host: str = "127.0.0.1", *, source_port: int = 0) -> None:
        """source_port: from which the target sees each connection; there is one at a time then. 0 for any."""
        self.port = 0
        self._source_port = source_port
        self.swallow_requests = False
        self.swallow_answers = False
        self._target_host, self._target_port = target_host, target_port
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self, listening: socket.socket | None = None) -> None:
        """Listen on the same port each time, or on a socket that already listens."""
        if listening is not None:
            self._server = await asyncio.start_server(self._accept, sock=listening)
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break all connections and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for line in tuple(self._lines):
            line.cancel()
        if self._lines:
            await asyncio.wait(self._lines)

    async def restore(self) -> None:
        """Forward everything again."""
        self.swallow_requests = self.swallow_answers = False
        await self.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(sock=await self._connected())
        ways = [
            asyncio.create_task(self._pump(reader, target_writer, "swallow_requests")),
            asyncio.create_task(self._pump(target_reader, writer, "swallow_answers")),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.transport.abort()
            target_writer.transport.abort()

    async def _connected(self) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self._source_port:
            # Otherwise the system would keep the port for a while after the end.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            made.bind(("127.0.0.1", self._source_port))
        try:
            await asyncio.get_running_loop().sock_connect(made, (self._target_host, self._target_port))
        except BaseException:
            made.close()
            raise
        return made

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, swallow: str) -> None:
        # If one side closes the connection in any way, the line ends.
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if not getattr(self, swallow):
                    sink.write(data)
                    await sink.drain()


class ProxyThread:
    """A TcpProxy for tests without an event loop. It runs in a thread with its own loop, and listens from the start."""

    def __init__(self, target_port: int, *, source_port: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy", daemon=True)
        self._thread.start()
        self._proxy = TcpProxy(target_port, source_port=source_port)
        self._listening = True
        self._await(self._proxy.start())

    @property
    def endpoint(self) -> str:
        return self._proxy.endpoint

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        self._await(self._proxy.cut())
        self._listening = False

    def restore(self) -> None:
        """Forward everything again. Does nothing if nothing is cut."""
        if not self._listening:
            self._await(self._proxy.restore())
            self._listening = True

    def close(self) -> None:
        """Cut, and end the thread. A second call does nothing."""
        if self._thread.is_alive():
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_STEP_S)
            self._loop.close()

    def _await(self, step: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self._loop).result(_STEP_S)
