"""Makes and reads certificates: one CA, and what it signs for routers, for what lies behind them, and for clients.

The only file that knows the package cryptography. It touches no file: PEM bytes go in and come out. Keys are ECDSA
P-256.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shoal.core.addresses import is_ipv6
from shoal.core.errors import ErrorDetails, InvalidArgument, PreconditionFailed
from shoal.core.shown import shown

CA_DAYS = 3_650
LEAF_DAYS = 365
INTERNAL = "shoal-internal"
"""Name of the roles of a cluster for each other. A certificate without it does not open an internal port."""

_LOCAL = ("localhost", "127.0.0.1", "::1")
_EARLIER = timedelta(hours=1)
"""Certificates are valid from so long ago, for machines whose clock is slow."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


class Leaf(StrEnum):
    """The certificates that the CA signs. The value is the name of their files, before .pem and .key."""

    ROUTER = "router"
    INTERNAL = "internal"
    CLIENT = "client"


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """A certificate and its private key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateFacts:
    """What a certificate says. names: of hosts and addresses; that of its subject if it has none. serial: in
    hexadecimal.
    """

    names: tuple[str, ...]
    serial: str
    not_after: datetime
    is_ca: bool

    def days_left(self, now: datetime) -> int:
        """Return the days until it expires, the last one counted as a whole; 0 or less if it has expired."""
        return math.ceil((self.not_after - now) / timedelta(days=1))


def checked_host(text: str) -> str:
    """Return a name or an address of a host as it stands in a certificate: in lower case, without brackets.

    Raises InvalidArgument for anything else, also for an address with a port or a scheme.
    """
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if is_ipv6(host):
        return str(ipaddress.IPv6Address(host))
    labels = host.split(".")
    if all(label.isdigit() for label in labels[-1:]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _bad_host(text) from None
    plain = labels[1:] if labels[0] == "*" and len(labels) > 2 else labels
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in plain):
        raise _bad_host(text)
    if host.lower() == INTERNAL:
        raise InvalidArgument(f"host is {text!r}, a name that only the roles of the cluster have", ErrorDetails(field="host"))
    return host.lower()


def _bad_host(text: str) -> InvalidArgument:
    said = f"host is {shown(text)}, it must be a DNS name such as search.example.com, or an IP address, without a port and a scheme"
    return InvalidArgument(said, ErrorDetails(field="host"))


def new_ca(now: datetime) -> KeyPair:
    """Return a new CA, valid for CA_DAYS. It can sign leaves, and no further CA."""
    key, serial = ec.generate_private_key(ec.SECP256R1()), x509.random_serial_number()
    # Each CA has a name of its own, so that two of them in one file are told apart.
    subject = _subject(f"shoal CA {serial:x}"[:24])
    usage = _key_usage(signs_certificates=True)
    built = (
        _begun(subject, subject, key, serial, now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return _pair(built.sign(key, hashes.SHA256()), key)


def new_leaf(kind: Leaf, hosts: Sequence[str], ca: KeyPair, now: datetime, days: int = LEAF_DAYS) -> KeyPair:
    """Return a new certificate of this kind, signed by the CA.

    hosts: names of routers, as `checked_host` returns them; the other kinds have none of them. Raises InvalidArgument
    if the certificate would be valid for longer than the CA, and what `opened_ca` raises.
    """
    signer, signer_key = opened_ca(ca, now)
    # Certificates know whole seconds.
    not_after = (now + timedelta(days=days)).replace(microsecond=0)
    if not_after > signer.not_valid_after_utc:
        left = math.floor((signer.not_valid_after_utc - now) / timedelta(days=1))
        raise InvalidArgument(f"days is {days}, and the CA itself expires in {left} days: give at most that", ErrorDetails(field="days"))
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if kind is not Leaf.CLIENT:
        usages.insert(0, ExtendedKeyUsageOID.SERVER_AUTH)
    built = (
        _begun(_subject(f"shoal-{kind}"), signer.subject, key, x509.random_serial_number(), now, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names_of(kind, hosts)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
    )
    return _pair(built.sign(signer_key, hashes.SHA256()), key)


def names_of(kind: Leaf, hosts: Sequence[str]) -> tuple[str, ...]:
    """Return the names in a certificate of this kind, each once."""
    match kind:
        case Leaf.ROUTER:
            return tuple(dict.fromkeys((*hosts, *_LOCAL, INTERNAL)))
        case Leaf.INTERNAL:
            return (INTERNAL,)
        case Leaf.CLIENT:
            return (f"shoal-{kind}",)


def hosts_of(router: CertificateFacts) -> tuple[str, ...]:
    """Return the hosts for which the certificate of routers was made."""
    return tuple(each for each in router.names if each not in (*_LOCAL, INTERNAL))


def opened_ca(ca: KeyPair, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return certificate and key of a CA that can sign now.

    Raises PreconditionFailed if it cannot: it has expired, it is no CA, or the key is that of another one.
    """
    try:
        certificate = x509.load_pem_x509_certificate(ca.certificate)
        key = serialization.load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PreconditionFailed(f"the CA cannot be read: {error}", ErrorDetails(field="ca")) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PreconditionFailed("the key of the CA is no ECDSA key, so it was not made by `shoal cert init`", ErrorDetails(field="ca"))
    if key.public_key() != certificate.public_key():
        raise PreconditionFailed("ca.key is not the key of ca.pem, so it can sign nothing for this CA", ErrorDetails(field="ca"))
    facts = _facts(certificate)
    if not facts.is_ca:
        raise PreconditionFailed("ca.pem is the certificate of no CA", ErrorDetails(field="ca"))
    if facts.not_after <= now:
        expired = f"the CA expired on {facts.not_after:%Y-%m-%d}, so nothing that it signs is trusted: make a new one in another folder"
        raise PreconditionFailed(expired, ErrorDetails(field="ca"))
    return certificate, key


def is_signed_by(certificate: bytes, ca: bytes) -> bool:
    """Return whether a CA has signed a certificate. Both as PEM."""
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(x509.load_pem_x509_certificate(ca))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def facts_in(pem: bytes, place: str) -> list[CertificateFacts]:
    """Return what each certificate in a PEM file says. place: the file, for errors.

    Raises InvalidArgument if it holds none, or one that cannot be read.
    """
    try:
        return [_facts(each) for each in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        raise InvalidArgument(f"{place} holds no certificate in the form PEM", ErrorDetails(field="path")) from None


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    try:
        names = tuple(
            str(each.value)
            for each in certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            if isinstance(each, x509.DNSName | x509.IPAddress)
        )
    except x509.ExtensionNotFound:
        names = ()
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    common = tuple(str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    return CertificateFacts(
        names=names or common, serial=f"{certificate.serial_number:x}", not_after=certificate.not_valid_after_utc, is_ca=is_ca
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, serial: int, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _EARLIER)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
