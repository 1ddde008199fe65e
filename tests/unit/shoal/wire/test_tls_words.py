"""Test that both libraries of TLS are told in the same words, and as errors of one class."""

import ssl

import pytest

from shoal.core.errors import NotConnected, TlsMismatch
from shoal.wire.grpc_words import foreign_error
from shoal.wire.http.failure import NoAnswerCause, not_reached
from shoal.wire.tls_words import EXPIRED, FAILED, NO_CERTIFICATE, NOT_ACCEPTED, NOT_YET, OTHER_CA, OTHER_NAME, OWN_EXPIRED, PLAIN_PORT

BORING = "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:"
SAID_BY_GRPC = [
    (f"{BORING}CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK", OTHER_CA),
    (f"{BORING}CERTIFICATE_VERIFY_FAILED: certificate has expired: OK", EXPIRED),
    (f"{BORING}CERTIFICATE_VERIFY_FAILED: certificate is not yet valid", NOT_YET),
    ("Custom verification check failed with error: UNAUTHENTICATED: Hostname Verification Check failed.", OTHER_NAME),
    ("Peer name 127.0.0.1 is not in peer certificate", OTHER_NAME),
    (f"{BORING}WRONG_VERSION_NUMBER: Invalid certificate verification context: OK", PLAIN_PORT),
    (f"{BORING}TLSV1_ALERT_CERTIFICATE_REQUIRED", NO_CERTIFICATE),
    (f"{BORING}TLSV1_ALERT_UNKNOWN_CA", NOT_ACCEPTED),
    ("Ssl handshake failed: SSL_ERROR_SSL", FAILED),
]
SAID_BY_PYTHON = [
    ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain (_ssl.c:1006)", OTHER_CA),
    ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired (_ssl.c:1006)", EXPIRED),
    (
        "[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid for 'a'. (_ssl.c:1006)",
        OTHER_NAME,
    ),
    (
        "[SSL: CERTIFICATE_VERIFY_FAILED] IP address mismatch, certificate is not valid for '127.0.0.2'.",
        OTHER_NAME,
    ),
    ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", PLAIN_PORT),
    ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required (_ssl.c:2580)", NO_CERTIFICATE),
    ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2580)", NOT_ACCEPTED),
    ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired (_ssl.c:2580)", OWN_EXPIRED),
    ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate (_ssl.c:2580)", NOT_ACCEPTED),
    ("[SSL: UNEXPECTED_MESSAGE] unexpected message (_ssl.c:1006)", FAILED),
]


@pytest.mark.parametrize(("said", "words"), SAID_BY_GRPC)
def test_what_grpc_says_of_tls(said, words):
    error = foreign_error("UNAVAILABLE", f"failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:7600: {said}")
    assert (type(error), error.message) == (TlsMismatch, f"no connection: {words}")


@pytest.mark.parametrize(("said", "words"), SAID_BY_PYTHON)
def test_what_python_says_of_tls(said, words):
    failure = not_reached("a:1", ssl.SSLError(1, said))
    assert (failure.cause, type(failure.error)) == (NoAnswerCause.NOT_REACHED, TlsMismatch)
    assert failure.error.message == f"a:1: no connection: {words}"


@pytest.mark.parametrize("name", ["tls-router", "ssl.example.com", "certificate"])
def test_a_host_that_is_called_so_is_no_fault_of_tls(name):
    for said in (f"DNS resolution failed for {name}:7600: Domain name not found", f"ipv4:1.2.3.4:7600 ({name}): Connection refused"):
        assert isinstance(error := foreign_error("UNAVAILABLE", f"failed to connect; last error: {said}"), NotConnected)
        assert not isinstance(error, TlsMismatch)
