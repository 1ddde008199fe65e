"""One HTTP connection of a blocking client: opened, used for one call at a time, closed. Each step keeps a deadline."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import struct
import threading
from typing import Any

from shoal.core.addresses import split
from shoal.core.deadline import Clock
from shoal.wire.http.answer import AnswerReader, SeenAnswers
from shoal.wire.http.failure import late, lost, not_reached
from shoal.wire.http.sockets import JOINED_BYTES, watch_peer

_FIRST_READ_BYTES, _READ_BYTES = 64 * 1024, 512 * 1024
_MOST_WAIT_MS = 1_000_000_000
_AT_ONCE = socket.MSG_DONTWAIT
_PATIENCE_S = 1.0


class BlockingConnection:
    """A connection to a server. It does not block longer than until the deadline of a call.

    Only one thread uses it at a time, but any thread may call `abort`.
    """

    __slots__ = ("_clock", "_named", "_patience_s", "_poll", "_seen", "_socket")

    def __init__(self, made: socket.socket, named: str, clock: Clock) -> None:
        self._socket, self._named, self._clock = made, named, clock
        self._seen, self._patience_s = SeenAnswers(), 0.0
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)

    @property
    def is_usable(self) -> bool:
        """Return whether it can carry another call: nothing has arrived while it was idle, neither the peer's end nor
        bytes that nobody asked for.
        """
        return not self._poll.poll(0)

    def exchange(self, head: bytes, body: bytes, most_bytes: int, deadline: float) -> AnswerReader:
        """Send a request and return its answer, which is complete or has a fault.

        most_bytes: largest body of an answer. deadline: on the clock. Raises NoAnswer.
        """
        answer = AnswerReader(most_bytes, self._seen)
        whole = self._send(head, body, deadline)
        size = _FIRST_READ_BYTES
        while True:
            data = self._receive(size, deadline)
            if not data:
                raise lost(self._named, answered=answer.arrived > 0)
            if answer.feed(data):
                answer.reusable = answer.reusable and whole
                return answer
            size = _READ_BYTES

    def abort(self) -> None:
        """End the connection for both sides. A thread that waits for an answer gets NoAnswer.

        The socket stays open, so that its number is not used again while another thread may use it.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it, also for processes that were forked meanwhile."""
        self.abort()
        self._socket.close()

    def release(self) -> None:
        """Close the copy that a forked process has. The connection goes on in the parent."""
        self._socket.close()

    def _send(self, head: bytes, body: bytes, deadline: float) -> bool:
        """Send a request. Return whether all of it was sent; an answer that comes before that ends the sending."""
        pieces: list[bytes | memoryview] = [head + body] if len(body) <= JOINED_BYTES else [head, body]
        try:
            while pieces:
                try:
                    sent = self._socket.sendmsg(pieces, (), _AT_ONCE) if len(pieces) > 1 else self._socket.send(pieces[0], _AT_ONCE)
                except BlockingIOError:
                    sent = 0
                pieces = _rest(pieces, sent)
                if pieces and not self._may_go_on(deadline):
                    return False
        except OSError:
            # The peer has closed the connection. What it has said before is read, else the reading fails as well.
            return False
        return True

    def _may_go_on(self, deadline: float) -> bool:
        """Wait until more can be sent. Return False if bytes have arrived instead. Raises NoAnswer."""
        both = select.poll()
        both.register(self._socket, select.POLLIN | select.POLLOUT)
        while True:
            for _, events in both.poll(self._left_ms(deadline)):
                return not events & select.POLLIN

    def _receive(self, size: int, deadline: float) -> bytes:
        """Wait for bytes, at most `size`, and return them; none if the connection has ended. Raises NoAnswer once the
        deadline has passed.

        The system waits for at most a second at a time, or for the time left if that is less. So one call is enough for
        most answers, and its option is changed only near the deadline.
        """
        while True:
            left_s = deadline - self._clock()
            if left_s <= 0:
                raise late(self._named)
            patience_s = min(left_s, _PATIENCE_S)
            try:
                if patience_s != self._patience_s:
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(patience_s))
                    self._patience_s = patience_s
                return self._socket.recv(size)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    def _left_ms(self, deadline: float) -> int:
        """Return the milliseconds to wait, rounded up. Raises NoAnswer once the deadline has passed."""
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise late(self._named)
        return int(1000 * left_s) + 1 if left_s < _MOST_WAIT_MS / 1000 else _MOST_WAIT_MS


def _timeval(seconds: float) -> bytes:
    """Return a time as the system takes it, rounded up."""
    return struct.pack("@ll", *divmod(math.ceil(seconds * 1_000_000), 1_000_000))


def _rest(pieces: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """Return what is left of the pieces after `sent` bytes of them."""
    while pieces and sent >= len(pieces[0]):
        sent -= len(pieces[0])
        pieces = pieces[1:]
    return [memoryview(pieces[0])[sent:], *pieces[1:]] if pieces and sent else pieces


def open_socket(address: str, named: str, deadline: float, clock: Clock) -> socket.socket:
    """Return a socket with a new connection to address, "host:port". It ignores proxy variables.

    named: the server, for messages. deadline: on the clock. Raises NoAnswer. Each address of the host is tried in turn.
    """
    reason: OSError = OSError("the host has no address")
    for family, kind, protocol, _, place in _resolved(address, named, deadline, clock):
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:
            reason = error
            continue
        try:
            return _connected(made, place, named, deadline, clock)
        except OSError as error:
            made.close()
            reason = error
        except BaseException:
            made.close()
            raise
    raise not_reached(named, reason)


def _connected(made: socket.socket, place: Any, named: str, deadline: float, clock: Clock) -> socket.socket:
    made.settimeout(max(0.001, deadline - clock()))
    watch_peer(made)
    try:
        made.connect(place)
    except TimeoutError:
        if clock() >= deadline:
            raise late(named) from None
        raise
    if made.getsockname() == made.getpeername():
        # Nobody listens there. The system had given the same port to this side, and so it was connected to itself.
        raise ConnectionRefusedError("connection refused")
    made.settimeout(None)
    return made


def _resolved(address: str, named: str, deadline: float, clock: Clock) -> list[Any]:
    """Return what getaddrinfo says of an address. It takes no timeout, so names are looked up in another thread."""
    host, port = split(address)
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        found: list[list[Any] | OSError] = []
        looking = threading.Thread(target=_look_up, args=(host, port, found), name="shoal-resolve", daemon=True)
        looking.start()
        looking.join(max(0.0, deadline - clock()))
    if not found:
        raise late(named)
    if isinstance(found[0], OSError):
        raise not_reached(named, found[0])
    return found[0]


def _look_up(host: str, port: int, found: list[list[Any] | OSError]) -> None:
    try:
        found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        found.append(error)
    except UnicodeError:
        # A part of the name is too long for any name, or empty.
        found.append(OSError("name or service not known"))
