"""Create a collection unless there is one: what `create_collection(..., exist_ok=True)` does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from shoal.client.flow import Flow, Sleep, answered, reply_to
from shoal.client.routers import Routers
from shoal.core.collection import CollectionState
from shoal.core.errors import AlreadyExists, ErrorDetails
from shoal.core.named_vectors import NamedVector
from shoal.core.replies import CollectionSummary
from shoal.core.requests import CreateCollection, ListCollections

_PAUSE_S = 0.1
"""Between the attempts while a router says that the name is taken and does not list it yet."""


def living(listed: Iterable[CollectionSummary], name: str) -> CollectionSummary | None:
    """Return the collection that has the name and is not being dropped, if there is one."""
    return next((each for each in listed if each.name == name and each.state != CollectionState.DROPPING), None)


def created_if_missing(request: CreateCollection, *, timeout_s: float, routers: Routers) -> Flow[None]:
    """Create the collection unless one of this name exists; that one is left as it is.

    Raises AlreadyExists if its dimension or metric is another one, or its named vectors have others, because what is
    meant for the one does not fit the other.
    """
    elapsed_s = 0.0
    while True:
        listed = yield from reply_to(ListCollections(), timeout_s=timeout_s, routers=routers, elapsed_s=elapsed_s)
        found = living(listed.value, request.name)
        if found is not None:
            _check_same(found, request)
            return
        try:
            yield from answered(request, timeout_s=timeout_s, routers=routers, elapsed_s=listed.elapsed_s)
            return
        except AlreadyExists:
            # Somebody else was faster, and the router that lists may not know it yet.
            elapsed_s = (yield Sleep(_PAUSE_S)).elapsed_s
            if elapsed_s >= timeout_s:
                raise


def _check_same(found: CollectionSummary, request: CreateCollection) -> None:
    spec = found.spec
    has = _meaning(spec.dim, str(spec.metric.value), spec.vectors)
    for field, asked in _meaning(request.dim, request.metric, request.vectors).items():
        if has.get(field) != asked:
            there = f"{field} {has[field]}" if field in has else " and ".join(f"{each} {value}" for each, value in has.items())
            wanted = asked if field in has else f"{field} {asked}"
            message = f"collection {request.name!r} exists with {there}, not {wanted}: choose another name, or drop it first"
            raise AlreadyExists(message, ErrorDetails(field=field))


def _meaning(dim: int, metric: str, vectors: Sequence[NamedVector]) -> dict[str, Any]:
    """Return what vectors of a collection mean, by field of a creation. The order of names means nothing."""
    if not vectors:
        return {"dim": dim, "metric": metric}
    return {"vectors": ", ".join(f"{each.name} ({each.dim}, {each.metric.value})" for each in sorted(vectors, key=lambda each: each.name))}
