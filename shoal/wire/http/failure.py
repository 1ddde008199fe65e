"""A call over HTTP that got no answer from the server it was meant for: why, and the error of our tree for it."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from enum import Enum

from shoal.core.errors import DeadlineExceeded, NotConnected, ShoalError
from shoal.wire.grpc_words import LOST, connection_words, kind_of_connection

log = logging.getLogger("shoal.wire")

_NUMBER = re.compile(r"\[Errno (\d+)\]")


class NoAnswerCause(Enum):
    """Why a call got no answer from its server."""

    NOT_REACHED = "no connection could be opened, so nothing was sent"
    CLOSED = "the connection ended before the first byte of an answer"
    CUT = "the connection ended within an answer"
    LATE = "the deadline has passed"
    STRANGER = "the server there is not the one that is meant, or no server of Shoal, so nothing was done"


class NoAnswer(Exception):
    """A call ended without an answer from its server. error: for the caller."""

    def __init__(self, cause: NoAnswerCause, error: ShoalError) -> None:
        super().__init__(error.message)
        self.cause, self.error = cause, error


def not_reached(named: str, reason: OSError) -> NoAnswer:
    """Return the failure of a call whose connection could not be opened. named: the server, for the message."""
    said = _words(reason)
    log.debug("connect_failed address=%s text=%r", named, said)
    words = connection_words(f"failed to connect; last error: {said}")
    return NoAnswer(NoAnswerCause.NOT_REACHED, kind_of_connection(words)(f"{named}: {words}"))


def _words(reason: OSError) -> str:
    """Return what the system says, or the library of TLS. asyncio puts texts of its own around numbers of errors."""
    if isinstance(reason, ssl.SSLError):
        return f"ssl: {reason}"
    number = reason.errno or next((int(each) for each in _NUMBER.findall(str(reason))), None)
    if isinstance(reason, socket.gaierror) or number is None:
        return reason.strerror or str(reason)
    return os.strerror(number)


def lost(named: str, *, answered: bool) -> NoAnswer:
    """Return the failure of a call whose connection ended. answered: whether a part of the answer had arrived."""
    return NoAnswer(NoAnswerCause.CUT if answered else NoAnswerCause.CLOSED, NotConnected(f"{named}: {LOST}"))


def refused(named: str, reason: ssl.SSLError) -> NoAnswer:
    """Return the failure of a call whose connection ended before an answer because of TLS, so that nothing was done.

    With TLS 1.3, a server looks at the certificate of a client only when the client takes the handshake for done.
    """
    return not_reached(named, reason)


def late(named: str) -> NoAnswer:
    """Return the failure of a call whose deadline has passed."""
    return NoAnswer(NoAnswerCause.LATE, DeadlineExceeded(f"{named}: no answer came in time"))
