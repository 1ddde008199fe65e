"""The bytes of requests: a head for each call, and the address it goes to. Pure."""

from __future__ import annotations

from shoal.wire.api_key import AUTHORIZATION, bearer
from shoal.wire.connect import CLIENT_HEADER, MOST_TIMEOUT_DIGITS, PROTO, TIMEOUT_HEADER, VERSION, VERSION_HEADER

SERVER_HEADER = "shoal-server"
"""The id of the server that a request is for. Another server refuses it with HTTP status 421, and does nothing."""

_MOST_MS = 10**MOST_TIMEOUT_DIGITS - 1


class RequestHeads:
    """The heads of requests of one client to one server.

    address: "host:port" of the server. client: name of the client. server: id that the server must have, "" for any.
    api_key: "" for none.
    """

    def __init__(self, address: str, client: str, server: str = "", api_key: str = "") -> None:
        lines = {
            "host": address,
            "content-type": PROTO,
            VERSION_HEADER: VERSION,
            CLIENT_HEADER: client,
            **({SERVER_HEADER: server} if server else {}),
            **({AUTHORIZATION: bearer(api_key)} if api_key else {}),
        }
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._begun: dict[str, bytes] = {}

    def head(self, path: str, timeout_s: float, length: int) -> bytes:
        """Return the head of a call. path: of the RPC, as over gRPC. length: of the message, in bytes."""
        begun = self._begun.get(path)
        if begun is None:
            begun = self._begun[path] = f"POST {path} HTTP/1.1\r\n{self._lines}{TIMEOUT_HEADER}: ".encode("ascii")
        return b"%b%d\r\ncontent-length: %d\r\n\r\n" % (begun, _milliseconds(timeout_s), length)


def _milliseconds(timeout_s: float) -> int:
    return int(1000 * timeout_s) if 0.001 <= timeout_s < _MOST_MS / 1000 else 1 if timeout_s < 1 else _MOST_MS
