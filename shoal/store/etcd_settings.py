"""Where etcd is and how patient its client is."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdSettings:
    """Settings of one client. Raises InvalidArgument when made of impossible values.

    endpoints: "host:port", at least one. dial_timeout_s: for one endpoint to accept a connection. call_timeout_s: for a call
    the client makes by itself, as when a watch lists again. silence_s: after so long without a word from a watched endpoint it
    is asked for one, after twice as long it is given up.
    """

    endpoints: tuple[str, ...]
    dial_timeout_s: float = 1.0
    call_timeout_s: float = 5.0
    silence_s: float = 1.5

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidArgument("at least one etcd endpoint is needed", ErrorDetails(field="endpoints"))
        for endpoint in self.endpoints:
            host, _, port = endpoint.rpartition(":")
            if not host or "/" in endpoint or not port.isascii() or not port.isdigit():
                raise InvalidArgument(f"etcd endpoint {endpoint!r} must have the form host:port", ErrorDetails(field="endpoints"))
        for name in ("dial_timeout_s", "call_timeout_s", "silence_s"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)!r}, it must be above 0", ErrorDetails(field=name))
