"""The HTTP port for monitoring: `GET` of four paths, `/metrics`, `/live`, `/ready` and `/started`, and nothing else.

Over TLS, whoever asks for the metrics needs a certificate of the cluster's authority. Probes need none: the kubelet has
no certificate to show, and one line about a role tells nothing of data.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shoal.runtime.logs import event
from shoal.runtime.server_tls import ServerTls
from shoal.runtime.standing import ProbeAnswer, RoleStandings

log = logging.getLogger("shoal.metrics")

MOST_AT_ONCE = 16
"""Connections at the same time. For a further one, those that are older than PATIENCE_S are cut off, so that nobody who
sends byte after byte keeps probes out. If none is, the further one is cut off, and may come again.
"""

PATIENCE_S = 10.0
"""Time for a peer to send each part of its request, and to take each part of the answer."""

METRICS_PATH = "/metrics"

_ENDS_WITHIN_S = 0.5
_WITHOUT_CERTIFICATE = "the metrics are for callers with a certificate of the cluster's authority"


@dataclass(frozen=True, kw_only=True, slots=True)
class PageAnswer:
    """What is answered to a request. headers: besides the length of the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


Page = Callable[[Mapping[str, str]], PageAnswer]
"""Answers a request by its headers, whose names are in lower case."""


def text_answer(status: int, text: str) -> PageAnswer:
    """Return one line of plain text."""
    return PageAnswer(status=status, headers=(("Content-Type", "text/plain; charset=utf-8"),), body=f"{text}\n".encode())


def probes(standing: RoleStandings) -> dict[str, Page]:
    """Return the pages for probes, by path: status 200 for a good answer, else 503."""

    def page(judged: Callable[[], ProbeAnswer]) -> Page:
        def answer(headers: Mapping[str, str]) -> PageAnswer:
            judgement = judged()
            return text_answer(HTTPStatus.OK if judgement.good else HTTPStatus.SERVICE_UNAVAILABLE, judgement.text)

        return answer

    return {"/live": page(standing.live), "/ready": page(standing.ready), "/started": page(standing.started)}


class MetricsPort:
    """Answers on threads of its own. `port` is the one it listens on."""

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], secured: ServerTls | None = None, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Listen. pages: by path. port: 0 for any free one. secured: None for plain text. patience_s: age from which a
        connection makes room for others.

        Raises OSError if the address cannot be listened on.
        """
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._server = _Server(family, address[:2], pages, secured, patience_s)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_ENDS_WITHIN_S,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nothing more. Requests that are being answered end by themselves."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(
        self, family: socket.AddressFamily, address: Any, pages: Mapping[str, Page], secured: ServerTls | None, patience_s: float
    ) -> None:
        self.address_family = family
        self.pages = pages
        self._secured = secured
        self._version, self._context = 0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._patience_s, self._lock = patience_s, threading.Lock()
        self._open: dict[socket.socket, float] = {}  # Since when.
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The one of HTTPServer asks for the name of the host, which can take seconds.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        """Return the next connection. Its handshake, if it has one, is made by the thread that serves it."""
        connection, address = super().get_request()
        if self._secured is None:
            return connection, address
        material = self._secured.tls.current()
        if material.version != self._version:
            self._version, self._context = material.version, material.server_context(client_required=False)
            self._context.verify_mode = ssl.CERT_OPTIONAL
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._has_room_for(request):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _has_room_for(self, request: socket.socket) -> bool:
        with self._lock:
            now = time.monotonic()
            if len(self._open) >= MOST_AT_ONCE:
                for old in [each for each, since in self._open.items() if now - since >= self._patience_s]:
                    del self._open[old]
                    with contextlib.suppress(OSError):
                        # Not the one of SSLSocket, which changes what the thread of this connection reads from.
                        socket.socket.shutdown(old, socket.SHUT_RDWR)
            if len(self._open) >= MOST_AT_ONCE:
                return False
            self._open[request] = now
            return True

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a failure, unless the peer has left or was too slow."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error(event("metrics_port_failed"), exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = PATIENCE_S
    server_version, sys_version = "shoal", ""
    error_message_format, error_content_type = "%(code)d %(message)s\n", "text/plain; charset=utf-8"

    def do_GET(self) -> None:
        pages, path = self.server.pages, self.path.partition("?")[0]
        page = pages.get(path)
        if page is None:
            self._answer(text_answer(HTTPStatus.NOT_FOUND, f"there is nothing here but {', '.join(sorted(pages))}"))
        elif path == METRICS_PATH and not self._is_certified():
            self._answer(text_answer(HTTPStatus.FORBIDDEN, _WITHOUT_CERTIFICATE))
        else:
            self._answer(page({name.lower(): value for name, value in self.headers.items()}))

    def _is_certified(self) -> bool:
        """Return whether the caller has shown a certificate, or need not. One that is shown is verified."""
        return not isinstance(self.connection, ssl.SSLSocket) or bool(self.connection.getpeercert())

    def _answer(self, answer: PageAnswer) -> None:
        self.send_response(answer.status)
        for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""
