"""The small HTTP server of the metrics port, on threads of its own, so that it answers while the event loop is busy."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from shoal.runtime.logs import event
from shoal.runtime.server_tls import ServerTls

log = logging.getLogger("shoal.metrics")

_SILENT_S = 30.0
"""A caller that sends nothing for so long is left."""


class MetricsServer:
    """Serves a WSGI application until `stop`. port: the one it listens on."""

    def __init__(self, host: str, port: int, application: Any, secured: ServerTls | None = None) -> None:
        """port: 0 for any free one. secured: None for plain text. Raises OSError if it cannot listen."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self._server = _Server(family, address, secured)
        self._server.set_app(application)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, family: int, address: Any, secured: ServerTls | None) -> None:
        self.address_family, self._secured = family, secured
        self._version = 0
        self._context: ssl.SSLContext | None = None
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Return the next connection. Its handshake, if it has one, is made by the thread that serves it."""
        connection, address = super().get_request()
        if self._secured is None:
            return connection, address
        material = self._secured.tls.current()
        if self._context is None or material.version != self._version:
            self._version, self._context = material.version, material.server_context(client_required=self._secured.client_required)
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a call that failed: a caller that is refused or leaves is nothing to print."""
        log.debug(event("metrics_call_failed", peer=client_address, reason=sys.exc_info()[1]))


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Log no calls."""
