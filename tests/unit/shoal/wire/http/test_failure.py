from __future__ import annotations

import errno
import os
import socket

import pytest

from shoal.core.errors import DeadlineExceeded, NotConnected, NotReached
from shoal.wire.http.failure import NoAnswerCause, late, lost, not_reached


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "refused, nothing listens there"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "refused, nothing listens there"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed, ..."),
            "refused, nothing listens there",
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "its host name is not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "its host name is not known"),
        (OSError("name or service not known"), "its host name is not known"),
        (OSError("the host has no address"), "its host name is not known"),
        (OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH)), "the network has no route to it"),
        (OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)), "the network has no route to it"),
        (TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)), "nothing answered in time"),
        (TimeoutError("timed out"), "nothing answered in time"),
        (ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), "it was closed at once"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "it cannot be reached"),
    ],
)
def test_why_there_is_no_connection_is_told_as_over_grpc(reason: OSError, words: str) -> None:
    failure = not_reached("a:1", reason)
    nobody = ("refused, nothing listens there", "its host name is not known", "the network has no route to it")
    kind = NotReached if words in nobody else NotConnected
    assert (failure.cause, type(failure.error)) == (NoAnswerCause.NOT_REACHED, kind)
    assert failure.error.message == f"a:1: no connection: {words}"


def test_other_failures() -> None:
    failures = (lost("a", answered=False), lost("a", answered=True), late("a"))
    assert [(each.cause, type(each.error), each.error.message) for each in failures] == [
        (NoAnswerCause.CLOSED, NotConnected, "a: the connection was lost"),
        (NoAnswerCause.CUT, NotConnected, "a: the connection was lost"),
        (NoAnswerCause.LATE, DeadlineExceeded, "a: no answer came in time"),
    ]
