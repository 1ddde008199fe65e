"""A plain HTTP server of the Connect protocol, made of blocking sockets. It can be told to misbehave in every way.

It is not fast, and it bounds nothing. It writes exactly the bytes that a test asks for.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedReader

from shoal.core.errors import ShoalError
from shoal.wire.connect import HTTP_STATUS, error_to_json, refusal_to_json
from shoal.wire.tls import Tls
from tests.support.network.ports import free_port


@dataclass(frozen=True)
class HttpRequest:
    """A request as it arrived. headers: by name in lower case."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


TLS_RECORD = b"\x16"
"""Begins what a client with TLS sends."""

Behaviour = Callable[[socket.socket, HttpRequest], bool]
"""Answers a request on its socket. Returns whether the connection goes on."""

CallAnswer = Callable[[str, bytes, float], bytes]
"""(path, bytes of the request, timeout_s) -> bytes of the answer, or raises a ShoalError."""


def written(status: int, body: bytes, kind: str, *more: str) -> bytes:
    """Return the bytes of an answer. more: lines of its head."""
    lines = [f"HTTP/1.1 {status} Some Reason", f"content-type: {kind}", f"content-length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body


class ConnectServer:
    """Listens on a port of loopback from `start` to `stop`, which may be called again and again.

    next: behaviours of the next requests, one for each; the others are answered by `answer`. requests: all that came.
    accepted: number of connections. server_id: refuses requests that are meant for another id. tls: None for plain
    HTTP. client_required: a client needs a certificate.
    """

    def __init__(self, answer: CallAnswer, *, server_id: str = "", tls: Tls | None = None, client_required: bool = True) -> None:
        self._answer, self.server_id = answer, server_id
        self._tls, self._client_required = tls, client_required
        self.port = free_port()
        self.next: list[Behaviour] = []
        self.requests: list[HttpRequest] = []
        self.accepted = 0
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> ConnectServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection, as a process that ends does."""
        with self._lock:
            listener, self._listener = self._listener, None
            if listener is not None:
                # A thread in accept() keeps the socket open until it is woken.
                listener.shutdown(socket.SHUT_RDWR)
                listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection."""
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    @property
    def connections(self) -> int:
        """Return the number of open connections."""
        with self._lock:
            return len(self._open)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:
                    peer.close()
                    return
                self.accepted += 1
                self._open.add(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            peer = self._encrypted(peer)
            with peer.makefile("rb") as stream:
                self._serve_requests(peer, stream)
        with self._lock:
            self._open.discard(peer)
            peer.close()

    def _serve_requests(self, peer: socket.socket, stream: BufferedReader) -> None:
        if stream.peek(1)[:1] == TLS_RECORD:
            # No method begins so. A server that parses what it gets says it at once.
            peer.sendall(written(400, b"", "text/plain"))
            return
        while (request := _read(stream)) is not None:
            with self._lock:
                self.requests.append(request)
                behave = self.next.pop(0) if self.next else self.behave
            if not behave(peer, request):
                break

    def _encrypted(self, peer: socket.socket) -> socket.socket:
        """Return the socket with TLS where it is asked for. Raises OSError if the handshake fails."""
        if self._tls is None:
            return peer
        with self._lock:
            self._open.discard(peer)
        made = self._tls.current().server_context(client_required=self._client_required).wrap_socket(peer, server_side=True)
        with self._lock:
            self._open.add(made)
        return made

    def behave(self, peer: socket.socket, request: HttpRequest) -> bool:
        """Answer as a router does."""
        peer.sendall(self.answer_to(request))
        return True

    def answer_to(self, request: HttpRequest) -> bytes:
        """Return the bytes of a proper answer."""
        wanted = request.headers.get("shoal-server", self.server_id)
        if wanted != self.server_id:
            return written(421, refusal_to_json("UNAVAILABLE", "another server is meant"), "application/json")
        timeout_s = int(request.headers["connect-timeout-ms"]) / 1000
        try:
            return written(200, self._answer(request.path, request.body, timeout_s), "application/proto")
        except ShoalError as error:
            return written(HTTP_STATUS[error.status], error_to_json(error), "application/json")


def _read(stream: object) -> HttpRequest | None:
    """Return the next request; None at the end of the connection."""
    head = []
    while True:
        line = stream.readline()  # type: ignore[attr-defined]
        if not line:
            return None
        if line == b"\r\n":
            break
        head.append(line.decode("latin-1").rstrip("\r\n"))
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = stream.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]
    return HttpRequest(method, path, headers, body)


def saying(data: bytes, *, then_close: bool = True) -> Behaviour:
    """Return a behaviour that writes these bytes."""

    def behave(peer: socket.socket, request: HttpRequest) -> bool:
        peer.sendall(data)
        return not then_close

    return behave


def hanging_up(peer: socket.socket, request: HttpRequest) -> bool:
    """Close the connection without an answer."""
    return False


def silent(seconds: float) -> Behaviour:
    """Return a behaviour that says nothing until its peer leaves, but at most for so long."""

    def behave(peer: socket.socket, request: HttpRequest) -> bool:
        peer.settimeout(seconds)
        with contextlib.suppress(OSError):
            while peer.recv(1024):
                pass
        return False

    return behave


def dripping(data: bytes, pause_s: float) -> Behaviour:
    """Return a behaviour that writes these bytes one at a time."""

    def behave(peer: socket.socket, request: HttpRequest) -> bool:
        for at in range(len(data)):
            peer.sendall(data[at : at + 1])
            time.sleep(pause_s)
        return False

    return behave
