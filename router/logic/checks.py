"""Checks public calls against the collection and the limits. A call is refused as a whole. The error names the first
bad index and value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shoal.core.collection import Collection, CollectionSpec, check_range, check_recall
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound, ResourceExhausted
from shoal.core.filter import Filter
from shoal.core.filter_check import check_filter, constant_truth
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.payload import check_payloads
from shoal.core.point_change import UpdateNamed, UpdatePacked, UpdateVectors, check_change
from shoal.core.points import (
    IdArray,
    Matrix,
    PointColumns,
    StoredColumns,
    check_dim,
    check_finite,
    check_ids,
    check_nonzero,
    check_unique,
    id_array,
)
from shoal.core.requests import Count, Get, Scroll, Search, TuneCollection, Update
from shoal.core.shard_calls import Accuracy, Breadth, Exact, QueryGroup, RecallTarget
from shoal.core.topk import HitColumns
from shoal.core.turns import FREE, Turn
from shoal.router.logic.named_points import check_named, check_naming, check_room, names_of
from shoal.router.logic.vector_checks import check_vectors

SCROLL_POINTS = 1_000
"""Points of a page if the client gives no limit."""


def check_upsert(points: PointColumns, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument unless all points may be written to the collection."""
    _check_filled(len(points), "ids")
    if len(points) > limits.upsert_points:
        raise InvalidArgument(
            f"an upsert of {len(points)} points, at most {limits.upsert_points} a message are allowed",
            ErrorDetails(field="ids", limit="upsert_points"),
        )
    check_naming(points.named, spec)
    if points.named is None:
        check_dim(points.vectors, spec.dim)
        check_vectors(points.vectors, spec.metric)
    else:
        check_room(points.ids, points.payloads, spec, limits)
        check_named(points.named, len(points), spec)
    check_ids(points.ids, limits)
    check_unique(points.ids)
    if points.payloads is not None:
        check_payloads(points.payloads, limits)


def check_delete(ids: IdArray, limits: Limits) -> None:
    """Raise InvalidArgument unless these are valid ids, and not too many for one message."""
    _check_named(ids, limits)


def check_get(question: Get, limits: Limits) -> None:
    """Raise InvalidArgument unless the get has valid ids, and not too many for one message."""
    _check_named(question.ids, limits)


def check_search(question: Search, spec: CollectionSpec, limits: Limits, turn: Turn = FREE) -> None:
    """Raise InvalidArgument unless the search fits the collection and the limits."""
    count = len(question.queries)
    _check_filled(count, "vectors")
    if count > limits.batch_queries:
        raise InvalidArgument(
            f"a batch of {count} queries, at most {limits.batch_queries} are allowed",
            ErrorDetails(field="vectors", limit="batch_queries"),
        )
    check_groups(question.groups, count, limits, turn)
    check_accuracy(question.accuracy, limits)
    if question.radius is not None and not math.isfinite(question.radius):
        raise InvalidArgument(f"radius is {question.radius}, it must be a finite number", ErrorDetails(field="radius"))
    check_queries(question.queries, question.vector, spec)


def check_queries(queries: Matrix, vector: str, spec: CollectionSpec, *, field: str = "vectors") -> None:
    """Raise InvalidArgument unless the collection has this vector, and it may be searched by these queries."""
    asked = spec.vector_of(vector)
    check_dim(queries, asked.dim, field=field, owner=owner_of(vector))
    check_vectors(queries, asked.metric, field=field)


def owner_of(vector: str) -> str:
    """Return what an error calls the owner of a dimension. vector: its name, "" if it has none."""
    return f"vector {vector!r}" if vector else "the collection"


def check_tune(request: TuneCollection, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument unless the queries of the call are finite and fit the collection and the limits.

    Without queries, named vectors may all be tuned in one call.
    """
    queries = request.queries
    if queries is None and spec.vectors and not request.vector:
        return
    vector = spec.vector_of(request.vector)
    if queries is None:
        return
    _check_filled(len(queries), "queries")
    if len(queries) > limits.batch_queries:
        raise InvalidArgument(
            f"tune was given {len(queries)} queries, at most {limits.batch_queries} are allowed",
            ErrorDetails(field="queries", limit="batch_queries"),
        )
    check_dim(queries, vector.dim, field="queries", owner=owner_of(request.vector))
    check_finite(queries, field="queries")
    if vector.metric is Metric.COSINE:
        check_nonzero(queries, field="queries")


def is_plain_form(question: Search, spec: CollectionSpec, limits: Limits) -> bool:
    """Return whether check_search certainly accepts a search with plain queries, see are_plain. Only the shape of its
    own queries counts. False for all that needs a closer look: several groups, a given breadth, a radius, a filter that
    exceeds a bound. False also where an answer needs one: hits whose vectors have names.
    """
    if question.vector not in ([each.name for each in spec.vectors] or [""]) or (spec.vectors and question.with_vectors):
        return False
    groups, accuracy, (count, dim) = question.groups, question.accuracy, question.queries.shape
    group = groups[0]
    if len(groups) != 1 or group.queries is not None or not 0 < count <= limits.batch_queries or dim != spec.vector_of(question.vector).dim:
        return False
    if not 0 < group.k <= limits.k or count * group.k > limits.batch_hits or question.radius is not None:
        return False
    if not (accuracy is None or isinstance(accuracy, Exact) or (isinstance(accuracy, RecallTarget) and 0.0 < accuracy.recall <= 1.0)):
        return False
    return group.filter is None or _is_within(group.filter, limits)


def are_plain(queries: Matrix, metric: Metric) -> bool:
    """Return whether queries (n, dim) are certainly finite, and under cosine not zero. False for vectors whose squares
    overflow, and for a batch under cosine.
    """
    # A finite sum of squares proves that there is no NaN or infinity, a positive one of one query that it is not zero.
    square = float(np.vdot(queries, queries))
    return square < math.inf and (metric is not Metric.COSINE or (len(queries) == 1 and square > 0.0))


def check_groups(groups: Sequence[QueryGroup], queries: int, limits: Limits, turn: Turn = FREE) -> None:
    """Raise InvalidArgument unless every query is in exactly one group and the total of hits is within the limit.

    queries: number of queries.
    """
    for group in groups:
        turn.pause()
        check_range("k", group.k, limits.k)
        if group.filter is not None:
            check_filter(group.filter, limits)
    _check_positions(groups, queries)
    hits = sum(group.k * (queries if group.queries is None else len(group.queries)) for group in groups)
    if hits > limits.batch_hits:
        with_k = f"with k {groups[0].k} " if len(groups) == 1 else ""
        raise InvalidArgument(
            f"{queries} queries {with_k}ask for {hits} hits, at most {limits.batch_hits} a call are allowed",
            ErrorDetails(field="k", limit="batch_hits"),
        )


def check_accuracy(accuracy: Accuracy | None, limits: Limits) -> None:
    """Raise InvalidArgument for an accuracy that a search cannot have."""
    match accuracy:
        case RecallTarget(recall):
            check_recall(recall)
        case Breadth(ef=int(breadth), nprobe=None):
            _check_breadth("ef", breadth, limits)
        case Breadth(ef=None, nprobe=int(breadth)):
            _check_breadth("nprobe", breadth, limits)
        case Breadth():
            raise InvalidArgument("params must name either ef or nprobe", ErrorDetails(field="params"))


def check_count(question: Count, limits: Limits) -> None:
    """Raise InvalidArgument unless points may be counted by this filter."""
    if question.filter is not None:
        check_filter(question.filter, limits)


def check_delete_matching(filter: Filter, limits: Limits) -> None:
    """Raise InvalidArgument unless points may be deleted by this filter. A filter that obviously matches every point is
    refused.
    """
    check_filter(filter, limits)
    if is_empty(filter):
        raise InvalidArgument(
            "filter: it would delete every point; name a field, as in {'label': 3}, or drop the collection",
            ErrorDetails(field="filter"),
        )


def check_update(order: Update, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument unless the update names points, by ids or by a filter that does not obviously match every
    point, and its change may be made to points of the collection. Vectors need ids, each once.
    """
    if order.filter is not None:
        check_filter(order.filter, limits)
    if order.ids is not None:
        _check_named(order.ids, limits)
    elif order.filter is None:
        raise InvalidArgument("give ids, a filter or both: which points are to be changed", ErrorDetails(field="ids"))
    elif is_empty(order.filter):
        raise InvalidArgument("filter: it would change every point; name a field, as in {'label': 3}", ErrorDetails(field="filter"))
    match order.change:
        case UpdateVectors(vectors):
            check_naming(None, spec)
            ids = _ids_of_vectors(order.ids)
            if len(vectors) != len(ids):
                raise InvalidArgument(f"{len(vectors)} vectors are given for {len(ids)} ids", ErrorDetails(field="vectors"))
            check_dim(vectors, spec.dim)
            check_vectors(vectors, spec.metric)
        case UpdateNamed(named):
            check_naming(named, spec)
            if not named:
                raise InvalidArgument(f"no vector is given, name at least one: {names_of(spec)}", ErrorDetails(field="vectors"))
            ids = _ids_of_vectors(order.ids)
            check_room(ids, None, spec, limits)
            check_named(named, len(ids), spec)
        case UpdatePacked():
            raise InvalidArgument("packed vectors are only used inside a cluster, give named ones", ErrorDetails(field="change"))
        case change:
            check_change(change, limits)


def is_empty(filter: Filter) -> bool:
    """Return whether a filter obviously matches every point."""
    return constant_truth(filter) is True


def check_same_collection(question: Scroll, collection: Collection) -> None:
    """Raise NotFound if the previous page was of another collection with this name, which was dropped since."""
    if question.collection_id and question.collection_id != collection.id:
        raise NotFound(
            f"collection {question.collection!r} was dropped, and made anew, while it was scrolled; begin the scroll again",
            ErrorDetails(field="collection"),
        )


def check_scroll(question: Scroll, limits: Limits) -> None:
    """Raise InvalidArgument unless the scroll is within the limits."""
    if question.limit:
        check_range("limit", question.limit, limits.scroll_points)
    if question.after is not None:
        check_ids(id_array([question.after]), limits)
    if question.filter is not None:
        check_filter(question.filter, limits)


def check_answer_bytes(answer: HitColumns | StoredColumns, limits: Limits, advice: str) -> None:
    """Raise ResourceExhausted if the columns alone are larger than a message may be. advice: what to do instead.

    This is a lower bound, checked before the message is made. The exact size is known only afterwards.
    """
    size = 0 if answer.vectors is None else answer.vectors.nbytes
    if answer.payloads is not None:
        size += sum(len(text) for text in answer.payloads if text is not None)
    check_message_bytes(size, limits, advice)


def check_message_bytes(size: int, limits: Limits, advice: str) -> None:
    """Raise ResourceExhausted if an answer of `size` bytes is too large. advice: what to do instead."""
    if size > limits.message_bytes:
        raise ResourceExhausted(
            f"the answer has {size} bytes, at most {limits.message_bytes} a message are allowed: {advice}",
            ErrorDetails(limit="message_bytes"),
        )


def _is_within(filter: Filter, limits: Limits) -> bool:
    try:
        check_filter(filter, limits)
    except InvalidArgument:
        return False
    return True


def _check_named(ids: IdArray, limits: Limits) -> None:
    _check_filled(len(ids), "ids")
    if len(ids) > limits.upsert_points:
        raise InvalidArgument(
            f"{len(ids)} ids, at most {limits.upsert_points} a message are allowed", ErrorDetails(field="ids", limit="upsert_points")
        )
    check_ids(ids, limits)


def _ids_of_vectors(ids: IdArray | None) -> IdArray:
    """Return the ids to which vectors are given, each once."""
    if ids is None:
        raise InvalidArgument("vectors are given without ids: name the point of each vector", ErrorDetails(field="ids"))
    check_unique(ids)
    return ids


def _check_breadth(name: str, breadth: int, limits: Limits) -> None:
    if not 1 <= breadth <= limits.breadth:
        raise InvalidArgument(
            f"params: {name} is {breadth}, it must be from 1 to {limits.breadth}",
            ErrorDetails(field="params", limit="breadth"),
        )


def _check_positions(groups: Sequence[QueryGroup], queries: int) -> None:
    if len(groups) == 1 and groups[0].queries is None:
        return
    stands = np.zeros(queries, dtype=np.int64)
    for number, group in enumerate(groups):
        positions = np.arange(queries) if group.queries is None else group.queries
        unknown = positions[(positions < 0) | (positions >= queries)]
        if len(unknown):
            raise InvalidArgument(f"groups[{number}] names query {unknown[0]} of {queries}", ErrorDetails(field="groups", index=number))
        np.add.at(stands, positions, 1)
    wrong = np.flatnonzero(stands != 1)
    if len(wrong):
        query = int(wrong[0])
        raise InvalidArgument(
            f"query {query} stands in {stands[query]} groups, it must stand in exactly one", ErrorDetails(field="groups", index=query)
        )


def _check_filled(count: int, field: str) -> None:
    if count == 0:
        raise InvalidArgument(f"{field} are empty, at least one is needed", ErrorDetails(field=field))
