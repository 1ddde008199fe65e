"""Converts the ends of replicas' logs between values and messages. The coordinator asks for them before an election."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shoal.core.ids import ReplicaId, Seq, ShardId, Term
from shoal.core.recovery import LogEnd
from shoal.v1 import replication_pb2
from shoal.wire.call_parts import shard_from_message, shard_to_message


def log_ends_request(shards: Iterable[ShardId]) -> replication_pb2.LogEndsRequest:
    """Return the request for the ends of the logs of these shards as a message."""
    return replication_pb2.LogEndsRequest(shards=map(shard_to_message, shards))


def shards_of_request(message: replication_pb2.LogEndsRequest) -> tuple[ShardId, ...]:
    """Return the shards of a request."""
    return tuple(map(shard_from_message, message.shards))


def log_ends_to_message(ends: Mapping[ReplicaId, LogEnd]) -> replication_pb2.LogEndsResponse:
    """Return the ends of logs, by replica, as a message."""
    return replication_pb2.LogEndsResponse(
        ends=[replication_pb2.LogEnd(replica=replica, term=end.term, seq=end.seq) for replica, end in ends.items()]
    )


def log_ends_from_message(message: replication_pb2.LogEndsResponse) -> dict[ReplicaId, LogEnd]:
    """Return the ends of logs by replica."""
    return {ReplicaId(each.replica): LogEnd(term=Term(each.term), seq=Seq(each.seq)) for each in message.ends}
