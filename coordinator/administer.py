"""Carries out users' requests about collections. Each request becomes one compare-and-swap; the rounds of the loop do
the rest. It answers only while this coordinator leads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shoal.coordinator.logic.admission import admitted, altered, check_replicas
from shoal.coordinator.logic.attention import is_usable
from shoal.coordinator.user_request import UserRequest, UserRequests
from shoal.core.alteration import Alteration
from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import Collection, CollectionSpec, CollectionState, check_name
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, NotFound, Unavailable
from shoal.core.ids import CollectionId
from shoal.core.limits import Limits
from shoal.core.shard_config import ShardState
from shoal.store.codecs import decode_collection, encode_collection
from shoal.store.interface import Absent, DeleteKey, Operation, Put, Transaction, Unchanged
from shoal.store.keys import Keys

T = TypeVar("T")


class Administrator:
    """Creates, alters and drops collections. new_id: returns a text that is new with every call."""

    def __init__(self, *, requests: UserRequests, keys: Keys, new_id: Callable[[], str], limits: Limits) -> None:
        self._requests, self._keys, self._new_id, self._limits = requests, keys, new_id, limits

    async def create(self, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        """Create a collection and wait until it is ACTIVE. Returns its id.

        request_id: the same for a retry of the same call; "" for a call that is not retried. Raises AlreadyExists,
        PreconditionFailed (more replicas than workers), ResourceExhausted (no memory for its replicas), Unavailable
        (not the leader, no worker, no store), NotFound (dropped meanwhile) or DeadlineExceeded.
        """
        request = self._begin(spec.name, timeout_s)
        collection_id = CollectionId(self._new_id())
        wanted = Collection(id=collection_id, spec=spec, state=CollectionState.CREATING, request_id=request_id or self._new_id())
        found = await self._attempts(request, "created", spec.name, lambda: self._found_or_created(request, wanted))
        return await _active(request, found)

    async def alter(self, name: str, alteration: Alteration, timeout_s: float) -> None:
        """Change a live collection. Returns when the change is committed, or at once if nothing has to change.

        Raises NotFound, InvalidArgument, PreconditionFailed (more replicas than workers), ResourceExhausted (no memory
        for the replicas), Unavailable (not the leader, no store, still being created) or DeadlineExceeded.
        """
        check_name(name, self._limits)
        request = self._begin(name, timeout_s)
        request.leads()

        async def attempt() -> bool | None:
            found = await self._holder(request, name)
            wanted = altered(found, name, alteration)
            if wanted == found:
                return True
            if found is not None:
                check_replicas(request.cluster, found.spec, wanted.spec)
            return await self._put(request, wanted)

        await self._attempts(request, "altered", name, attempt)

    async def drop(self, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        """Put the tombstone of a collection and free its name. Returns when this is committed.

        collection: drop only the collection with this id, and return at once if it does not exist any more. None: drop
        the collection that has the name. Raises NotFound (without an id), Unavailable (not the leader, no store),
        InvalidArgument or DeadlineExceeded.
        """
        check_name(name, self._limits)
        request = self._begin(name, timeout_s)
        request.leads()
        found = await (self._holder(request, name) if collection is None else self._collection(request, collection))
        if found is None and collection is None:
            raise NotFound(f"collection {name!r} does not exist", ErrorDetails(field="name"))
        if found is not None and found.spec.name != name:
            raise InvalidArgument(f"collection {found.id} is {found.spec.name!r}, not {name!r}", ErrorDetails(field="name"))

        async def attempt() -> bool | None:
            nonlocal found
            if found is None or found.state is CollectionState.DROPPING or await self._dropped(request, found):
                return True
            found = await self._collection(request, found.id)
            return None

        await self._attempts(request, "dropped", name, attempt)

    def _begin(self, name: str, timeout_s: float) -> UserRequest:
        return self._requests.begin(timeout_s, f"no time was left for collection {name!r}; the request may have been carried out")

    async def _attempts(self, request: UserRequest, done: str, name: str, attempt: Callable[[], Awaitable[T | None]]) -> T:
        message = f"collection {name!r} could not be {done}: the store's state kept changing"
        return await request.attempts(attempt, Unavailable(message, ErrorDetails(field="name")))

    async def _found_or_created(self, request: UserRequest, wanted: Collection) -> Collection | None:
        """Return the collection that this request made, now or in an earlier attempt; None to try again."""
        leads = request.leads()
        found = admitted(await self._holder(request, wanted.spec.name), wanted.spec, wanted.request_id)
        if found is not None:
            return found
        if not request.cluster.workers:
            raise Unavailable(f"collection {wanted.spec.name!r} cannot be placed: no shard worker is registered")
        check_replicas(request.cluster, None, wanted.spec)
        name, key = self._keys.name(wanted.spec.name), self._keys.collection(wanted.id)
        transaction = Transaction(
            compares=(leads, Absent(key=name), Absent(key=key)),
            then=(Put(key=name, value=wanted.id.encode("utf-8")), Put(key=key, value=encode_collection(wanted))),
        )
        revision = await request.committed(transaction)
        return None if revision is None else dataclasses.replace(wanted, revision=revision)

    async def _dropped(self, request: UserRequest, found: Collection) -> bool | None:
        """Put the tombstone. Returns True if it is surely committed, else None."""
        # The name is not compared: it belongs to the collection until the collection is DROPPING.
        tombstone = dataclasses.replace(found, state=CollectionState.DROPPING)
        return await self._put(request, tombstone, DeleteKey(key=self._keys.name(found.spec.name)))

    async def _put(self, request: UserRequest, wanted: Collection, *besides: Operation) -> bool | None:
        """Replace the collection by `wanted` if it is unchanged since its revision, and do the other operations.

        Returns True if this is surely committed, else None.
        """
        key = self._keys.collection(wanted.id)
        transaction = Transaction(
            compares=(request.leads(), Unchanged(key=key, mod_revision=wanted.revision)),
            then=(Put(key=key, value=encode_collection(wanted)), *besides),
        )
        return None if await request.committed(transaction) is None else True

    async def _holder(self, request: UserRequest, name: str) -> Collection | None:
        entry = await request.get(self._keys.name(name))
        return None if entry is None else await self._collection(request, CollectionId(entry.value.decode("utf-8")))

    async def _collection(self, request: UserRequest, collection: CollectionId) -> Collection | None:
        entry = await request.get(self._keys.collection(collection))
        return None if entry is None else decode_collection(entry.key, entry.value, entry.mod_revision)


async def _active(request: UserRequest, found: Collection) -> CollectionId:
    """Wait until a collection is ACTIVE, and return its id."""

    def settled() -> bool:
        now = request.cluster.collections.get(found.id)
        return request.cluster.revision >= found.revision and (now is None or now.state is not CollectionState.CREATING)

    if not await request.until(settled):
        progress = _progress(request.cluster, found)
        raise DeadlineExceeded(f"collection {found.spec.name!r} is not ready yet ({progress}); its creation goes on")
    now = request.cluster.collections.get(found.id)
    if now is None or now.state is CollectionState.DROPPING:
        raise NotFound(f"collection {found.spec.name!r} was dropped while it was being created", ErrorDetails(field="name"))
    return found.id


def _progress(cluster: ClusterMap, found: Collection) -> str:
    entries = cluster.shards_of(found.id)
    active = sum(entry.config.state is ShardState.ACTIVE for entry in entries)
    ready = sum(is_usable(entry.config) for entry in entries)
    replicas = f", {ready} of them with {found.spec.min_isr} replicas in sync" if found.spec.min_isr > 1 else ""
    return f"{active} of {found.spec.shards} shards are active{replicas}"
