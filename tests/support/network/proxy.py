"""A proxy that environment variables name and our programs must not use: it records requests and answers none."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

NAMES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
VARIABLES = (*NAMES, *(name.upper() for name in NAMES))
_WORDS_S = 2.0
EXCEPTIONS = ("no_proxy", "no_grpc_proxy", "NO_PROXY", "NO_GRPC_PROXY")


class Proxy:
    """url: the value for the variables; asked: the first words of each connection."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def serve(self) -> None:
        """Serve until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    connection.settimeout(_WORDS_S)
                    self.asked.append(_first_words(connection))


def _first_words(connection: socket.socket) -> str:
    with contextlib.suppress(OSError):
        return connection.recv(200).decode("latin-1").splitlines()[0]
    return ""


@contextlib.contextmanager
def proxy_named_by(variables: tuple[str, ...]) -> Iterator[Proxy]:
    """Within the block, these environment variables name the proxy; no other variable names a proxy or an exception."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as patch:
        proxy = Proxy(listener)
        thread = threading.Thread(target=proxy.serve, name="proxy")
        thread.start()
        for name in (*VARIABLES, *EXCEPTIONS):
            patch.delenv(name, raising=False)
        for name in variables:
            patch.setenv(name, proxy.url)
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
