"""Reads what a process of the cluster answered over HTTP to another one."""

from __future__ import annotations

import logging

from shoal.core.errors import ErrorDetails, Unavailable
from shoal.wire.connect import PROTO, error_from_answer, has_details, status_in
from shoal.wire.grpc_words import too_large
from shoal.wire.http.answer import OK, AnswerFault, AnswerReader
from shoal.wire.http.failure import NoAnswer, NoAnswerCause
from shoal.wire.remote_call import with_peer

log = logging.getLogger("shoal.wire")

_OTHER_SERVER = 421
_OF_THE_SERVER = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"})
"""Status names that our HTTP server may set for a call by itself, without details."""

_PROTO = PROTO.encode()


def message_of_peer(answer: AnswerReader, peer: str, most_bytes: int) -> bytes:
    """Return the message in an answer, which is complete or has a fault.

    peer: the process that was called, for messages; most_bytes: largest body that is read. Raises the ShoalError that
    the peer answered, as `call_remote` does, and NoAnswer (STRANGER) if it has not seen the call: another server
    answers there, or the peer does not serve this call over HTTP.
    """
    if answer.fault is AnswerFault.BODY:
        raise too_large(answer.size, most_bytes)
    if answer.fault is not None:
        raise _stranger(peer, answer.fault.value)
    if answer.status == OK and answer.content_type == _PROTO:
        return answer.body
    body = answer.body
    if has_details(body) or (answer.status != _OTHER_SERVER and status_in(body) in _OF_THE_SERVER):
        raise with_peer(error_from_answer(answer.status, body), peer)
    raise _stranger(peer, f"HTTP status {answer.status}")


def _stranger(peer: str, said: str) -> NoAnswer:
    log.debug("stranger_said peer=%r text=%r", peer, said)
    return NoAnswer(NoAnswerCause.STRANGER, Unavailable(f"{peer}: another server answers over HTTP ({said})", ErrorDetails()))
