"""Certificates for tests, made by the openssl command: an authority, and certificates that it signs for loopback."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Signed:
    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder. Its own certificate is `ca`."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self.ca, self._key = folder / f"{name}.crt", folder / f"{name}.key"
        _openssl("req", "-x509", *_new_key(self._key), "-out", self.ca, "-days", "2", "-subj", f"/CN={name}")

    def sign(self, name: str) -> Signed:
        """Return a certificate for 127.0.0.1 and localhost, good for servers and clients."""
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        signed = Signed(certificate=self._folder / f"{name}.crt", key=self._folder / f"{name}.key")
        extensions.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *_new_key(signed.key), "-out", request, "-subj", f"/O={name}")
        signer = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", extensions, "-out", signed.certificate)
        return signed

    def context(self, client: Signed) -> ssl.SSLContext:
        """Return a context that trusts this authority and shows the certificate of a client."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(client.certificate, client.key)
        return context


def _new_key(key: Path) -> tuple[object, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key)


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)
