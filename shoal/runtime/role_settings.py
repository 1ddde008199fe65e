"""The settings of every role: access to etcd, address to listen on, logs, metrics. Knows no role."""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.addresses import is_loopback, plain_host
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.runtime.settings import setting
from shoal.wire.tls import TlsFiles

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
ANY_PORT = -1
"""Value of `metrics_port` and `http_port` for any free port."""


def check_ports(port: int, metrics_port: int, least_port: int = 0) -> None:
    """Raise InvalidArgument for a port outside its bounds."""
    if not least_port <= port <= 65_535:
        raise InvalidArgument(f"port is {port}, it must be from {least_port} to 65535", ErrorDetails(field="port"))
    check_optional_port("metrics_port", metrics_port)


def check_optional_port(name: str, port: int) -> None:
    """Raise InvalidArgument for a port outside its bounds: 0 is none, ANY_PORT any free one."""
    if not ANY_PORT <= port <= 65_535:
        raise InvalidArgument(f"{name} is {port}, it must be from -1 to 65535", ErrorDetails(field=name))


def check_http_port(http_port: int, port: int) -> None:
    """Raise InvalidArgument for an HTTP port outside its bounds, or one that is the gRPC port, too."""
    check_optional_port("http_port", http_port)
    if http_port == port > 0:
        raise InvalidArgument(f"http_port and port are both {port}, they must differ", ErrorDetails(field="http_port"))


def check_log_level(log_level: str) -> None:
    """Raise InvalidArgument for a level that does not exist."""
    if log_level not in LOG_LEVELS:
        message = f"log_level is {log_level!r}, it must be {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}"
        raise InvalidArgument(message, ErrorDetails(field="log_level"))


def check_client_required(tls_client_required: bool, files: TlsFiles) -> None:
    """Raise InvalidArgument if clients must have certificates, and the server has none."""
    if tls_client_required and not files.given:
        raise InvalidArgument("tls_client_required is true, it needs tls_ca, tls_cert and tls_key", ErrorDetails(field="tls_cert"))


@dataclass(frozen=True, kw_only=True)
class EtcdAccessSettings:
    """The settings for access to etcd. Raises InvalidArgument if one is unusable or lacks another one."""

    etcd: tuple[str, ...] = setting(("127.0.0.1:2379",), "endpoints of etcd, host:port, separated by commas")
    etcd_ca: str = setting("", "PEM file of the authority that signed etcd's certificate; empty: no TLS")
    etcd_cert: str = setting("", "PEM file of our certificate, for an etcd that asks for one")
    etcd_key: str = setting("", "PEM file of the key of etcd_cert")
    etcd_user: str = setting("", "user of an etcd with authentication")
    etcd_password_file: str = setting("", "file that holds the password of etcd_user")
    cluster_name: str = setting("default", "name of the cluster; clusters of different names can share an etcd")

    def __post_init__(self) -> None:
        if not self.cluster_name or "/" in self.cluster_name:
            message = f"cluster_name is {self.cluster_name!r}, it must have a character and no slash"
            raise InvalidArgument(message, ErrorDetails(field="cluster_name"))
        self._need("etcd_cert", "etcd_key")
        self._need("etcd_cert", "etcd_ca")
        self._need("etcd_key", "etcd_cert")
        self._need("etcd_user", "etcd_password_file")
        self._need("etcd_password_file", "etcd_user")

    def _need(self, name: str, other: str) -> None:
        if getattr(self, name) and not getattr(self, other):
            raise InvalidArgument(f"{name} is {getattr(self, name)!r}, it needs {other} too", ErrorDetails(field=other))


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The settings for certificates of servers and clients. A class that has them calls `check_tls`."""

    tls_ca: str = setting("", "PEM file of the authority that signed all certificates of the cluster; empty: no TLS")
    tls_cert: str = setting("", "PEM file of our certificate, for the ports and for calls of other roles; it is read again when it changes")
    tls_key: str = setting("", "PEM file of the key of tls_cert")
    insecure: bool = setting(False, "allow a host beyond loopback without TLS: whoever reaches it may read, write and delete")

    @property
    def tls_files(self) -> TlsFiles:
        """Return the files; none are given for plain text."""
        return TlsFiles(ca=self.tls_ca, cert=self.tls_cert, key=self.tls_key)

    def check_tls(self, host: str) -> None:
        """Raise InvalidArgument if a file is missing, or if the host to listen on is beyond loopback, without TLS."""
        files = self.tls_files
        if files.given and not files.cert:
            raise InvalidArgument(f"tls_ca is {self.tls_ca!r}, it needs tls_cert and tls_key too", ErrorDetails(field="tls_cert"))
        if files.given and self.insecure:
            raise InvalidArgument("insecure is true, it must be false with tls_cert", ErrorDetails(field="insecure"))
        if not files.given and not self.insecure and not is_loopback(host):
            raise InvalidArgument(
                f"host is {host!r}, which is beyond loopback and needs TLS: make certificates with 'shoal cert init' and give tls_ca, "
                "tls_cert and tls_key; or set insecure = true, and whoever reaches it may read, write and delete",
                ErrorDetails(field="tls_cert"),
            )


@dataclass(frozen=True, kw_only=True)
class RoleSettings(TlsSettings, EtcdAccessSettings):
    """The settings of every role. Raises InvalidArgument for an unusable value."""

    host: str = setting("127.0.0.1", "address to listen on, and under which the other roles reach this one")
    port: int = setting(0, "port to listen on; 0 is any free one")
    message_bytes: int = setting(32 * 1024 * 1024, "largest message either way, in bytes")
    log_level: str = setting("INFO", "DEBUG, INFO, WARNING or ERROR")
    metrics_port: int = setting(0, "port of the Prometheus endpoint; 0 is none, -1 any free one, which the log names")
    reflection: bool = setting(False, "answer gRPC reflection, which tools like grpcurl ask for")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "host", plain_host(self.host))
        self.check_tls(self.host)
        check_ports(self.port, self.metrics_port)
        check_log_level(self.log_level)
        if self.message_bytes < 1:
            message = f"message_bytes is {self.message_bytes}, it must be above 0"
            raise InvalidArgument(message, ErrorDetails(field="message_bytes"))
