"""The door: what a collection and the limits allow. All or nothing, naming the first bad index and value."""

from __future__ import annotations

import numpy as np

from router.logic.questions import GetQuestion, ScrollQuestion, SearchQuestion
from shoal.core.collection import CollectionSpec, Metric, check_range
from shoal.core.errors import ErrorDetails, InvalidArgument, ResourceExhausted
from shoal.core.limits import Limits
from shoal.core.points import (
    IdArray,
    Matrix,
    PointColumns,
    StoredColumns,
    check_dim,
    check_finite,
    check_ids,
    check_nonzero,
    check_payloads,
    check_unique,
    id_array,
)
from shoal.core.topk import HitColumns

SCROLL_POINTS = 1_000
"""Size of a page when the client names none."""


def check_upsert(points: PointColumns, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument unless all points may be written to the collection."""
    _check_filled(len(points), "ids")
    if len(points) > limits.upsert_points:
        raise InvalidArgument(
            f"an upsert of {len(points)} points, at most {limits.upsert_points} a message are allowed",
            ErrorDetails(field="ids", limit="upsert_points"),
        )
    check_dim(points.vectors, spec.dim)
    _check_vectors(points.vectors, spec.metric)
    check_ids(points.ids, limits)
    check_unique(points.ids)
    if points.payloads is not None:
        check_payloads(points.payloads, limits)


def check_delete(ids: IdArray, limits: Limits) -> None:
    """Raise InvalidArgument unless a message may name these as ids of points."""
    _check_named(ids, limits)


def check_get(question: GetQuestion, limits: Limits) -> None:
    """Raise InvalidArgument unless a message may name these as ids of points."""
    _check_named(question.ids, limits)


def check_search(question: SearchQuestion, spec: CollectionSpec, limits: Limits) -> None:
    """Raise InvalidArgument unless the collection can be asked this."""
    count = len(question.queries)
    _check_filled(count, "vectors")
    check_range("k", question.k, limits.k)
    if count > limits.batch_queries:
        raise InvalidArgument(
            f"a batch of {count} queries, at most {limits.batch_queries} are allowed",
            ErrorDetails(field="vectors", limit="batch_queries"),
        )
    if count * question.k > limits.batch_hits:
        raise InvalidArgument(
            f"{count} queries with k {question.k} ask for {count * question.k} hits, at most {limits.batch_hits} a call are allowed",
            ErrorDetails(field="k", limit="batch_hits"),
        )
    check_dim(question.queries, spec.dim)
    _check_vectors(question.queries, spec.metric)


def check_scroll(question: ScrollQuestion, limits: Limits) -> None:
    """Raise InvalidArgument unless the page may be asked for."""
    if question.limit:
        check_range("limit", question.limit, limits.scroll_points)
    if question.after is not None:
        check_ids(id_array([question.after]), limits)


def check_answer_bytes(answer: HitColumns | StoredColumns, limits: Limits, advice: str) -> None:
    """Raise ResourceExhausted when the columns alone exceed what a message may hold.

    A lower bound, taken before a message is made of them: the exact size is known only afterwards.
    """
    size = 0 if answer.vectors is None else answer.vectors.nbytes
    if answer.payloads is not None:
        size += sum(len(text) for text in answer.payloads if text is not None)
    check_message_bytes(size, limits, advice)


def check_message_bytes(size: int, limits: Limits, advice: str) -> None:
    """Raise ResourceExhausted when an answer of `size` bytes is larger than a message may be. advice: what to do instead."""
    if size > limits.message_bytes:
        raise ResourceExhausted(
            f"the answer has {size} bytes, at most {limits.message_bytes} a message are allowed: {advice}",
            ErrorDetails(limit="message_bytes"),
        )


def _check_named(ids: IdArray, limits: Limits) -> None:
    _check_filled(len(ids), "ids")
    if len(ids) > limits.upsert_points:
        raise InvalidArgument(
            f"{len(ids)} ids, at most {limits.upsert_points} a message are allowed", ErrorDetails(field="ids", limit="upsert_points")
        )
    check_ids(ids, limits)


def _check_filled(count: int, field: str) -> None:
    if count == 0:
        raise InvalidArgument(f"{field} are empty, at least one is needed", ErrorDetails(field=field))


def _check_vectors(vectors: Matrix, metric: Metric) -> None:
    # One pass without a temporary settles nearly every batch: a finite sum of squares holds no NaN or infinity, and a
    # positive one no zero vector. Overflow and underflow of the squares only send a batch to the exact checks.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
    if not np.isfinite(squares).all():
        check_finite(vectors)
    if metric is Metric.COSINE and not squares.all():
        check_nonzero(vectors)
