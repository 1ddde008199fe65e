"""Searches of a shard and what they found, between messages and domain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget, SegmentExplain, ShardFound, ShardSearch
from shoal.core.turns import FREE, Turn
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire.columns import hits_from_message, hits_to_message, vectors_from_message, vectors_to_message
from shoal.wire.filters import filter_from_message, optional_filter_to_message
from shoal.wire.shard_calls import shard_from_message, shard_to_message, terms_from_message, terms_to_message

_EXPLAIN_FIELDS = tuple(field.name for field in fields(SegmentExplain))


def search_to_message(call: ShardSearch, turn: Turn = FREE) -> worker_pb2.ShardSearchRequest:
    """Search as a message."""
    message = worker_pb2.ShardSearchRequest(
        shard=shard_to_message(call.shard),
        queries=vectors_to_message(call.queries),
        groups=groups_to_message(call.groups, turn),
        radius=call.radius,
        explain=call.explain,
        with_payload=call.with_payload,
        with_vectors=call.with_vectors,
        terms=terms_to_message(call.terms),
    )
    match call.accuracy:
        case Exact():
            message.exact = True
        case RecallTarget(recall):
            message.recall = recall
        case Breadth(ef=None, nprobe=int(nprobe)):
            message.nprobe = nprobe
        case Breadth(ef=int(ef), nprobe=None):
            message.ef = ef
        case other:
            raise InvalidArgument(f"{other} names not one of ef and nprobe", ErrorDetails(field="params"))
    return message


def search_from_message(message: worker_pb2.ShardSearchRequest, turn: Turn = FREE) -> ShardSearch:
    """Search from a message. Raises InvalidArgument when it says nothing about accuracy."""
    return ShardSearch(
        shard=shard_from_message(message.shard),
        queries=vectors_from_message(message.queries, "queries"),
        groups=groups_from_message(message.groups, turn),
        accuracy=_accuracy_from_message(message),
        radius=message.radius if message.HasField("radius") else None,
        explain=message.explain,
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        terms=terms_from_message(message.terms),
    )


def groups_to_message(groups: Iterable[QueryGroup], turn: Turn = FREE) -> list[search_pb2.QueryGroup]:
    """Groups of queries as messages. None of them is empty: without positions, a group has all queries."""
    return [
        search_pb2.QueryGroup(
            queries=None if group.queries is None else group.queries.tolist(),
            k=group.k,
            filter=optional_filter_to_message(group.filter, turn),
        )
        for group in groups
    ]


def groups_from_message(messages: Iterable[search_pb2.QueryGroup], turn: Turn = FREE) -> tuple[QueryGroup, ...]:
    """Groups of queries from messages, their positions in ascending order."""
    return tuple(
        QueryGroup(
            k=message.k,
            filter=filter_from_message(message.filter, turn) if message.HasField("filter") else None,
            queries=np.sort(np.array(message.queries, dtype=np.int64)) if message.queries else None,
        )
        for message in messages
    )


def found_to_message(found: ShardFound) -> worker_pb2.ShardSearchResponse:
    """What a search found, as a message."""
    return worker_pb2.ShardSearchResponse(hits=hits_to_message(found.hits), explain=map(explain_to_message, found.explain))


def found_from_message(message: worker_pb2.ShardSearchResponse) -> ShardFound:
    """What a search found, from a message."""
    return ShardFound(hits=hits_from_message(message.hits), explain=tuple(map(explain_from_message, message.explain)))


def explain_to_message(explain: SegmentExplain) -> search_pb2.SegmentExplain:
    """How a segment was searched, as a message."""
    return search_pb2.SegmentExplain(**{name: getattr(explain, name) for name in _EXPLAIN_FIELDS})


def explain_from_message(message: search_pb2.SegmentExplain) -> SegmentExplain:
    """How a segment was searched, from a message."""
    return SegmentExplain(**{name: getattr(message, name) for name in _EXPLAIN_FIELDS})


def _accuracy_from_message(message: worker_pb2.ShardSearchRequest) -> Accuracy:
    match message.WhichOneof("accuracy"):
        case "exact":
            return Exact()
        case "recall":
            return RecallTarget(message.recall)
        case "ef":
            return Breadth(ef=message.ef)
        case "nprobe":
            return Breadth(nprobe=message.nprobe)
        case _:
            raise InvalidArgument("a search needs one of exact, recall, ef, nprobe", ErrorDetails(field="accuracy"))
