"""Create a collection unless there is one: what `create_collection(..., exist_ok=True)` does."""

from __future__ import annotations

from collections.abc import Iterable

from shoal.client.flow import Flow, Sleep, answered, reply_to
from shoal.client.routers import Routers
from shoal.core.collection import CollectionState
from shoal.core.errors import AlreadyExists, ErrorDetails
from shoal.core.replies import CollectionSummary
from shoal.core.requests import CreateCollection, ListCollections

_PAUSE_S = 0.1
"""Between the attempts while a router says that the name is taken and does not list it yet."""


def living(listed: Iterable[CollectionSummary], name: str) -> CollectionSummary | None:
    """Return the collection that has the name and is not being dropped, if there is one."""
    return next((each for each in listed if each.name == name and each.state != CollectionState.DROPPING), None)


def created_if_missing(request: CreateCollection, *, timeout_s: float, routers: Routers) -> Flow[None]:
    """Create the collection unless one of this name exists; that one is left as it is.

    Raises AlreadyExists if its dimension or metric is another one, because what is meant for the one does not fit the
    other.
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
    for field, has, asked in (("dim", spec.dim, request.dim), ("metric", str(spec.metric.value), request.metric)):
        if has != asked:
            message = f"collection {request.name!r} exists with {field} {has}, not {asked}: choose another name, or drop it first"
            raise AlreadyExists(message, ErrorDetails(field=field))
