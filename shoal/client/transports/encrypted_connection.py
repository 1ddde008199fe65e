"""One HTTP connection of a blocking client over TLS.

TLS works on bytes in memory here. The plain connection below moves them, so each step keeps a deadline as it does
there.
"""

from __future__ import annotations

import socket
import ssl

from shoal.client.transports.blocking_connection import BlockingConnection, open_socket
from shoal.core.deadline import Clock
from shoal.wire.http.failure import lost, not_reached, refused
from shoal.wire.tls import Tls

_READ_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024
"""So much of a request is encrypted at a time, which bounds what is held of it twice."""


class Encryption:
    """How connections to a server are encrypted: each new one with the newest certificates. Thread-safe.

    name: the name or address that must be in the server's certificate.
    """

    __slots__ = ("_made", "_tls", "name")

    def __init__(self, tls: Tls, name: str) -> None:
        self._tls, self.name = tls, name
        self._made: tuple[int, ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context of the next connection: always the same object until the certificates change."""
        newest, made = self._tls.current(), self._made
        if made is None or made[0] != newest.version:
            # Two threads may do this at once. Both contexts are good.
            made = self._made = newest.version, newest.client_context()
        return made[1]


class EncryptedConnection(BlockingConnection):
    """A connection to a server, encrypted once `shake_hands` has ended."""

    __slots__ = ("_arriving", "_context", "_early", "_encryption", "_leaving", "_tls")

    def __init__(self, made: socket.socket, named: str, clock: Clock, encryption: Encryption) -> None:
        super().__init__(made, named, clock)
        self._arriving, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._early = b""
        self._encryption, self._context = encryption, encryption.context()
        self._tls = self._context.wrap_bio(self._arriving, self._leaving, server_hostname=encryption.name)

    @property
    def is_usable(self) -> bool:
        """See BlockingConnection. One with certificates that were replaced carries no further call."""
        is_newest = self._encryption.context() is self._context
        return is_newest and super().is_usable and not self._arriving.pending and not self._tls.pending()

    def shake_hands(self, deadline: float) -> None:
        """Prove the server's certificate and show ours. deadline: on the clock. Raises NoAnswer."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_encrypted(deadline)
            except ssl.SSLError as error:
                self._send_encrypted(deadline)
                raise not_reached(self._named, error) from None
            data = super()._receive(_READ_BYTES, deadline)
            if not data:
                raise lost(self._named, answered=False)
            self._arriving.write(data)
        self._send_encrypted(deadline)

    def _send(self, head: bytes, body: bytes, deadline: float) -> bool:
        """See BlockingConnection."""
        for message in (head, body):
            for start in range(0, len(message), _PIECE_BYTES):
                self._tls.write(memoryview(message)[start : start + _PIECE_BYTES])
                if start + _PIECE_BYTES < len(message) and not self._send_encrypted(deadline):
                    return False
        return self._send_encrypted(deadline)

    def _send_encrypted(self, deadline: float) -> bool:
        data = self._leaving.read()
        return super()._send(data, b"", deadline) if data else True

    def _may_go_on(self, deadline: float) -> bool:
        """See BlockingConnection. Not all that arrives is an answer: a server sends tickets after a handshake."""
        while not super()._may_go_on(deadline):
            try:
                data = self._socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if not data:
                return False
            self._arriving.write(data)
            found = self._decrypted(_READ_BYTES)
            if found is not None:
                self._early = found
                return False
        return True

    def _receive(self, size: int, deadline: float) -> bytes:
        """See BlockingConnection. What has arrived is returned in one piece, of about `size` bytes at most."""
        if self._early:
            data, self._early = self._early, b""
            return data
        while True:
            found = self._decrypted(size)
            if found is not None:
                return found
            data = super()._receive(size, deadline)
            if not data:
                return b""
            self._arriving.write(data)

    def _decrypted(self, size: int) -> bytes | None:
        """Return what can be read of the bytes that have arrived; b"" at the end, None if that is nothing yet."""
        parts: list[bytes] = []
        try:
            while size > 0:
                part = self._tls.read(size)
                if not part:
                    break
                parts.append(part)
                size -= len(part)
        except ssl.SSLWantReadError:
            return b"".join(parts) if parts else None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        except ssl.SSLError as error:
            if not parts:
                raise refused(self._named, error) from None
        return b"".join(parts)


def open_connection(address: str, named: str, deadline: float, clock: Clock, encryption: Encryption | None) -> BlockingConnection:
    """Return a new connection to address, "host:port". encryption: None for plain HTTP.

    named: the server, for messages. deadline: on the clock. Raises NoAnswer.
    """
    made = open_socket(address, named, deadline, clock)
    if encryption is None:
        return BlockingConnection(made, named, clock)
    try:
        connection = EncryptedConnection(made, named, clock, encryption)
        connection.shake_hands(deadline)
    except BaseException:
        made.close()
        raise
    return connection
