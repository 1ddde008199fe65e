"""Converts errors between our tree and gRPC: a status code, a message, and details.

The details are in the trailing metadata `shoal-error-bin`.
"""

from __future__ import annotations

import bisect
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast, get_args

import grpc
from google.protobuf.message import DecodeError

from shoal.core.errors import BY_STATUS, Applied, ErrorDetails, Internal, ShoalError
from shoal.v1 import common_pb2
from shoal.wire.grpc_words import foreign_error

log = logging.getLogger("shoal.wire")

DETAILS_KEY = "shoal-error-bin"

_MESSAGE_BYTES = 3 * 1024
"""Most bytes of a message as it is sent.

Together with the details in base64, it stays below the 8 KiB that gRPC accepts as metadata.
"""

_DETAIL_BYTES = 256
_APPLIED_BYTES = 2_048
_APPLIED_ENTRIES = 64
_ENTRY_FRAME_BYTES = 8
_MORE = "..."
_APPLIED = get_args(Applied)
_MOST_MS = 600_000


def code_of(error: ShoalError) -> grpc.StatusCode:
    """Return the gRPC status code of an error."""
    return grpc.StatusCode[error.status]


def message_of(error: ShoalError) -> str:
    """Return the message of an error. A message too long for the metadata is cut and ends with "..."."""
    return _cut(error.message, _MESSAGE_BYTES, _percent_encoded_bytes)


def details_to_metadata(error: ShoalError) -> tuple[tuple[str, bytes], ...]:
    """Return the trailing metadata with the details of an error: see details_to_bytes."""
    return ((DETAILS_KEY, details_to_bytes(error.details)),)


def details_to_bytes(details: ErrorDetails) -> bytes:
    """Return details as the bytes of an ErrorInfo message: at most 3 KiB.

    Long texts are cut. Of many shards, only the first are kept.
    """
    return details_to_message(details).SerializeToString()


def details_to_message(details: ErrorDetails) -> common_pb2.ErrorInfo:
    """Return the details of an error as a message, cut as described in details_to_bytes."""
    return common_pb2.ErrorInfo(
        field=_cut(details.field or "", _DETAIL_BYTES, _utf8_bytes),
        limit=_cut(details.limit or "", _DETAIL_BYTES, _utf8_bytes),
        shard=_cut(details.shard or "", _DETAIL_BYTES, _utf8_bytes),
        index=details.index,
        applied=_fitting(details.applied),
        retry_after_ms=None if details.retry_after_s is None else min(_MOST_MS, max(0, round(1000 * details.retry_after_s))),
    )


def details_from_bytes(data: bytes) -> ErrorDetails:
    """Return the details of an ErrorInfo message. Raises DecodeError for other bytes."""
    return details_from_message(common_pb2.ErrorInfo.FromString(data))


def details_from_message(info: common_pb2.ErrorInfo) -> ErrorDetails:
    """Return the details of an error."""
    return ErrorDetails(
        field=info.field or None,
        limit=info.limit or None,
        shard=info.shard or None,
        index=info.index if info.HasField("index") else None,
        # A word of another version is taken for doubt.
        applied={shard: cast(Applied, word) if word in _APPLIED else "maybe" for shard, word in info.applied.items()},
        retry_after_s=info.retry_after_ms / 1000 if info.HasField("retry_after_ms") else None,
    )


def error_of(status: str, message: str, details: ErrorDetails) -> ShoalError:
    """Return the error of our tree with the name of this gRPC status. Internal for an unknown one."""
    return BY_STATUS.get(status, Internal)(message, details)


def error_from_rpc(code: grpc.StatusCode, message: str | None, trailing: Iterable[tuple[str, Any]] | None) -> ShoalError:
    """Return our error for a failed call.

    An error that does not come from a server of Shoal gets a text of ours (grpc_words). Its own text is logged.
    """
    details = _details(trailing)
    kind = BY_STATUS.get(code.name)
    if details is not None and kind is not None:
        return kind(message or code.name, details)
    log.debug("grpc_said code=%s text=%r", code.name, message)
    return foreign_error(code.name, message or "")


def error_from_exception(error: grpc.RpcError, peer: str = "") -> ShoalError:
    """Return our error for an error of a client stub, sync (grpc.Call) or aio (AioRpcError).

    peer: the process that was called. It is named if the error has no details of a server of Shoal.
    """
    call = cast(Any, error)
    trailing = tuple(call.trailing_metadata() or ())
    found = error_from_rpc(call.code(), call.details(), trailing)
    if not peer or _details(trailing) is not None:
        return found
    return type(found)(f"{peer}: {found.message}", found.details)


def _fitting(applied: Mapping[str, Applied]) -> dict[str, str]:
    named = {_encodable(shard): str(done) for shard, done in itertools.islice(applied.items(), _APPLIED_ENTRIES)}
    ends = itertools.accumulate(_utf8_bytes(shard) + len(done) + _ENTRY_FRAME_BYTES for shard, done in named.items())
    return {shard: done for (shard, done), end in zip(named.items(), ends, strict=True) if end <= _APPLIED_BYTES}


def _cut(text: str, most: int, size: Callable[[str], int]) -> str:
    """Return the text, cut to at most `most` bytes. size: returns the bytes of one character, at least 1."""
    head = _encodable(text[: most + 1])
    ends = list(itertools.accumulate(map(size, head)))
    if not ends or ends[-1] <= most:
        return head
    return head[: bisect.bisect_right(ends, most - len(_MORE))] + _MORE


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which can come from names of files."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _utf8_bytes(text: str) -> int:
    return len(text.encode("utf-8"))


def _percent_encoded_bytes(sign: str) -> int:
    """Return the bytes of one character as gRPC sends it: each byte outside plain ASCII takes three."""
    return 1 if " " <= sign <= "~" and sign != "%" else 3 * _utf8_bytes(sign)


def _details(trailing: Iterable[tuple[str, Any]] | None) -> ErrorDetails | None:
    """Return the details that a server of Shoal sent; None if there are none."""
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            try:
                return details_from_bytes(value)
            except DecodeError:
                return None
    return None
