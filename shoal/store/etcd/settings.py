"""The settings of an etcd client: endpoints, time limits, certificates, login."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.wire.tls import Tls, TlsFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdLogin:
    """Our user and password, for an etcd with authentication."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdSettings:
    """Settings of one client. Raises InvalidArgument for unusable values.

    endpoints: "host:port", at least one. dial_timeout_s: for one endpoint to accept a connection. call_timeout_s: for a
    call that the client makes by itself, for example when a watch lists again. silence_s: after this time without a
    message, a watched endpoint is asked for a sign of life; after twice this time, its stream is closed. tls: None for
    plain text. login: None for an etcd without authentication.
    """

    endpoints: tuple[str, ...]
    dial_timeout_s: float = 1.0
    call_timeout_s: float = 5.0
    silence_s: float = 1.5
    tls: Tls | None = None
    login: EtcdLogin | None = None

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidArgument("at least one etcd endpoint is needed", ErrorDetails(field="endpoints"))
        for endpoint in self.endpoints:
            host, _, port = endpoint.rpartition(":")
            if not host or "/" in endpoint or not port.isascii() or not port.isdigit() or (":" in host and host[0] + host[-1] != "[]"):
                message = f"etcd endpoint {endpoint!r} must have the form host:port, with an IPv6 address in brackets"
                raise InvalidArgument(message, ErrorDetails(field="endpoints"))
        for name in ("dial_timeout_s", "call_timeout_s", "silence_s"):
            if not getattr(self, name) > 0:
                raise InvalidArgument(f"{name} is {getattr(self, name)!r}, it must be above 0", ErrorDetails(field=name))


class EtcdAccess(Protocol):
    """The settings of a process for access to its etcd. A text that is not given is ""."""

    @property
    def etcd(self) -> tuple[str, ...]:
        """Endpoints, host:port."""
        ...

    @property
    def etcd_ca(self) -> str:
        """File of the authority that signed etcd's certificate."""
        ...

    @property
    def etcd_cert(self) -> str:
        """File of our certificate."""
        ...

    @property
    def etcd_key(self) -> str:
        """File of its key."""
        ...

    @property
    def etcd_user(self) -> str:
        """User name."""
        ...

    @property
    def etcd_password_file(self) -> str:
        """File of the password."""
        ...


def etcd_settings(access: EtcdAccess, endpoints: tuple[str, ...] | None = None) -> EtcdSettings:
    """Return the settings of a client, with the contents of the named files. Certificates are read again when they
    change, the password is not. endpoints: instead of `access.etcd`.

    Raises InvalidArgument, with the name of the file, for a file that cannot be read or has unusable contents.
    """
    return EtcdSettings(endpoints=endpoints or access.etcd, tls=_tls(access), login=_login(access))


def _tls(access: EtcdAccess) -> Tls | None:
    files = TlsFiles(ca=access.etcd_ca, cert=access.etcd_cert, key=access.etcd_key, setting="etcd")
    return Tls(files) if files.given else None


def _login(access: EtcdAccess) -> EtcdLogin | None:
    if not access.etcd_user:
        return None
    try:
        password = _content("etcd_password_file", access.etcd_password_file).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        message = f"etcd_password_file {access.etcd_password_file} is not UTF-8 text"
        raise InvalidArgument(message, ErrorDetails(field="etcd_password_file")) from None
    if not password:
        raise InvalidArgument(f"etcd_password_file {access.etcd_password_file} is empty", ErrorDetails(field="etcd_password_file"))
    return EtcdLogin(user=access.etcd_user, password=password)


def _content(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{name} {path} cannot be read: {error.strerror}", ErrorDetails(field=name)) from None
