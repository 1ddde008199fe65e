"""Settings of a local cluster, `shoal up`."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.addresses import plain_host
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.router.settings import check_admission
from shoal.runtime.role_settings import (
    ANY_PORT,
    EtcdAccessSettings,
    TlsSettings,
    check_client_required,
    check_http_port,
    check_log_level,
    check_ports,
)
from shoal.runtime.settings import setting
from shoal.shard_worker.settings import check_builds

NODE_HOST = "node"
"""Value of `host`: every role listens on the address of its Ray node."""

BESIDE_PORT = -2
"""Value of `http_port`: it lies BESIDE_PORT_BY above `port`."""

BESIDE_PORT_BY = 80


@dataclass(frozen=True, kw_only=True)
class LocalSettings(TlsSettings, EtcdAccessSettings):
    """A Shoal cluster from one command: etcd, Ray and every role, all data in one folder."""

    data: str = setting("shoal-data", "folder that holds everything", variable="SHOAL_DATA_FOLDER")
    port: int = setting(7600, "port of the router, the one address that clients need")
    http_port: int = setting(
        BESIDE_PORT, f"port of the router for HTTP/1.1; -2 is port + {BESIDE_PORT_BY}, 0 is none, -1 any free one, which its log names"
    )
    workers: int = setting(1, "number of shard workers; a folder that holds more starts them all")
    host: str = setting("127.0.0.1", "address to listen on; 'node' on a given Ray: the address of each role's node")
    etcd: tuple[str, ...] = setting((), "endpoints of an etcd that runs already, host:port, separated by commas; none: start one")
    ray_address: str = setting("", "address of a Ray cluster that runs already; empty: start one")
    tls_client_required: bool = setting(False, "ask clients of the router for a certificate that the authority in tls_ca signed")
    builds: str = setting("here", "where indexes are built: 'here', in the workers, or 'ray', as tasks on other nodes of a given Ray")
    memory_budget_bytes: int = setting(0, "bytes of memory that the data of each worker may use; 0 for memory_percent")
    memory_percent: float = setting(
        75.0, "part of a machine's memory for data; on a Ray of our own the workers share it, on a given Ray each takes it"
    )
    message_bytes: int = setting(32 * 1024 * 1024, "largest message either way, in bytes")
    metrics_port: int = setting(
        ANY_PORT, "Prometheus port of the coordinator, the workers take the next ones; 0 is none, -1 any free ones, which the logs name"
    )
    keys: bool = setting(False, "let the router ask for an API key with every call; needs admin_key_file")
    admin_key_file: str = setting("", "file, mode 0600, that holds a key with every right, on the machine of the router and here")
    reflection: bool = setting(False, "let the router answer gRPC reflection, which tools like grpcurl ask for")
    lease_ttl_s: int = setting(5, "seconds after which a dead process is noticed")
    replace_after_s: float = setting(600.0, "seconds that a worker may be gone before its replicas are replaced on others")
    start_timeout_s: float = setting(300.0, "longest wait until everything answers, seconds")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "host", plain_host(self.host))
        check_ports(self.port, self.metrics_port, least_port=1)
        check_http_port(self.router_http_port, self.port)
        check_log_level(self.log_level)
        check_builds(self.builds)
        if self.keys and not self.admin_key_file:
            message = "keys is true, it needs admin_key_file: shoal up asks the router whether the cluster is ready"
            raise InvalidArgument(message, ErrorDetails(field="admin_key_file"))
        if self.memory_budget_bytes < 0:
            message = f"memory_budget_bytes is {self.memory_budget_bytes}, it must be at least 0"
            raise InvalidArgument(message, ErrorDetails(field="memory_budget_bytes"))
        if not 0 < self.memory_percent <= 100:
            message = f"memory_percent is {self.memory_percent}, it must be above 0 and at most 100"
            raise InvalidArgument(message, ErrorDetails(field="memory_percent"))
        if self.message_bytes < 1:
            message = f"message_bytes is {self.message_bytes}, it must be above 0"
            raise InvalidArgument(message, ErrorDetails(field="message_bytes"))
        if (self.etcd_ca or self.etcd_user) and not self.etcd:
            message = "etcd_ca and etcd_user are for an etcd of yours: give --etcd too"
            raise InvalidArgument(message, ErrorDetails(field="etcd"))
        if not self.replace_after_s > 0:
            message = f"replace_after_s is {self.replace_after_s}, it must be above 0"
            raise InvalidArgument(message, ErrorDetails(field="replace_after_s"))
        if not 1 <= self.workers <= 64:
            raise InvalidArgument(f"workers is {self.workers}, it must be from 1 to 64", ErrorDetails(field="workers"))
        if self.metrics_port + self.workers > 65_535:
            message = f"metrics_port is {self.metrics_port}, which leaves no port for {self.workers} workers behind it"
            raise InvalidArgument(message, ErrorDetails(field="metrics_port"))
        if self.ray_address and not self.etcd:
            raise InvalidArgument(
                "--ray-address needs --etcd: a given Ray outlives this command, so its roles need an etcd that does too",
                ErrorDetails(field="etcd"),
            )
        if self.builds != "here" and not self.ray_address:
            raise InvalidArgument(
                f"builds is {self.builds!r}, which needs --ray-address: a Ray of our own has no other node", ErrorDetails(field="builds")
            )
        if self.host == NODE_HOST and not self.ray_address:
            raise InvalidArgument("--host node can be used only with --ray-address", ErrorDetails(field="host"))
        self.check_tls(self.host)
        check_client_required(self.tls_client_required, self.tls_files)
        check_admission(
            keys=self.keys,
            admin_key_file=self.admin_key_file,
            reflection=self.reflection,
            tls_client_required=self.tls_client_required,
            host=self.host,
            insecure=self.insecure,
        )

    @property
    def router_http_port(self) -> int:
        """The HTTP port of the router as its own settings name it: 0 is none, -1 any free one."""
        return self.port + BESIDE_PORT_BY if self.http_port == BESIDE_PORT else self.http_port
