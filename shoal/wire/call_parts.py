"""Converts the parts that several calls share: ids of shards and requests, conditions of reads, optional filters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter
from shoal.core.filter_check import check_filter, constant_truth
from shoal.core.ids import CollectionId, RequestId, Seq, ShardId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import INT64_MAX
from shoal.core.requests import ReadAs, ShardToken
from shoal.core.shard_calls import Consistency, ReadTerms
from shoal.core.turns import FREE, Turn
from shoal.v1 import common_pb2, worker_pb2
from shoal.wire.filters import filter_from_message

_CONSISTENCY = {
    Consistency.ANY: common_pb2.CONSISTENCY_ANY,
    Consistency.SESSION: common_pb2.CONSISTENCY_SESSION,
    Consistency.PRIMARY: common_pb2.CONSISTENCY_PRIMARY,
}
_FROM_CONSISTENCY: dict[int, Consistency] = {int(message): value for value, message in _CONSISTENCY.items()}
_FROM_CONSISTENCY[int(common_pb2.CONSISTENCY_UNSPECIFIED)] = Consistency.SESSION


def consistency_to_message(value: Consistency) -> common_pb2.Consistency:
    """Return the enum value of a consistency."""
    return _CONSISTENCY[value]


def consistency_from_message(value: int) -> Consistency:
    """Return the consistency of an enum value; unspecified is session. Raises InvalidArgument for an unknown one."""
    found = _FROM_CONSISTENCY.get(value)
    if found is None:
        raise InvalidArgument(f"consistency is {value}, known are 0 to 3", ErrorDetails(field="consistency"))
    return found


def shard_to_message(shard: ShardId) -> worker_pb2.ShardRef:
    """Return a shard id as a message."""
    return worker_pb2.ShardRef(collection_id=shard.collection, number=shard.number)


def shard_from_message(message: worker_pb2.ShardRef) -> ShardId:
    """Return the shard id of a message."""
    return ShardId(CollectionId(message.collection_id), message.number)


def request_id_to_message(request_id: RequestId | None) -> common_pb2.RequestId | None:
    """Return a request id as a message, None for none."""
    return None if request_id is None else common_pb2.RequestId(client=request_id.client, number=request_id.number)


def request_id_from_message(message: common_pb2.RequestId) -> RequestId:
    """Return the request id of a message.

    Raises InvalidArgument for a client name that is empty or too long, and for a number above INT64_MAX.
    """
    if not 1 <= len(message.client) <= 64:
        raise InvalidArgument(f"request_id.client has {len(message.client)} characters, 1-64 are allowed", ErrorDetails(field="request_id"))
    if message.number > INT64_MAX:
        raise InvalidArgument(f"request_id.number is {message.number}, at most {INT64_MAX} is allowed", ErrorDetails(field="request_id"))
    return RequestId(message.client, message.number)


def optional_request_id(message: Any) -> RequestId | None:
    """Return the request id of a public write, None if it has none. Raises as request_id_from_message."""
    return request_id_from_message(message.request_id) if message.HasField("request_id") else None


def tokens_to_messages(tokens: Iterable[ShardToken]) -> list[common_pb2.ShardSeq]:
    """Return positions in logs as messages."""
    return [common_pb2.ShardSeq(collection_id=token.collection_id, shard=token.shard, seq=token.seq) for token in tokens]


def tokens_from_messages(messages: Iterable[common_pb2.ShardSeq]) -> tuple[ShardToken, ...]:
    """Return the positions in logs of messages."""
    return tuple([ShardToken(each.collection_id, each.shard, each.seq) for each in messages])


def read_from_message(message: Any, caller: str = "") -> ReadAs:
    """Return the conditions of a public read. caller: see ReadAs. Raises InvalidArgument for an unknown consistency."""
    consistency = consistency_from_message(message.consistency)
    return ReadAs(consistency=consistency, tokens=tokens_from_messages(message.min_seqs), caller=caller)


def terms_to_message(terms: ReadTerms) -> worker_pb2.ReadTerms:
    """Return the conditions on the read of one shard as a message."""
    return worker_pb2.ReadTerms(consistency=consistency_to_message(terms.consistency), min_seq=terms.min_seq, caller=terms.caller)


def terms_from_message(message: worker_pb2.ReadTerms) -> ReadTerms:
    """Return the conditions on the read of one shard. Raises InvalidArgument for an unknown consistency."""
    return ReadTerms(consistency=consistency_from_message(message.consistency), min_seq=Seq(message.min_seq), caller=message.caller)


def optional_filter(message: Any, turn: Turn = FREE) -> Filter | None:
    """Return the filter of a message, None if it has none. Raises InvalidArgument naming the place."""
    return filter_from_message(message.filter, turn) if message.HasField("filter") else None


def telling_filter(message: Any, turn: Turn = FREE) -> Filter | None:
    """Return the filter of a public read, None if it has none or if the filter matches every point.

    Raises InvalidArgument naming the place. A filter that matches every point is still checked against the bounds.
    """
    filter = optional_filter(message, turn)
    if filter is None or constant_truth(filter) is not True:
        return filter
    check_filter(filter, DEFAULT_LIMITS)
    return None
