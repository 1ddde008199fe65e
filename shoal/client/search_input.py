"""The arguments of a search as checked values: k, filter, accuracy and radius. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shoal.client import inputs
from shoal.client.identity import Session
from shoal.client.named_input import using_from_input
from shoal.core.collection import check_recall
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter import Filter, filter_key
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import plain_value
from shoal.core.points import Matrix
from shoal.core.requests import Search
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget

DEFAULT_K = 10
_BREADTHS = ("ef", "nprobe")


def one_group(k: Any, filter: Any, *, queries: int, radius: float | None) -> tuple[QueryGroup, ...]:
    """Return all queries of a batch as one group. k None: 10, or with a radius as many as an answer may hold.

    Raises InvalidArgument.
    """
    return (QueryGroup(k=_usual_k(queries, radius) if k is None else _count(k), filter=inputs.filter_or_none(filter)),)


def groups_from_input(k: Any, filter: Any, *, queries: int, radius: float | None) -> tuple[QueryGroup, ...]:
    """Return the queries of a batch grouped by k and filter, in the order of first appearance.

    k, filter: as in `one_group`, or a list with one for each query. Raises InvalidArgument that names the index of the
    first bad one.
    """
    if not _is_list(k) and not _is_list(filter):
        return one_group(k, filter, queries=queries, radius=radius)
    usual = _usual_k(queries, radius)
    counts = [usual if each is None else _count(each, at) for at, each in enumerate(_one_for_each("k", k, queries))]
    filters = _filters(_one_for_each("filter", filter, queries))
    members: dict[tuple[int, str], list[int]] = {}
    for at, (count, (key, _)) in enumerate(zip(counts, filters, strict=True)):
        members.setdefault((count, key), []).append(at)
    if len(members) == 1:
        return (QueryGroup(k=counts[0], filter=filters[0][1]),)
    return tuple(
        QueryGroup(k=count, filter=filters[found[0]][1], queries=np.array(found, dtype=np.int64)) for (count, _), found in members.items()
    )


def search_from_input(
    collection: str,
    queries: Matrix,
    groups: tuple[QueryGroup, ...],
    radius: float | None,
    session: Session,
    *,
    recall: Any,
    params: Any,
    exact: Any,
    consistency: str,
    allow_partial: Any,
    with_payload: Any,
    with_vectors: Any,
    explain: Any,
    using: Any = None,
) -> Search:
    """Return the search with these arguments of a caller, of which queries, groups and radius are checked already.

    using: name of the vector that is compared, None if it has none.

    Raises InvalidArgument.
    """
    name = inputs.name_from_input(collection)
    return Search(
        collection=name,
        queries=queries,
        groups=groups,
        accuracy=accuracy_from_input(exact=exact, recall=recall, params=params),
        radius=radius,
        explain=bool(explain),
        with_payload=bool(with_payload),
        with_vectors=bool(with_vectors),
        allow_partial=bool(allow_partial),
        read=session.read_as(name, consistency),
        vector=using_from_input(using),
    )


def accuracy_from_input(*, exact: Any, recall: Any, params: Any) -> Accuracy | None:
    """Return how exact a search is to be; None: the collection's recall.

    Raises InvalidArgument if more than one of the three is given.
    """
    given = {"exact": bool(exact), "recall": recall is not None, "params": params is not None}
    named = [name for name, present in given.items() if present]
    if len(named) > 1:
        raise InvalidArgument(
            f"{named[0]} and {named[1]} contradict each other: give one of exact, recall, params", ErrorDetails(field=named[1])
        )
    if exact:
        return Exact()
    if recall is not None:
        return RecallTarget(recall_from_input(recall))
    return None if params is None else _breadth(params)


def recall_from_input(value: Any) -> float:
    """Return a recall above 0 and at most 1. Raises InvalidArgument."""
    number = plain_value(value)
    check_recall(number)
    return float(number)


def radius_from_input(value: Any) -> float | None:
    """Return the worst wanted score; None: any score. Raises InvalidArgument unless it is a finite number."""
    if value is None:
        return None
    return inputs.real_number("radius", value, "a finite number: the worst score that is wanted")


def _usual_k(queries: int, radius: float | None) -> int:
    at_once = min(queries, DEFAULT_LIMITS.batch_queries)
    return DEFAULT_K if radius is None else min(DEFAULT_LIMITS.k, max(1, DEFAULT_LIMITS.batch_hits // at_once))


def _count(k: Any, index: int | None = None) -> int:
    try:
        return inputs.whole_number("k", k, DEFAULT_LIMITS.k)
    except InvalidArgument as error:
        place = "" if index is None else f" (query {index})"
        raise InvalidArgument(f"{error.message}{place}", dataclasses.replace(error.details, index=index)) from None


def _filters(values: Sequence[Any]) -> list[tuple[str, Filter | None]]:
    """Return each filter with its key. An object that appears several times is parsed once."""
    read: dict[int, tuple[str, Filter | None]] = {}
    for at, value in enumerate(values):
        if id(value) not in read:
            try:
                found = inputs.filter_or_none(value)
            except InvalidArgument as error:
                raise InvalidArgument(f"{error.message} (query {at})", dataclasses.replace(error.details, index=at)) from None
            read[id(value)] = ("" if found is None else filter_key(found), found)
    return [read[id(value)] for value in values]


def _one_for_each(field: str, value: Any, queries: int) -> Sequence[Any]:
    if not _is_list(value):
        return [value] * queries
    listed: Sequence[Any] = list(value) if isinstance(value, np.ndarray) else value
    if len(listed) != queries:
        raise InvalidArgument(
            f"{field} is a list of {len(listed)} for {queries} queries: give one for all, or one for each", ErrorDetails(field=field)
        )
    return listed


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _breadth(params: Any) -> Breadth:
    allowed = '{"ef": N} for graphs or {"nprobe": N} for inverted lists is allowed'
    if not isinstance(params, Mapping):
        raise InvalidArgument(f"params must be a dict, not {type(params).__name__}: {allowed}", ErrorDetails(field="params"))
    unknown = next((key for key in params if key not in _BREADTHS), None)
    if unknown is not None:
        raise InvalidArgument(f"params has the unknown key {unknown!r}: {allowed}", ErrorDetails(field="params"))
    if len(params) != 1:
        raise InvalidArgument(f"params has {len(params)} keys, one is needed: {allowed}", ErrorDetails(field="params"))
    ((name, value),) = params.items()
    number = inputs.whole_number(f"params.{name}", value, DEFAULT_LIMITS.breadth)
    return Breadth(ef=number) if name == "ef" else Breadth(nprobe=number)
