"""Finds out whether a call failed because of TLS, where the libraries say only that a connection was closed.

A server that refuses a certificate, or that gets plain bytes on a port with TLS, closes the connection and gives no
reason. So after a failure one more connection is made, with a handshake and no request.
"""

from __future__ import annotations

import socket
import ssl
import time

from shoal.client.transports.wrong_address import ADDRESS
from shoal.core.addresses import split
from shoal.core.errors import NotConnected, ShoalError, TlsMismatch, Unavailable
from shoal.wire.grpc_words import CLOSED, LOST
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.tls import Tls
from shoal.wire.tls_words import NO_CERTIFICATE, NOT_ACCEPTED, OWN_EXPIRED, TLS_PORT, tls_words

LONGEST_S = 1.0
_SILENCE_S = 0.5
"""A server that says nothing for so long after a handshake has taken the certificate, or needed none."""

_PROTOCOLS = ["h2", "http/1.1"]


def is_unclear(error: ShoalError) -> bool:
    """Return whether TLS may be the reason of an error, and the error does not say so.

    Silence is no sign of it: a probe of a machine that is gone would only take time.
    """
    ended = type(error) is NotConnected and error.message.endswith((CLOSED, LOST))
    return ended or (type(error) is Unavailable and error.details.field == ADDRESS)


def explained(error: ShoalError, address: str, named: str, tls: Tls | None, timeout_s: float) -> ShoalError:
    """Return TlsMismatch if TLS is the reason of an error, else the error. Takes about a second at most.

    address: "host:port" of the server; named: as the caller knows it, with the host that its certificate must name.
    """
    if not is_unclear(error):
        return error
    limit_s = min(LONGEST_S, max(0.05, timeout_s))
    try:
        with socket.create_connection(split(address), limit_s) as made:
            words = _of_plain_call(made) if tls is None else _of_encrypted_call(made, tls, host_of(named))
    except OSError:
        return error
    return TlsMismatch(f"{named}: no connection: {words}") if words else error


def without_answer(failure: NoAnswer, found: ShoalError) -> NoAnswer:
    """Return the failure of a call over HTTP with the error that `explained` has found."""
    return NoAnswer(NoAnswerCause.NOT_REACHED, found) if isinstance(found, TlsMismatch) else failure


def host_of(named: str) -> str:
    """Return the host of a text host:port, which may begin with a scheme."""
    return split(named.rpartition("//")[2])[0]


def _of_plain_call(made: socket.socket) -> str:
    """Return why a call without TLS failed, "" if TLS is not the reason. Raises OSError if the server hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(_PROTOCOLS)
    try:
        context.wrap_socket(made).close()
    except ssl.SSLError as error:
        return TLS_PORT if "ALERT" in str(error) else ""
    return TLS_PORT


def _of_encrypted_call(made: socket.socket, tls: Tls, name: str) -> str:
    """Return why a call with TLS failed, "" if TLS is not the reason. Raises OSError if the server hangs up early."""
    material = tls.current()
    context = material.client_context()
    context.set_alpn_protocols(_PROTOCOLS)
    try:
        encrypted = context.wrap_socket(made, server_hostname=name)
    except ssl.SSLError as error:
        return tls_words(str(error))
    with encrypted:
        encrypted.settimeout(_SILENCE_S)
        try:
            if encrypted.recv(1):
                return ""
        except TimeoutError:
            return ""
        except OSError:
            pass
    # With TLS 1.3, a server looks at our certificate only now.
    if material.not_after is None:
        return NO_CERTIFICATE
    return OWN_EXPIRED if material.not_after <= time.time() else NOT_ACCEPTED
