"""What becomes of a request to create a collection, given who holds the name."""

from __future__ import annotations

from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import AlreadyExists, ErrorDetails


def admitted(holder: Collection | None, spec: CollectionSpec, request_id: str) -> Collection | None:
    """The collection that this very request has created already; None when the name is free.

    A collection that is being dropped has given its name up. Raises AlreadyExists when another request holds the name.
    """
    if holder is None or holder.state is CollectionState.DROPPING:
        return None
    if holder.request_id == request_id and holder.spec == spec:
        return holder
    raise AlreadyExists(f"collection {spec.name!r} already exists", ErrorDetails(field="name"))
