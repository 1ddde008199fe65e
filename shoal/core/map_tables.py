"""The tables of the cluster map, with their indexes: shards by collection and by worker, collections by name and state.

A table is never changed. `after` returns the next one and copies only the parts that a change touches, so a change
costs about the same however many shards there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar, overload

from shoal.core.collection import Collection, CollectionState
from shoal.core.ids import CollectionId, ShardId, WorkerId
from shoal.core.shard_config import ShardEntry

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

_NO_SHARDS: Mapping[ShardId, ShardEntry] = MappingProxyType({})
_NO_COLLECTIONS: Mapping[CollectionId, Collection] = MappingProxyType({})


class ShardTable(Mapping[ShardId, ShardEntry]):
    """The entry of every shard, by collection and number, and by the workers of its replicas."""

    __slots__ = ("_by_collection", "_by_worker", "_count")

    def __init__(self, entries: Iterable[ShardEntry] = ()) -> None:
        self._by_collection: dict[CollectionId, dict[int, ShardEntry]] = {}
        self._by_worker: dict[WorkerId, dict[ShardId, ShardEntry]] = {}
        self._count = 0
        self._take({entry.config.shard: entry for entry in entries})

    def __getitem__(self, shard: ShardId) -> ShardEntry:
        return self._by_collection[shard.collection][shard.number]

    @overload
    def get(self, shard: ShardId, /) -> ShardEntry | None: ...
    @overload
    def get(self, shard: ShardId, /, default: ShardEntry | T) -> ShardEntry | T: ...
    def get(self, shard: ShardId, /, default: ShardEntry | T | None = None) -> ShardEntry | T | None:
        """Return the entry of a shard, `default` if it has none."""
        numbered = self._by_collection.get(shard.collection)
        return default if numbered is None else numbered.get(shard.number, default)

    def __contains__(self, shard: object) -> bool:
        return isinstance(shard, ShardId) and self.get(shard) is not None

    def __iter__(self) -> Iterator[ShardId]:
        return (ShardId(collection, number) for collection, numbered in self._by_collection.items() for number in numbered)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"ShardTable({dict(self)!r})"

    @property
    def workers(self) -> Iterable[WorkerId]:
        """The workers that the configurations name, live or not."""
        return self._by_worker.keys()

    def of_collection(self, collection: CollectionId) -> tuple[ShardEntry, ...]:
        """Return the entries of a collection's shards, in the order of their numbers."""
        return tuple(self._by_collection.get(collection, {}).values())

    def size_of(self, collection: CollectionId) -> int:
        """Return how many shards of a collection there are."""
        return len(self._by_collection.get(collection, ()))

    def of_worker(self, worker: WorkerId) -> Mapping[ShardId, ShardEntry]:
        """Return the entries of the shards that have a replica on `worker`.

        It is the same object in the next table unless one of these entries has changed.
        """
        return self._by_worker.get(worker, _NO_SHARDS)

    def after(self, changes: Mapping[ShardId, ShardEntry | None]) -> ShardTable:
        """Return the table with these entries; None: the shard is gone."""
        made = ShardTable.__new__(ShardTable)
        made._by_collection, made._by_worker, made._count = dict(self._by_collection), dict(self._by_worker), self._count
        made._take(changes)
        return made

    def changed_since(self, before: ShardTable) -> Iterator[ShardId]:
        """Yield the shards whose entry is another object than in an earlier table, or is in one of both only."""
        for collection in differing(before._by_collection, self._by_collection):
            numbers = differing(before._by_collection.get(collection, {}), self._by_collection.get(collection, {}))
            yield from (ShardId(collection, number) for number in numbers)

    def _take(self, changes: Mapping[ShardId, ShardEntry | None]) -> None:
        """Apply changes. The outer tables are this table's own; an inner one is copied before it is changed."""
        numbered_of: dict[CollectionId, dict[int, ShardEntry]] = {}
        placed_on: dict[WorkerId, dict[ShardId, ShardEntry]] = {}
        for shard, entry in changes.items():
            numbered = numbered_of.get(shard.collection)
            if numbered is None:
                numbered = numbered_of[shard.collection] = dict(self._by_collection.get(shard.collection, ()))
            before = numbered.get(shard.number)
            self._count += (entry is not None) - (before is not None)
            _put(numbered, shard.number, entry)
            homes = () if entry is None else entry.config.worker_of.values()
            for worker in {*homes, *(() if before is None else before.config.worker_of.values())}:
                placed = placed_on.get(worker)
                if placed is None:
                    placed = placed_on[worker] = dict(self._by_worker.get(worker, ()))
                _put(placed, shard, entry if worker in homes else None)
        for collection, numbered in numbered_of.items():
            _put(self._by_collection, collection, _in_order(numbered) or None)
        for worker, placed in placed_on.items():
            _put(self._by_worker, worker, placed or None)


class CollectionTable(Mapping[CollectionId, Collection]):
    """Every collection, by id, name and state."""

    __slots__ = ("_all", "_by_name", "_by_state")

    def __init__(self, collections: Iterable[Collection] = ()) -> None:
        self._all: dict[CollectionId, Collection] = {}
        self._by_name: dict[str, Collection] = {}
        self._by_state: dict[CollectionState, dict[CollectionId, Collection]] = {state: {} for state in CollectionState}
        self._take({each.id: each for each in collections})

    def __getitem__(self, collection: CollectionId) -> Collection:
        return self._all[collection]

    @overload
    def get(self, collection: CollectionId, /) -> Collection | None: ...
    @overload
    def get(self, collection: CollectionId, /, default: Collection | T) -> Collection | T: ...
    def get(self, collection: CollectionId, /, default: Collection | T | None = None) -> Collection | T | None:
        """Return a collection, `default` if there is none with this id."""
        return self._all.get(collection, default)

    def __contains__(self, collection: object) -> bool:
        return collection in self._all

    def __iter__(self) -> Iterator[CollectionId]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"CollectionTable({self._all!r})"

    @property
    def by_name(self) -> Mapping[str, Collection]:
        """The collections that are not being dropped, by name."""
        return self._by_name

    def in_state(self, state: CollectionState) -> Mapping[CollectionId, Collection]:
        """Return the collections in this state."""
        return self._by_state.get(state, _NO_COLLECTIONS)

    def after(self, changes: Mapping[CollectionId, Collection | None]) -> CollectionTable:
        """Return the table with these collections; None: the collection is gone."""
        made = CollectionTable.__new__(CollectionTable)
        made._all, made._by_name = dict(self._all), dict(self._by_name)
        made._by_state = {state: dict(collections) for state, collections in self._by_state.items()}
        made._take(changes)
        return made

    def changed_since(self, before: CollectionTable) -> Iterator[CollectionId]:
        """Yield the collections that are another object than in an earlier table, or are in one of both only."""
        return differing(before._all, self._all)

    def _take(self, changes: Mapping[CollectionId, Collection | None]) -> None:
        for id, collection in changes.items():
            before = self._all.get(id)
            if before is not None:
                self._by_state[before.state].pop(id)
                if self._by_name.get(before.spec.name) is before:
                    del self._by_name[before.spec.name]
            _put(self._all, id, collection)
            if collection is not None:
                self._by_state[collection.state][id] = collection
                if collection.state is not CollectionState.DROPPING:
                    self._by_name[collection.spec.name] = collection


def differing(before: Mapping[K, V], after: Mapping[K, V]) -> Iterator[K]:
    """Yield the keys whose value is another object in `after` than in `before`, and the keys that only one of them has.

    Values are compared by identity. It yields nothing, at once, if both are the same object.
    """
    if before is after:
        return
    for key, value in after.items():
        if before.get(key) is not value:
            yield key
    yield from (key for key in before if key not in after)


def _put(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _in_order(numbered: dict[int, ShardEntry]) -> dict[int, ShardEntry]:
    """Return the entries of a collection in the order of their numbers."""
    numbers = list(numbered)
    return numbered if all(map(int.__lt__, numbers, numbers[1:])) else dict(sorted(numbered.items()))
