"""The HTTP/1.1 server of a role: unary calls by the Connect protocol, beside gRPC (ADR 19)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import uuid
from collections.abc import Iterable
from email.utils import formatdate
from itertools import islice
from typing import Any

from shoal.core.addresses import joined
from shoal.runtime.calls import CallTable
from shoal.runtime.fair_pool import FairPool
from shoal.runtime.http.answers import AnswerHeads, FailedAnswer
from shoal.runtime.http.connection import HttpConnection
from shoal.runtime.http.gathering import Gatherer
from shoal.runtime.http.limits import HttpLimits
from shoal.runtime.http.listening import listening_sockets
from shoal.runtime.http.request_head import served_calls
from shoal.runtime.http.request_reader import HeldBytes, SeenHeads
from shoal.runtime.http.running_call import RunningCall
from shoal.runtime.logs import event
from shoal.runtime.metrics import HTTP_CONNECTIONS, HTTP_REFUSED, Measure, Metrics, NoMetrics, Sample
from shoal.runtime.server_tls import INTERNAL_ONLY, ServerTls

log = logging.getLogger("shoal.server")

_LOOK_EVERY_S = 1.0
_UNLIMITED_FILES = 1 << 30
_CLOSED_WITHIN_S = 1.0
"""Time in which peers take their last answers at the end."""

_PART_OF_FILES = 4
"""Connections may be one of this many files that the process may open: replicas in it need files, too."""

_ASKED_FOR_ROOM = 64
"""Connections that are looked at when a new one has no room."""


class HttpServer:
    """Serves the calls of a table by the Connect protocol, and `GET /health`.

    Its connections use `limits`, `calls`, `server_id`, `held`, `seen`, `heads`, `conversions`, `running`, `gathered`
    and `serving`.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        table: CallTable,
        limits: HttpLimits,
        role: str,
        metrics: Metrics | None = None,
        server_id: str = "",
        secured: ServerTls | None = None,
    ) -> None:
        """port: 0 for any free one. role: label of the metrics. server_id: requests for a server with another id are
        refused; "" for a new id. secured: None for plain text.
        """
        self.limits, self.calls, self.server_id = limits, served_calls(table), server_id or uuid.uuid4().hex
        self.held, self.heads, self.seen = HeldBytes(limits.held_bytes), AnswerHeads(), SeenHeads()
        self.conversions = FairPool(1, name="json", what="calls in JSON", limit="waiting_json")
        self.running: set[RunningCall] = set()
        self.gathered = Gatherer()
        self.serving = False
        self._host, self._port = host, port
        self._role, self._metrics = role, metrics or NoMetrics()
        self._refusals: dict[int, Measure] = {}
        self._connections: dict[HttpConnection, None] = {}
        self._most_connections = min(limits.connections, _open_files() // _PART_OF_FILES)
        self._sockets: list[socket.socket] = []
        self._listeners: list[asyncio.Server] = []
        self._secured, self._tls_version = secured, 0
        self._turned_away = 0  # Callers without the right certificate, since the last look.
        self._looking: asyncio.Task[None] | None = None
        self._ending = False
        self._left = asyncio.Event()  # Set at the end, when the last connection is gone.

    async def start(self) -> str:
        """Listen. Returns host:port. Raises Unavailable if the port is taken."""
        self._sockets = await listening_sockets(self._host, self._port)
        port = self._sockets[0].getsockname()[1]
        self._tell_date()
        self._metrics.gather((HTTP_CONNECTIONS,), lambda: [Sample(HTTP_CONNECTIONS, len(self._connections), (self._role,))])
        await self._listen()
        self._looking = asyncio.create_task(self._look())
        address = joined(self._host, port)
        log.info(event("listening_http", address=address))
        return address

    def set_serving(self, serving: bool) -> None:
        """Report by `GET /health` whether this process can do its work."""
        self.serving = serving

    async def stop(self, grace_s: float) -> None:
        """Refuse new requests, give running calls grace_s seconds, and end. May also be called after a failed start."""
        self._ending, self.serving = True, False
        _close(self._listeners)
        _close(self._sockets)
        for connection in list(self._connections):
            connection.end()
        tasks = {call.task for call in self.running}
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for connection in list(self._connections):
            connection.cut()
        if self._connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), _CLOSED_WITHIN_S)
        for connection in list(self._connections):
            connection.abort()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.to_thread(self.conversions.close)

    def admits(self, transport: asyncio.BaseTransport) -> bool:
        """Return whether the peer of a new connection may send requests, by its certificate."""
        if self._secured is None or self._secured.admits(transport.get_extra_info("peercert")):
            return True
        self._turned_away += 1
        return False

    def connected(self, connection: HttpConnection) -> None:
        """Take a new connection. If there are too many, one of the oldest makes room: the one that is free the longest.

        If none of them is free, the new one is closed.
        """
        self._connections[connection] = None
        if self._ending:
            connection.end()
        elif len(self._connections) > self._most_connections:
            free = [each for each in islice(self._connections, _ASKED_FOR_ROOM) if each is not connection and each.is_free]
            min(free, key=lambda each: each.free_since_s, default=connection).make_room()

    def lost(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        if self._ending and not self._connections:
            self._left.set()

    def refused(self, failure: FailedAnswer) -> None:
        """Count a request that was refused before it was a call."""
        status = failure.http_status
        measure = self._refusals.get(status)
        if measure is None:
            measure = self._refusals[status] = self._metrics.measure(HTTP_REFUSED, self._role, str(status))
        measure(1)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._tell_date()
            await self._look_at_certificates()
            now_s = loop.time()
            for connection in list(self._connections):
                connection.look(now_s)

    async def _look_at_certificates(self) -> None:
        if self._secured is not None and self._secured.tls.current().version != self._tls_version and not self._ending:
            try:
                await self._listen()
            except OSError as error:
                log.warning(event("listening_again_failed", reason=error.strerror, action="the old certificate stays until the next look"))
        if self._turned_away:
            log.warning(event("http_callers_refused", count=self._turned_away, reason=INTERNAL_ONLY))
            self._turned_away = 0

    async def _listen(self) -> None:
        """Listen with the newest certificates, and then no longer with those before them. Connections go on.

        A context of TLS that is in use cannot forget an authority, so each version has its own, on the same sockets.
        """
        loop, version, security = asyncio.get_running_loop(), 0, dict[str, Any]()
        if self._secured is not None:
            material = self._secured.tls.current()
            version = material.version
            security = {
                "ssl": material.server_context(client_required=self._secured.client_required),
                "ssl_handshake_timeout": self.limits.head_s,
                "ssl_shutdown_timeout": self.limits.linger_s,
            }
        made: list[asyncio.Server] = []
        try:
            for each in self._sockets:
                made.append(await loop.create_server(lambda: HttpConnection(self), sock=each.dup(), backlog=1_024, **security))
        except OSError:
            _close(made)
            raise
        if self._ending:
            _close(made)
            return
        old, self._listeners, self._tls_version = self._listeners, made, version
        _close(old)

    def _tell_date(self) -> None:
        self.heads.set_date(formatdate(usegmt=True).encode("ascii"))


def _close(each_one: Iterable[asyncio.Server | socket.socket]) -> None:
    for each in each_one:
        each.close()


def _open_files() -> int:
    """Return how many files this process may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _UNLIMITED_FILES if soft == resource.RLIM_INFINITY else soft
