"""TLS of every server and client: certificates in files, read again when the files change (ADR 42).

A role serves and calls with one certificate. Files that cannot be used leave those before them in force, so that they
may be replaced one after the other while calls run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import grpc

from shoal.core.deadline import Clock
from shoal.core.errors import ErrorDetails, InvalidArgument

log = logging.getLogger("shoal.wire")

INTERNAL_NAME = "shoal-internal"
"""DNS name in the certificates of roles. Roles are dialled by address, so clients in the cluster expect this name."""

LOOK_EVERY_S = 1.0
"""Files are looked at once in this time at most."""

_SETTLED_NS = 2_000_000_000
"""A file whose last change is younger is read again at the next look: the clock of a file system is coarse, and a
change just after the read may leave time and size as they are."""

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_Told = TypeVar("_Told")

_Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsFiles:
    """Paths of PEM files. "" for one that is not given.

    ca: authorities that are trusted. cert, key: our own certificate, with those between it and the authority behind it,
    and its key. setting: the settings that name the files are <setting>_ca, <setting>_cert and <setting>_key. Raises
    InvalidArgument for a combination that makes no sense: cert and key need each other, and ca.
    """

    ca: str = ""
    cert: str = ""
    key: str = ""
    setting: str = "tls"

    def __post_init__(self) -> None:
        for name, other in (("cert", "key"), ("key", "cert"), ("cert", "ca")):
            if getattr(self, name) and not getattr(self, other):
                field_name = self.name_of(other)
                message = f"{self.name_of(name)} is {getattr(self, name)!r}, it needs {field_name} too"
                raise InvalidArgument(message, ErrorDetails(field=field_name))

    @property
    def given(self) -> bool:
        """Return whether TLS is wanted."""
        return bool(self.ca)

    def name_of(self, which: str) -> str:
        """Return the name of a setting. which: ca, cert or key."""
        return f"{self.setting}_{which}"


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsMaterial:
    """The contents of the files at one moment; they fit each other.

    ca, cert, key: PEM; cert and key are b"" for a client without a certificate. not_after: when cert ends, in seconds
    since 1970; None without cert. version: 1, and one more after each change.
    """

    ca: bytes
    cert: bytes
    key: bytes = field(repr=False)
    not_after: int | None
    version: int

    def has_name(self, name: str) -> bool:
        """Return whether cert has this DNS name."""
        # A DNS name in a certificate is 0x82, its length, and its text (RFC 5280, section 4.2.1.6).
        found = _CERTIFICATE.search(self.cert)
        text = name.encode("ascii")
        return found is not None and bytes((0x82, len(text))) + text in ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials of a gRPC channel."""
        return grpc.ssl_channel_credentials(self.ca, self.key or None, self.cert or None)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return what a gRPC server serves, for dynamic credentials."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.cert)], self.ca)

    def client_context(self) -> ssl.SSLContext:
        """Return the context of a client. It checks the name that the caller gives when it connects."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._fill(context)
        return context

    def server_context(self, *, client_required: bool) -> ssl.SSLContext:
        """Return the context of an HTTP/1.1 server. client_required: a client must have a certificate of `ca`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        self._fill(context)
        context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_NONE
        return context

    def _fill(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self.ca.decode("ascii", "replace"))
        if self.cert:
            with _as_file(self.cert) as cert, _as_file(self.key) as key:
                context.load_cert_chain(cert, key, password=_no_password)


class Tls:
    """Certificates that follow their files. Thread-safe."""

    def __init__(self, files: TlsFiles, *, clock: Clock = time.monotonic) -> None:
        """clock: monotonic, in seconds. Raises InvalidArgument for files that cannot be used, with the reason."""
        if not files.given:
            name = files.name_of("ca")
            raise InvalidArgument(f"{name} is empty, TLS needs the file of an authority", ErrorDetails(field=name))
        self.files = files
        self._clock, self._looking, self._process = clock, threading.Lock(), os.getpid()
        self._seen: _Signature | None = _signature(files)
        self._material = _read(files, version=1)
        self._forget_unsettled()
        self._refused = ""
        self._look_at = clock() + LOOK_EVERY_S

    def current(self) -> TlsMaterial:
        """Return the newest usable contents of the files, which are looked at once in LOOK_EVERY_S. Never raises."""
        if self._clock() >= self._look_at:
            if self._process != os.getpid():
                # Forked, perhaps while a thread of the parent looked: that thread will not release the lock here.
                self._looking, self._process = threading.Lock(), os.getpid()
            if self._looking.acquire(blocking=False):
                try:
                    self._look()
                finally:
                    self._looking.release()
        return self._material

    def server_credentials(self, *, client_required: bool) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC server. Each handshake uses the newest certificate.

        client_required: a client must have a certificate of `ca`.
        """
        first = self.current()
        return grpc.dynamic_ssl_server_credentials(first.server_configuration(), self._fetcher(first.version), client_required)

    def _fetcher(self, version: int) -> Any:
        """Return the function that gRPC calls at each handshake.

        It returns None for "as before", which the types of gRPC do not know.
        """
        served = version

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal served
            newest = self.current()
            if newest.version == served:
                return None
            served = newest.version
            return newest.server_configuration()

        return fetch

    def _look(self) -> None:
        self._look_at = self._clock() + LOOK_EVERY_S
        try:
            signature = _signature(self.files)
            if signature == self._seen:
                return
            read = _read(self.files, version=self._material.version + 1)
        except InvalidArgument as error:
            self._seen = None  # The next look reads again, whatever time and size the files have then.
            if error.message != self._refused:
                log.warning("tls_files_refused reason=%r; the certificate before them stays in force", error.message)
            self._refused = error.message
            return
        self._seen, self._refused = signature, ""
        self._forget_unsettled()
        if (read.ca, read.cert, read.key) != (self._material.ca, self._material.cert, self._material.key):
            self._material = read
            log.info("tls_files_read version=%d not_after=%s", read.version, _shown(read.not_after))

    def _forget_unsettled(self) -> None:
        """Read again at the next look what has changed just before it was read."""
        if self._seen is not None and max(each[0] for each in self._seen) > time.time_ns() - _SETTLED_NS:
            self._seen = None


def not_after_of(pem: bytes) -> int:
    """Return when the first certificate of a PEM text ends, in seconds since 1970. Raises ValueError without one.

    The ssl module tells this only of the other side of a handshake. The structure is that of RFC 5280, section 4.1.
    """
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("no certificate")
    der = ssl.PEM_cert_to_DER_cert(found[0].decode("ascii"))
    _, at, _ = _element(der, 0)  # Certificate
    _, at, _ = _element(der, at)  # tbsCertificate
    if der[at] == 0xA0:
        at = _element(der, at)[2]  # version
    for _ in range(3):
        at = _element(der, at)[2]  # serialNumber, signature, issuer
    _, at, _ = _element(der, at)  # validity
    tag, start, end = _element(der, _element(der, at)[2])  # notAfter, behind notBefore
    text = der[start:end].decode("ascii")
    if tag == 0x17:  # UTCTime: years of two digits, 1950 to 2049.
        text = ("19" if text >= "50" else "20") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp())


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element at an offset, and where its content begins and ends."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    return tag, start, start + length


def _signature(files: TlsFiles) -> _Signature:
    """Return what changes when a file is replaced or written: time of change, inode, size."""
    stats = [_told(files, which, os.stat) for which in ("ca", "cert", "key") if getattr(files, which)]
    return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in stats)


def _read(files: TlsFiles, *, version: int) -> TlsMaterial:
    """Read the files and prove that they can be used together. Raises InvalidArgument."""
    ca, cert, key = (
        _told(files, which, lambda path: Path(path).read_bytes()) if getattr(files, which) else b"" for which in ("ca", "cert", "key")
    )
    _check(files, "ca", _CERTIFICATE.search(ca) is not None, "holds no certificate in PEM")
    _usable(files, "ca", lambda: TlsMaterial(ca=ca, cert=b"", key=b"", not_after=None, version=version).client_context())
    if not cert:
        return TlsMaterial(ca=ca, cert=b"", key=b"", not_after=None, version=version)
    _check(files, "cert", _CERTIFICATE.search(cert) is not None, "holds no certificate in PEM")
    _check(files, "key", b"PRIVATE KEY-----" in key, "holds no key in PEM")
    made: list[TlsMaterial] = []

    def use() -> None:
        material = TlsMaterial(ca=ca, cert=cert, key=key, not_after=not_after_of(cert), version=version)
        material.client_context()
        made.append(material)

    _usable(files, "cert", use)
    return made[0]


def _told(files: TlsFiles, which: str, ask: Callable[[str], _Told]) -> _Told:
    path = getattr(files, which)
    try:
        return ask(path)
    except OSError as error:
        name = files.name_of(which)
        raise InvalidArgument(f"{name} {path} cannot be read: {error.strerror}", ErrorDetails(field=name)) from None


def _check(files: TlsFiles, which: str, usable: bool, reason: str) -> None:
    if not usable:
        name = files.name_of(which)
        raise InvalidArgument(f"{name} {getattr(files, which)} {reason}", ErrorDetails(field=name))


def _usable(files: TlsFiles, which: str, use: Callable[[], object]) -> None:
    try:
        use()
    except (ssl.SSLError, ValueError, IndexError) as error:
        reason = getattr(error, "reason", None) or str(error)
        of_key = f" with {files.name_of('key')} {files.key}" if which == "cert" else ""
        _check(files, which, False, f"cannot be used{of_key}: {str(reason).lower().replace('_', ' ')}")


def _no_password() -> str:
    raise ValueError("the key is encrypted; a role cannot ask for its password")


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give bytes a path: the ssl module reads keys only from files. Where the system can, they reach no disk."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("shoal-tls"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _shown(seconds: int | None) -> str:
    return "none" if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
