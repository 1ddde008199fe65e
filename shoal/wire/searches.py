"""Converts searches of a collection and of a shard, and their results, between values and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields

import numpy as np

from shoal.core.errors import ErrorDetails, Internal, InvalidArgument
from shoal.core.filter import Filter
from shoal.core.ids import Seq, ShardId
from shoal.core.replies import Found
from shoal.core.requests import Search
from shoal.core.shard_calls import (
    Accuracy,
    Breadth,
    Exact,
    QueryGroup,
    ReadTerms,
    RecallTarget,
    SegmentExplain,
    ShardFound,
    ShardSearch,
    ShardsFound,
    ShardsSearch,
    VectorSearch,
)
from shoal.core.turns import FREE, Turn
from shoal.v1 import search_pb2, worker_pb2
from shoal.wire.call_parts import (
    consistency_to_message,
    optional_filter,
    read_from_message,
    shard_from_message,
    shard_to_message,
    telling_filter,
    terms_from_message,
    terms_to_message,
    tokens_to_messages,
)
from shoal.wire.columns import fill_hits, hits_from_message, vectors_from_message, vectors_to_message
from shoal.wire.filters import filter_to_message, optional_filter_to_message
from shoal.wire.method import Method, Methods, serialized
from shoal.wire.status import details_from_message, details_to_message, error_of, message_of

NO_QUERIES = "legs[{index}] has no queries, it needs vectors or texts to search for"
_PARAMS = ("ef", "nprobe")
_EXPLAIN_FIELDS = tuple(field.name for field in fields(SegmentExplain))


def search_to_message(request: Search) -> search_pb2.SearchRequest:
    """Return a search as a message."""
    message = search_pb2.SearchRequest(
        collection=request.collection,
        legs=[search_pb2.SearchLeg(field=request.vector, vectors=vectors_to_message(request.queries))],
        exact=isinstance(request.accuracy, Exact),
        radius=request.radius,
        explain=request.explain,
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        allow_partial=request.allow_partial,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=tokens_to_messages(request.read.tokens),
    )
    match request.groups:
        case (QueryGroup(queries=None, k=k, filter=filter),):
            # One group of all queries is written into the request itself, as other clients write it.
            message.k = k
            if filter is not None:
                message.filter.CopyFrom(filter_to_message(filter))
        case groups:
            message.groups.extend(groups_to_message(groups))
    match request.accuracy:
        case RecallTarget(recall):
            message.recall = recall
        case Breadth(ef=int(ef)):
            message.params["ef"] = ef
        case Breadth(nprobe=int(nprobe)):
            message.params["nprobe"] = nprobe
    return message


def search_from_message(message: search_pb2.SearchRequest, caller: str = "", turn: Turn = FREE) -> Search:
    """Return the search of a message. caller: see ReadAs.

    Raises InvalidArgument naming the field that cannot be read or contradicts another one.
    """
    accuracy: Accuracy | None = None
    if message.exact or message.params or message.HasField("recall"):
        recall = message.recall if message.HasField("recall") else None
        accuracy = accuracy_of(exact=message.exact, recall=recall, params=dict(message.params))
    leg = _only_leg(message)
    return Search(
        collection=message.collection,
        queries=vectors_from_message(leg.vectors),
        vector=leg.field,
        groups=public_groups(message, turn),
        accuracy=accuracy,
        radius=message.radius if message.HasField("radius") else None,
        explain=message.explain,
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        allow_partial=message.allow_partial,
        read=read_from_message(message, caller),
    )


def found_to_message(found: Found) -> search_pb2.SearchResponse:
    """Return the result of a search as a message."""
    message = search_pb2.SearchResponse()
    fill_hits(message.hits, found.hits)
    if found.missing_shards:
        message.missing_shards.extend(found.missing_shards)
    if found.explain:
        message.explain.extend(map(explain_to_message, found.explain))
    return message


def found_from_message(message: search_pb2.SearchResponse) -> Found:
    """Return the result of a search."""
    return Found(
        hits=hits_from_message(message.hits),
        missing_shards=tuple(message.missing_shards),
        explain=tuple(map(explain_from_message, message.explain)),
    )


def accuracy_of(*, exact: bool, recall: float | None, params: Mapping[str, float]) -> Accuracy | None:
    """Return the accuracy that a public search asks for, None if it asks for none.

    Raises InvalidArgument if more than one of exact, recall and params is given, and for unknown params.
    """
    said = [name for name, given in (("exact", exact), ("recall", recall is not None), ("params", bool(params))) if given]
    if len(said) > 1:
        raise InvalidArgument(f"{said[0]} and {said[1]} contradict each other, give one of them", ErrorDetails(field=said[1]))
    if exact:
        return Exact()
    if recall is not None:
        return RecallTarget(recall)
    return _breadth(params) if params else None


def shard_search_to_message(call: ShardSearch, turn: Turn = FREE) -> worker_pb2.ShardSearchRequest:
    """Return the search of a shard as a message."""
    return _of_shard(call, call.shard, call.terms, turn)


def _of_shard(call: VectorSearch, shard: ShardId, terms: ReadTerms, turn: Turn) -> worker_pb2.ShardSearchRequest:
    message = worker_pb2.ShardSearchRequest(
        shard=shard_to_message(shard),
        queries=vectors_to_message(call.queries),
        groups=groups_to_message(call.groups, turn),
        radius=call.radius,
        explain=call.explain,
        with_payload=call.with_payload,
        with_vectors=call.with_vectors,
        terms=terms_to_message(terms),
        vector=call.vector,
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
            raise InvalidArgument(f"{other} must have one of ef and nprobe", ErrorDetails(field="params"))
    return message


def shard_search_from_message(message: worker_pb2.ShardSearchRequest, turn: Turn = FREE) -> ShardSearch:
    """Return the search of a shard. Raises InvalidArgument if the message has no accuracy."""
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
        vector=message.vector,
    )


def groups_to_message(groups: Iterable[QueryGroup], turn: Turn = FREE) -> list[search_pb2.QueryGroup]:
    """Return groups of queries as messages. A message without positions means all queries, so no group may be empty."""
    return [
        search_pb2.QueryGroup(
            queries=None if group.queries is None else group.queries.tolist(),
            k=group.k,
            filter=optional_filter_to_message(group.filter, turn),
        )
        for group in groups
    ]


def groups_from_message(messages: Iterable[search_pb2.QueryGroup], turn: Turn = FREE) -> tuple[QueryGroup, ...]:
    """Return the groups of queries of messages, their positions in ascending order."""
    return tuple(_group(message, optional_filter(message, turn)) for message in messages)


def shard_found_to_message(found: ShardFound) -> worker_pb2.ShardSearchResponse:
    """Return the result of a shard's search as a message."""
    message = worker_pb2.ShardSearchResponse()
    fill_hits(message.hits, found.hits)
    message.explain.extend(map(explain_to_message, found.explain))
    return message


def shard_found_from_message(message: worker_pb2.ShardSearchResponse) -> ShardFound:
    """Return the result of a shard's search."""
    return ShardFound(hits=hits_from_message(message.hits), explain=tuple(map(explain_from_message, message.explain)))


def shards_search_to_message(call: ShardsSearch, turn: Turn = FREE) -> worker_pb2.SearchShardsRequest:
    """Return the search of several shards as a message."""
    return worker_pb2.SearchShardsRequest(
        search=_of_shard(call, call.shards[0], ReadTerms(consistency=call.consistency, caller=call.caller), turn),
        shards=[shard.number for shard in call.shards],
        min_seqs=[call.min_seqs.get(shard, 0) for shard in call.shards] if call.min_seqs else (),
    )


def shards_search_from_message(message: worker_pb2.SearchShardsRequest, turn: Turn = FREE) -> ShardsSearch:
    """Return the search of several shards.

    Raises InvalidArgument if it names no shard, or one twice, or if not each shard has its min_seq.
    """
    first = shard_search_from_message(message.search, turn)
    shards = tuple(ShardId(first.shard.collection, number) for number in message.shards)
    if not shards or len(set(shards)) != len(shards):
        raise InvalidArgument(f"shards are {list(message.shards)}, at least one is needed, each once", ErrorDetails(field="shards"))
    if len(message.min_seqs) not in (0, len(shards)):
        raise InvalidArgument(f"{len(message.min_seqs)} min_seqs are given for {len(shards)} shards", ErrorDetails(field="min_seqs"))
    return ShardsSearch(
        shards=shards,
        consistency=first.terms.consistency,
        min_seqs=dict(zip(shards, map(Seq, message.min_seqs), strict=False)),
        caller=first.terms.caller,
        **{each.name: getattr(first, each.name) for each in fields(VectorSearch)},
    )


def shards_found_to_message(call: ShardsSearch, found: ShardsFound) -> worker_pb2.SearchShardsResponse:
    """Return the result of a search of several shards as a message."""
    message = worker_pb2.SearchShardsResponse(
        explain=map(explain_to_message, found.explain),
        answered=[shard.number for shard in call.shards if shard not in found.failed],
        failed=[
            worker_pb2.ShardFailure(
                shard=shard.number, status=error.status, message=message_of(error), details=details_to_message(error.details)
            )
            for shard, error in found.failed.items()
        ],
    )
    fill_hits(message.hits, found.hits)
    return message


def shards_found_from_message(call: ShardsSearch, message: worker_pb2.SearchShardsResponse) -> ShardsFound:
    """Return the result of a search of several shards. A shard that the message does not name counts as failed.

    Raises Internal for an answer about shards that were not asked for: its hits may be those of other shards.
    """
    if not message.failed and list(message.answered) == [shard.number for shard in call.shards]:
        return ShardsFound(hits=hits_from_message(message.hits), explain=tuple(map(explain_from_message, message.explain)))
    asked = {shard.number: shard for shard in call.shards}
    answered, failed = set(message.answered), {each.shard: each for each in message.failed}
    if not answered.isdisjoint(failed) or not asked.keys() >= answered | failed.keys():
        raise Internal(f"shards {sorted(answered)} were answered and {sorted(failed)} failed, {sorted(asked)} were asked")
    errors = {asked[number]: error_of(each.status, each.message, details_from_message(each.details)) for number, each in failed.items()}
    for number in asked.keys() - answered - failed.keys():
        shard = asked[number]
        errors[shard] = Internal(f"the worker did not say what became of shard {shard}", ErrorDetails(shard=str(shard)))
    return ShardsFound(hits=hits_from_message(message.hits), failed=errors, explain=tuple(map(explain_from_message, message.explain)))


def explain_to_message(explain: SegmentExplain) -> search_pb2.SegmentExplain:
    """Return the explanation of a segment's search as a message."""
    return search_pb2.SegmentExplain(**{name: getattr(explain, name) for name in _EXPLAIN_FIELDS})


def explain_from_message(message: search_pb2.SegmentExplain) -> SegmentExplain:
    """Return the explanation of a segment's search."""
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


def public_groups(message: search_pb2.SearchRequest, turn: Turn) -> tuple[QueryGroup, ...]:
    """Return the given groups; without groups, one group of all queries. Raises InvalidArgument for both at once."""
    if not message.groups:
        return (QueryGroup(k=message.k, filter=telling_filter(message, turn)),)
    for field, given in (("k", message.k), ("filter", message.HasField("filter"))):
        if given:
            raise InvalidArgument(f"{field} is part of each group; it must not be given beside groups", ErrorDetails(field=field))
    return tuple(_group(each, telling_filter(each, turn)) for each in message.groups)


def _group(message: search_pb2.QueryGroup, filter: Filter | None) -> QueryGroup:
    queries = np.sort(np.array(message.queries, dtype=np.int64)) if message.queries else None
    return QueryGroup(k=message.k, filter=filter, queries=queries)


def _only_leg(message: search_pb2.SearchRequest) -> search_pb2.SearchLeg:
    legs = message.legs
    if not legs:
        raise InvalidArgument("legs is empty, one leg with the vectors to search for is needed", ErrorDetails(field="legs"))
    if len(legs) > 1:
        raise InvalidArgument(f"{len(legs)} legs are not supported by this version, one is", ErrorDetails(field="legs"))
    leg = legs[0]
    if not leg.HasField("vectors"):
        raise InvalidArgument(NO_QUERIES.format(index=0), ErrorDetails(field="legs", index=0))
    return leg


def _breadth(params: Mapping[str, float]) -> Breadth:
    for name in params:
        if name not in _PARAMS:
            raise InvalidArgument(f"params: {name!r} is unknown, allowed are {', '.join(_PARAMS)}", ErrorDetails(field="params"))
    if len(params) > 1:
        raise InvalidArgument("params: give ef or nprobe, not both", ErrorDetails(field="params"))
    ((name, value),) = params.items()
    if not value.is_integer():
        raise InvalidArgument(f"params: {name} is {value}, it must be a whole number", ErrorDetails(field="params"))
    return Breadth(ef=int(value)) if name == "ef" else Breadth(nprobe=int(value))


METHODS: Methods = {
    Search: Method(
        path="/shoal.v1.Search/Search",
        encode=serialized(search_to_message),
        answer=search_pb2.SearchResponse,
        decode=found_from_message,
    ),
}
