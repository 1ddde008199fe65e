"""Why two sides did not agree about TLS, in our words. Pure.

The texts come from OpenSSL (Python's ssl module) and from BoringSSL (gRPC). Both name the same reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

PLAIN_PORT = "it does not speak TLS; leave out tls_ca, or give the port that speaks it"
TLS_PORT = "it speaks TLS; give tls_ca, the file of the CA that signed its certificate"
NO_CERTIFICATE = "it asks for a certificate; give tls_cert and tls_key"
NOT_ACCEPTED = "it does not accept the certificate in tls_cert: it has expired, or another CA signed it"
OWN_EXPIRED = "it does not accept the certificate in tls_cert, which has expired"
OTHER_NAME = (
    "its certificate is for other names than this address; connect by one of its names, "
    "or make a certificate with this one (`shoal cert init --host`)"
)
OTHER_CA = "its certificate was not signed by the CA in tls_ca"
EXPIRED = "its certificate has expired; replace the files of the server (`shoal cert init --renew`)"
NOT_YET = "its certificate is not valid yet; are the clocks of both machines right?"
FAILED = "the handshake of TLS failed"

OF_TLS = frozenset({PLAIN_PORT, TLS_PORT, NO_CERTIFICATE, NOT_ACCEPTED, OWN_EXPIRED, OTHER_NAME, OTHER_CA, EXPIRED, NOT_YET, FAILED})
"""All of these texts."""


def _any(*signs: str) -> re.Pattern[str]:
    return re.compile("|".join(signs), re.IGNORECASE)


_WHY: Sequence[tuple[re.Pattern[str], str]] = (
    (_any("alert.certificate.expired"), OWN_EXPIRED),
    (_any("alert.certificate.required", "did.not.return.a.certificate"), NO_CERTIFICATE),
    (
        _any("alert.(unknown.ca|bad.certificate|certificate|unsupported.certificate|access.denied|decrypt.error)"),
        NOT_ACCEPTED,
    ),
    (_any("hostname", "ip address mismatch", "not in peer certificate", "not valid for"), OTHER_NAME),
    (_any("has expired"), EXPIRED),
    (_any("not yet valid"), NOT_YET),
    (_any("certificate.verify.failed"), OTHER_CA),
    (_any("wrong.version.number", "http.request", "record layer failure", "packet.length.too.long", "unknown.protocol"), PLAIN_PORT),
)

IS_TLS = _any(r"\bssl\b", r"\btls\b", "ssl_", "certificate", "verification check", "handshake", "wrong_version")
"""Found in a text of either library that is about TLS."""


def tls_words(text: str) -> str:
    """Return our text for what a library of TLS says of a connection that could not be made."""
    return next((words for sign, words in _WHY if sign.search(text)), FAILED)
