"""Parts of public requests as domain values. Shape is checked here, meaning by the router."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter
from shoal.core.filter_check import check_filter
from shoal.core.ids import CollectionId, RequestId, Seq, ShardId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import INT64_MAX
from shoal.core.turns import FREE, Asker, Turn
from shoal.router.logic.checks import is_empty
from shoal.router.logic.questions import Reading
from shoal.runtime.fair_pool import FairPool
from shoal.v1 import common_pb2, filter_pb2
from shoal.wire.filters import are_long_messages, filter_from_message
from shoal.wire.shard_calls import consistency_from_message, request_id_from_message

T = TypeVar("T")

_MARGIN_S = 0.05
_MARGIN_SHARE = 0.1


def timeout_of(context: Any, default_s: float) -> float:
    """Seconds a call may take: what its deadline leaves, minus a margin in which to answer; default_s when it has none.

    Past deadlines give 0: the call then fails as one that ran out of time.
    """
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return default_s
    return max(0.0, remaining - min(_MARGIN_S, _MARGIN_SHARE * remaining))


async def read_aside(
    conversions: FairPool, read: Callable[[Turn], T], filters: Sequence[filter_pb2.Filter], context: Any, default_s: float
) -> T:
    """What a request asks, read beside the event loop where its filters are long."""
    deadline, asker = conversions.deadline(timeout_of(context, default_s)), Asker(caller=caller_of(context))
    return await conversions.aside(read, asker, deadline, long=are_long_messages(filters))


def filter_of(message: Any, turn: Turn = FREE) -> Filter | None:
    """The filter of a request; None when it has none, or one that matches every point.

    Raises InvalidArgument naming the place.
    """
    if not message.HasField("filter"):
        return None
    return unless_empty(filter_from_message(message.filter, turn))


def unless_empty(filter: Filter) -> Filter | None:
    """The filter; None for one that matches every point.

    Raises InvalidArgument for one that is dropped but breaks a bound.
    """
    if not is_empty(filter):
        return filter
    check_filter(filter, DEFAULT_LIMITS)
    return None


def caller_of(context: Any) -> str:
    """The client, as one of whom reads take turns: the other end of its connection."""
    return str(context.peer())


def reading_of(
    *,
    with_payload: bool = False,
    with_vectors: bool = False,
    consistency: int,
    min_seqs: Iterable[common_pb2.ShardSeq],
    caller: str = "",
) -> Reading:
    """How the client wants to read. Raises InvalidArgument for an unknown consistency."""
    return Reading(
        with_payload=with_payload,
        with_vectors=with_vectors,
        consistency=consistency_from_message(consistency),
        min_seqs={ShardId(CollectionId(each.collection_id), each.shard): Seq(each.seq) for each in min_seqs},
        caller=caller,
    )


def request_id_of(message: Any) -> RequestId | None:
    """The request id of a write, if it has one. Raises InvalidArgument for one that cannot be remembered."""
    if not message.HasField("request_id"):
        return None
    found = request_id_from_message(message.request_id)
    if found.number > INT64_MAX:
        raise InvalidArgument(f"request_id.number is {found.number}, at most {INT64_MAX} is allowed", ErrorDetails(field="request_id"))
    return found
