"""Carries out what users ask of collections: each request becomes one compare-and-swap; the rounds of the loop do the
rest.

Answers only while this coordinator leads. A request whose outcome is unknown is looked up before it is made again, so
that it has happened once or not at all, and the caller hears which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from shoal.coordinator.election import proof_of_leadership
from shoal.coordinator.logic.admission import admitted, altered, check_replicas
from shoal.coordinator.logic.reconcile import is_usable
from shoal.core.alteration import Alteration
from shoal.core.collection import Collection, CollectionSpec, CollectionState, check_name
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, NotFound, Unavailable
from shoal.core.ids import CollectionId, Revision
from shoal.core.limits import Limits
from shoal.core.shard_config import ShardState
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.codecs import decode_collection, encode_collection
from shoal.store.interface import (
    Absent,
    Committed,
    Created,
    DeleteKey,
    Operation,
    OutcomeUnknown,
    Put,
    Store,
    Transaction,
    Unchanged,
    Versioned,
)
from shoal.store.keys import Keys
from shoal.store.observe import MapObserver

ATTEMPTS = 8
"""How often a request is made anew when the store's answer was lost or somebody else's change came first."""

_PAUSE_S = 0.1


class Administrator:
    """Creates, alters and drops collections. leadership: as of Election; new_id: text that never comes twice;
    timeout_s: of one store call.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: Keys,
        observer: MapObserver,
        changes: ChangeSignal,
        leadership: Callable[[], Revision | None],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        limits: Limits,
        timeout_s: float,
    ) -> None:
        self._store, self._keys, self._observer, self._changes = store, keys, observer, changes
        self._leadership, self._clock, self._new_id, self._timeout_s = leadership, clock, new_id, timeout_s
        self._limits = limits

    async def create(self, spec: CollectionSpec, request_id: str, timeout_s: float) -> CollectionId:
        """Create a collection and wait until it is ACTIVE. request_id: the same for a retry of the same call; "" for
        none.

        Raises AlreadyExists, PreconditionFailed (more replicas than workers), ResourceExhausted (no memory for its
        replicas), Unavailable (not the leader, no worker, no store), NotFound (dropped meanwhile) or DeadlineExceeded.
        """
        ends_at = self._clock() + timeout_s
        collection_id = CollectionId(self._new_id())
        wanted = Collection(id=collection_id, spec=spec, state=CollectionState.CREATING, request_id=request_id or self._new_id())
        for _ in range(ATTEMPTS):
            found = await self._found_or_created(wanted, ends_at)
            if found is not None:
                return await self._active(found, ends_at)
            await self._changes.wait(self._changes.count, min(_PAUSE_S, self._left(ends_at, spec.name)))
        raise Unavailable(f"collection {spec.name!r} could not be created: the store's state kept changing", ErrorDetails(field="name"))

    async def alter(self, name: str, alteration: Alteration, timeout_s: float) -> None:
        """Change what may change of a live collection. Returns when that is committed, at once when it is so already.

        Raises NotFound, InvalidArgument, PreconditionFailed (more replicas than workers), ResourceExhausted (no memory
        for them), Unavailable (not the leader, no store, still being created) or DeadlineExceeded.
        """
        check_name(name, self._limits)
        ends_at = self._clock() + timeout_s
        self._leading()
        for _ in range(ATTEMPTS):
            found = await self._holder(name, ends_at)
            wanted = altered(found, name, alteration)
            if wanted == found:
                return
            if found is not None:
                check_replicas(self._observer.map, found.spec, wanted.spec)
            if await self._put(wanted, ends_at):
                return
            await self._changes.wait(self._changes.count, min(_PAUSE_S, self._left(ends_at, name)))
        raise Unavailable(f"collection {name!r} could not be altered: the store's state kept changing", ErrorDetails(field="name"))

    async def drop(self, name: str, collection: CollectionId | None, timeout_s: float) -> None:
        """Put the tombstone of a collection and free its name. Returns when that is committed.

        collection: drop this one only, and return at once when it is gone already; None for whichever has the name.
        Raises NotFound (without an id), Unavailable (not the leader, no store), InvalidArgument or DeadlineExceeded.
        """
        check_name(name, self._limits)
        ends_at = self._clock() + timeout_s
        self._leading()
        found = await (self._holder(name, ends_at) if collection is None else self._collection(collection, ends_at))
        if found is None and collection is None:
            raise NotFound(f"collection {name!r} does not exist", ErrorDetails(field="name"))
        if found is not None and found.spec.name != name:
            raise InvalidArgument(f"collection {found.id} is {found.spec.name!r}, not {name!r}", ErrorDetails(field="name"))
        for _ in range(ATTEMPTS):
            if found is None or found.state is CollectionState.DROPPING or await self._dropped(found, ends_at):
                return
            await self._changes.wait(self._changes.count, min(_PAUSE_S, self._left(ends_at, name)))
            found = await self._collection(found.id, ends_at)
        raise Unavailable(f"collection {name!r} could not be dropped: the store's state kept changing", ErrorDetails(field="name"))

    async def _found_or_created(self, wanted: Collection, ends_at: float) -> Collection | None:
        """The collection as this request has made it, now or in an earlier attempt; None when it has to be tried
        again.
        """
        leadership = self._leading()
        found = admitted(await self._holder(wanted.spec.name, ends_at), wanted.spec, wanted.request_id)
        if found is not None:
            return found
        if not self._observer.map.workers:
            raise Unavailable(f"collection {wanted.spec.name!r} cannot be placed: no shard worker is registered")
        check_replicas(self._observer.map, None, wanted.spec)
        name, key = self._keys.name(wanted.spec.name), self._keys.collection(wanted.id)
        transaction = Transaction(
            compares=(Created(key=self._keys.leader, create_revision=leadership), Absent(key=name), Absent(key=key)),
            then=(Put(key=name, value=wanted.id.encode("utf-8")), Put(key=key, value=encode_collection(wanted))),
        )
        revision = await self._committed(transaction, ends_at, wanted.spec.name)
        return None if revision is None else dataclasses.replace(wanted, revision=revision)

    async def _dropped(self, found: Collection, ends_at: float) -> bool:
        """Whether the tombstone was surely put by this attempt."""
        # No compare of the name: while the collection is not DROPPING, the name is its own.
        tombstone = dataclasses.replace(found, state=CollectionState.DROPPING)
        return await self._put(tombstone, ends_at, DeleteKey(key=self._keys.name(found.spec.name)))

    async def _put(self, wanted: Collection, ends_at: float, *besides: Operation) -> bool:
        """Whether this attempt has surely put `wanted` in the place of the revision it was made from, and done the
        rest.
        """
        leadership, key = self._leading(), self._keys.collection(wanted.id)
        transaction = Transaction(
            compares=(Created(key=self._keys.leader, create_revision=leadership), Unchanged(key=key, mod_revision=wanted.revision)),
            then=(Put(key=key, value=encode_collection(wanted)), *besides),
        )
        return await self._committed(transaction, ends_at, wanted.spec.name) is not None

    async def _active(self, found: Collection, ends_at: float) -> CollectionId:
        def settled() -> bool:
            cluster = self._observer.map
            now = cluster.collections.get(found.id)
            return cluster.revision >= found.revision and (now is None or now.state is not CollectionState.CREATING)

        if not await self._changes.until(settled, ends_at - self._clock()):
            raise DeadlineExceeded(f"collection {found.spec.name!r} is not ready yet ({self._progress(found)}); its creation goes on")
        now = self._observer.map.collections.get(found.id)
        if now is None or now.state is CollectionState.DROPPING:
            raise NotFound(f"collection {found.spec.name!r} was dropped while it was being created", ErrorDetails(field="name"))
        return found.id

    def _progress(self, found: Collection) -> str:
        entries = self._observer.map.shards_of(found.id)
        active = sum(entry.config.state is ShardState.ACTIVE for entry in entries)
        ready = sum(is_usable(entry.config) for entry in entries)
        in_sync = f", {ready} of them with {found.spec.min_isr} replicas in sync" if found.spec.min_isr > 1 else ""
        return f"{active} of {found.spec.shards} shards are active{in_sync}"

    def _leading(self) -> Revision:
        return proof_of_leadership(self._leadership(), self._observer.map)

    async def _holder(self, name: str, ends_at: float) -> Collection | None:
        entry = await self._get(self._keys.name(name), ends_at, name)
        return None if entry is None else await self._collection(CollectionId(entry.value.decode("utf-8")), ends_at)

    async def _collection(self, collection: CollectionId, ends_at: float) -> Collection | None:
        entry = await self._get(self._keys.collection(collection), ends_at, collection)
        return None if entry is None else decode_collection(entry.key, entry.value, entry.mod_revision)

    async def _get(self, key: str, ends_at: float, what: str) -> Versioned | None:
        return await self._store.get(key, min(self._timeout_s, self._left(ends_at, what)))

    async def _committed(self, transaction: Transaction, ends_at: float, what: str) -> Revision | None:
        """The revision of the commit; None when it was rejected or its outcome is unknown, so that one has to look."""
        try:
            answer = await self._store.commit(transaction, min(self._timeout_s, self._left(ends_at, what)))
        except OutcomeUnknown:
            return None
        return answer.revision if isinstance(answer, Committed) else None

    def _left(self, ends_at: float, what: str) -> float:
        left = ends_at - self._clock()
        if left <= 0:
            raise DeadlineExceeded(f"no time was left for collection {what!r}; the request may have been carried out")
        return left
