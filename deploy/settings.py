"""Settings of a local cluster, `shoal up`."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.settings import setting

NODE_HOST = "node"
"""As `host`: every role listens on the address of the Ray node it runs on."""


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """A Shoal cluster from one command: etcd, Ray and every role, all data in one folder."""

    data: str = setting("shoal-data", "folder that holds everything", variable="SHOAL_DATA_FOLDER")
    port: int = setting(7600, "port of the router, the one address that clients need")
    workers: int = setting(1, "number of shard workers; a folder that holds more starts them all")
    host: str = setting("127.0.0.1", "address to listen on; 'node' on a given Ray: the address of each role's node")
    etcd: tuple[str, ...] = setting((), "endpoints of an etcd that runs already, host:port, separated by commas; none: start one")
    ray_address: str = setting("", "address of a Ray cluster that runs already; empty: start one")
    cluster_name: str = setting("default", "name of the cluster in etcd")
    lease_ttl_s: int = setting(5, "seconds after which a dead process is noticed")
    start_timeout_s: float = setting(300.0, "longest wait until everything answers, seconds")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise InvalidArgument(f"port is {self.port}, it must be from 1 to 65535", ErrorDetails(field="port"))
        if not 1 <= self.workers <= 64:
            raise InvalidArgument(f"workers is {self.workers}, it must be from 1 to 64", ErrorDetails(field="workers"))
        if self.ray_address and not self.etcd:
            raise InvalidArgument(
                "--ray-address needs --etcd: a given Ray outlives this command, so its roles need an etcd that does too",
                ErrorDetails(field="etcd"),
            )
        if self.host == NODE_HOST and not self.ray_address:
            raise InvalidArgument("--host node has a meaning only with --ray-address", ErrorDetails(field="host"))
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise InvalidArgument(
                f"log_level is {self.log_level!r}, it must be DEBUG, INFO, WARNING or ERROR", ErrorDetails(field="log_level")
            )
