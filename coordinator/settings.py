"""Settings of a coordinator."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.settings import setting


@dataclass(frozen=True, kw_only=True)
class CoordinatorSettings:
    """The coordinator: places shards, elects primaries, creates and drops collections. Raises InvalidArgument for an impossible value."""

    etcd: tuple[str, ...] = setting(("127.0.0.1:2379",), "endpoints of etcd, host:port, separated by commas")
    cluster_name: str = setting("default", "name of the cluster; clusters of different names can share an etcd")
    host: str = setting("127.0.0.1", "address to listen on, and under which the other roles reach this one")
    port: int = setting(0, "port to listen on; 0 is any free one")
    message_bytes: int = setting(32 * 1024 * 1024, "largest message, in bytes")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    lease_ttl_s: int = setting(5, "seconds after which a leader that vanished is replaced")
    reconcile_every_s: float = setting(2.0, "longest pause between two rounds, in seconds")
    store_timeout_s: float = setting(2.0, "deadline of one call of etcd, in seconds")

    def __post_init__(self) -> None:
        if not self.cluster_name or "/" in self.cluster_name:
            message = f"cluster_name is {self.cluster_name!r}, it must have a character and no slash"
            raise InvalidArgument(message, ErrorDetails(field="cluster_name"))
        if not 0 <= self.port <= 65_535:
            raise InvalidArgument(f"port is {self.port}, it must be from 0 to 65535", ErrorDetails(field="port"))
        for name in ("message_bytes", "lease_ttl_s", "reconcile_every_s", "store_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)}, it must be above 0", ErrorDetails(field=name))
