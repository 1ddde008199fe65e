"""Certificates for tests: an authority, and certificates that it signs."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal.wire.tls import INTERNAL_NAME, TlsFiles

LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Signed:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder. Its own certificate is `ca`."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = folder / f"{name}.crt"
        made = self._builder(self._name, self._key.public_key(), _DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.ca.write_bytes(made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))

    def sign(self, name: str, hosts: Sequence[str] = LOOPBACK_NAMES, lasts: timedelta = _DAY) -> Signed:
        """Return a certificate for these hosts, good for servers and clients.

        An earlier one of this name is replaced, in two steps: the certificate, then the key.
        """
        signed = Signed(certificate=self._folder / f"{name}.crt", key=self._folder / f"{name}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)]), key.public_key(), lasts)
        if hosts:
            made = made.add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        made = made.add_extension(usages, critical=False)
        _put(signed.certificate, made.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        _put(signed.key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return signed

    def internal(self, name: str = "internal") -> TlsFiles:
        """Return the files of a worker or a coordinator."""
        return self.files(self.sign(name, (INTERNAL_NAME,)))

    def router(self, name: str = "router") -> TlsFiles:
        """Return the files of a router on loopback."""
        return self.files(self.sign(name, (*LOOPBACK_NAMES, INTERNAL_NAME)))

    def client(self, name: str = "client") -> TlsFiles:
        """Return the files of a program that uses the SDK."""
        return self.files(self.sign(name, ()))

    def files(self, signed: Signed) -> TlsFiles:
        return TlsFiles(ca=str(self.ca), cert=str(signed.certificate), key=str(signed.key))

    def context(self, client: Signed) -> ssl.SSLContext:
        """Return a context that trusts this authority and shows the certificate of a client."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(client.certificate, client.key)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + lasts)
        )


def serial_of(certificate: Path) -> int:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _put(path: Path, content: bytes) -> None:
    """Replace a file in one step."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
