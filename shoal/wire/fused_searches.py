"""Converts searches of several legs, and their answers, between values and messages.

They are sent by the same RPC as searches by vectors only. A message is a search by vectors only if it has one leg of
vectors, and nothing that only fused searches have, see `is_fused`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

import numpy as np

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import (
    DEFAULT_CANDIDATES,
    DenseLeg,
    FusedExplain,
    FusedFound,
    FusedSearch,
    GroupBy,
    HitExplain,
    Leg,
    LegColumns,
    LegExplain,
    TextLeg,
)
from shoal.core.fusion_choice import DEFAULT_RANK_CONSTANT, Fusion, FusionKind
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget
from shoal.core.turns import FREE, Turn
from shoal.v1 import search_pb2
from shoal.wire.call_parts import consistency_to_message, read_from_message, tokens_to_messages
from shoal.wire.columns import fill_hits, hits_from_message, vectors_from_message, vectors_to_message
from shoal.wire.filters import filter_to_message
from shoal.wire.method import Method, Methods, serialized
from shoal.wire.searches import NO_QUERIES, accuracy_of, explain_from_message, explain_to_message, groups_to_message, public_groups
from shoal.wire.text_queries import (
    ask_from_message,
    ask_to_message,
    marks_from_message,
    marks_to_message,
    shares_from_messages,
    shares_to_messages,
    text_explain_from_message,
    text_explain_to_message,
)

DENSE_NAME, TEXT_NAME = "dense", "text"
"""Names of legs that are given none. A leg that searches by a named vector has its name."""

_LEG_EXPLAIN = tuple(field.name for field in fields(LegExplain))
_LONGEST_SHOWN = 64

T = TypeVar("T")


def is_fused(message: search_pb2.SearchRequest) -> bool:
    """Return whether a message is a FusedSearch, and not a Search. A message without legs is not."""
    legs = message.legs
    if len(legs) != 1:
        return len(legs) > 1
    leg = legs[0]
    return bool(
        leg.WhichOneof("queries") == "texts"
        or leg.name
        or leg.HasField("weight")
        or leg.HasField("min_score")
        or message.HasField("fusion")
        or message.candidates
        or message.offset
        or message.HasField("threshold")
        or message.diversity
        or message.HasField("group_by")
        or message.highlight
    )


def fused_to_message(request: FusedSearch) -> search_pb2.SearchRequest:
    """Return a search of several legs as a message."""
    message = search_pb2.SearchRequest(
        collection=request.collection,
        legs=map(_leg_to_message, request.legs),
        exact=isinstance(request.accuracy, Exact),
        explain=request.explain,
        with_payload=request.with_payload,
        with_vectors=request.with_vectors,
        allow_partial=request.allow_partial,
        consistency=consistency_to_message(request.read.consistency),
        min_seqs=tokens_to_messages(request.read.tokens),
        fusion=None if request.fusion is None else fusion_to_message(request.fusion),
        candidates=request.candidates,
        offset=request.offset,
        threshold=request.threshold,
        diversity=request.diversity,
        group_by=None if request.group_by is None else search_pb2.GroupBy(path=request.group_by.path, size=request.group_by.size),
        highlight=request.highlight,
    )
    _write_groups(message, request.groups)
    _write_accuracy(message, request.accuracy)
    return message


def fused_from_message(message: search_pb2.SearchRequest, caller: str = "", turn: Turn = FREE) -> FusedSearch:
    """Return the search of a message for which `is_fused` holds. caller: see ReadAs.

    Raises InvalidArgument naming the field that cannot be read or contradicts another one.
    """
    if message.HasField("radius"):
        raise InvalidArgument(
            "radius is of searches by one vector; here, min_score of a leg or threshold bounds scores", ErrorDetails(field="radius")
        )
    accuracy: Accuracy | None = None
    if message.exact or message.params or message.HasField("recall"):
        recall = message.recall if message.HasField("recall") else None
        accuracy = accuracy_of(exact=message.exact, recall=recall, params=dict(message.params))
    return FusedSearch(
        collection=message.collection,
        legs=tuple(_leg_from_message(leg, index) for index, leg in enumerate(message.legs)),
        groups=public_groups(message, turn),
        fusion=fusion_from_message(message.fusion) if message.HasField("fusion") else None,
        candidates=message.candidates or DEFAULT_CANDIDATES,
        offset=message.offset,
        threshold=message.threshold if message.HasField("threshold") else None,
        diversity=message.diversity,
        group_by=GroupBy(path=message.group_by.path, size=message.group_by.size or 1) if message.HasField("group_by") else None,
        highlight=message.highlight,
        accuracy=accuracy,
        explain=message.explain,
        with_payload=message.with_payload,
        with_vectors=message.with_vectors,
        allow_partial=message.allow_partial,
        read=read_from_message(message, caller),
    )


def fusion_to_message(fusion: Fusion) -> search_pb2.Fusion:
    """Return a fusion as a message."""
    return search_pb2.Fusion(kind=fusion.kind.value, c=fusion.c)


def fusion_from_message(message: search_pb2.Fusion) -> Fusion:
    """Return the fusion of a message. Raises InvalidArgument for an unknown kind, and for a c that the kind has not."""
    kind, c = fusion_kind(message.kind), message.c if message.HasField("c") else DEFAULT_RANK_CONSTANT
    if kind is not FusionKind.RRF and c != DEFAULT_RANK_CONSTANT:
        # The usual value is let through: SDKs send it with every kind.
        raise InvalidArgument(f"c is {c:g}, but it belongs to fusion rrf, and fusion is {kind}", ErrorDetails(field="c"))
    return Fusion(kind=kind, c=c)


def fusion_kind(value: str) -> FusionKind:
    """Return the kind of a fusion; "" is zscore. Raises InvalidArgument for an unknown one."""
    try:
        return FusionKind(value or FusionKind.ZSCORE)
    except ValueError:
        raise InvalidArgument(
            f"fusion is {value[:_LONGEST_SHOWN]!r}, it must be one of {', '.join(FusionKind)}", ErrorDetails(field="fusion")
        ) from None


def fused_found_to_message(found: FusedFound) -> search_pb2.SearchResponse:
    """Return the answer of a search of several legs as a message."""
    message = search_pb2.SearchResponse(missing_shards=found.missing_shards)
    fill_hits(message.hits, found.hits)
    fused = message.fused
    fused.SetInParent()
    for leg in found.legs:
        fused.legs.add(name=leg.name, ranks=leg.ranks.tolist(), scores=leg.scores.tolist(), wordless=leg.wordless)
    if found.highlights is not None:
        fused.highlights.extend(map(marks_to_message, found.highlights))
    if found.group_values is not None:
        fused.group_values.extend(found.group_values)
    fused.complete.extend(found.complete)
    if found.explain is not None:
        message.explain.extend(map(explain_to_message, found.explain.segments))
        _write_explain(fused.explain, found.explain)
    return message


def fused_found_from_message(message: search_pb2.SearchResponse) -> FusedFound:
    """Return the answer of a search of several legs.

    Raises InvalidArgument for an answer to another kind of search, and for columns that differ in length.
    """
    if not message.HasField("fused"):
        raise InvalidArgument("the answer is that of a search by vectors only: the router is of an older version")
    fused, hits = message.fused, hits_from_message(message.hits)
    count = len(hits)
    return FusedFound(
        hits=hits,
        legs=tuple(_columns(leg, count) for leg in fused.legs),
        highlights=_one_each(tuple(map(marks_from_message, fused.highlights)), count, "highlights"),
        group_values=_one_each(tuple(fused.group_values), count, "group_values"),
        complete=tuple(fused.complete),
        missing_shards=tuple(message.missing_shards),
        explain=_explain(message) if fused.HasField("explain") else None,
    )


def _leg_to_message(leg: Leg) -> search_pb2.SearchLeg:
    message = search_pb2.SearchLeg(name=leg.name, weight=leg.weight, min_score=leg.min_score)
    match leg:
        case DenseLeg(queries=queries, vector=vector):
            message.field = vector
            message.vectors.CopyFrom(vectors_to_message(queries))
        case TextLeg(asks=asks):
            message.texts.SetInParent()
            message.texts.queries.extend(map(ask_to_message, asks))
    return message


def _leg_from_message(message: search_pb2.SearchLeg, index: int) -> Leg:
    weight = message.weight if message.HasField("weight") else None
    min_score = message.min_score if message.HasField("min_score") else None
    match message.WhichOneof("queries"):
        case "vectors":
            queries = vectors_from_message(message.vectors)
            name = message.name or message.field or DENSE_NAME
            return DenseLeg(queries=queries, name=name, weight=weight, min_score=min_score, vector=message.field)
        case "texts":
            if message.field:
                raise InvalidArgument(
                    f"legs[{index}]: field is {message.field!r}, but only a leg of vectors has a vector to search by; fields of texts "
                    "are given with each text",
                    ErrorDetails(field="field", index=index),
                )
            asks = tuple(map(ask_from_message, message.texts.queries))
            return TextLeg(asks=asks, name=message.name or TEXT_NAME, weight=weight, min_score=min_score)
        case _:
            raise InvalidArgument(NO_QUERIES.format(index=index), ErrorDetails(field="legs", index=index))


def _write_groups(message: search_pb2.SearchRequest, groups: tuple[QueryGroup, ...]) -> None:
    match groups:
        case (QueryGroup(queries=None, k=k, filter=filter),):
            # As in searches by vectors only: one group of all queries is written into the request itself.
            message.k = k
            if filter is not None:
                message.filter.CopyFrom(filter_to_message(filter))
        case _:
            message.groups.extend(groups_to_message(groups))


def _write_accuracy(message: search_pb2.SearchRequest, accuracy: Accuracy | None) -> None:
    match accuracy:
        case RecallTarget(recall):
            message.recall = recall
        case Breadth(ef=int(ef)):
            message.params["ef"] = ef
        case Breadth(nprobe=int(nprobe)):
            message.params["nprobe"] = nprobe


def _columns(message: search_pb2.LegHits, count: int) -> LegColumns:
    if not len(message.ranks) == len(message.scores) == count:
        raise InvalidArgument(f"leg {message.name!r}: {len(message.ranks)} ranks and {len(message.scores)} scores, {count} hits")
    return LegColumns(
        name=message.name,
        ranks=np.array(message.ranks, dtype=np.int64),
        scores=np.array(message.scores, dtype=np.float64),
        wordless=tuple(message.wordless),
    )


def _one_each(values: tuple[T, ...], count: int, name: str) -> tuple[T, ...] | None:
    """Return a column of an answer; None if it is empty, as it is if it was not requested."""
    if values and len(values) != count:
        raise InvalidArgument(f"{name}: {len(values)} are given for {count} hits")
    return values or None


def _write_explain(message: search_pb2.FusedExplain, explain: FusedExplain) -> None:
    message.SetInParent()
    for leg in explain.legs:
        message.legs.add(**{name: getattr(leg, name) for name in _LEG_EXPLAIN})
    for hit in explain.hits:
        message.hits.add(arithmetic=hit.arithmetic, words=shares_to_messages(hit.words), penalty=hit.penalty)
    message.texts.extend(map(text_explain_to_message, explain.texts))


def _explain(message: search_pb2.SearchResponse) -> FusedExplain:
    explain = message.fused.explain
    return FusedExplain(
        legs=tuple(LegExplain(**{name: getattr(leg, name) for name in _LEG_EXPLAIN}) for leg in explain.legs),
        hits=tuple(
            HitExplain(arithmetic=hit.arithmetic, words=shares_from_messages(hit.words), penalty=hit.penalty) for hit in explain.hits
        ),
        segments=tuple(map(explain_from_message, message.explain)),
        texts=tuple(map(text_explain_from_message, explain.texts)),
    )


METHODS: Methods = {
    FusedSearch: Method(
        path="/shoal.v1.Search/Search",
        encode=serialized(fused_to_message),
        answer=search_pb2.SearchResponse,
        decode=fused_found_from_message,
    ),
}
