"""The cluster map: collections, shard configurations and live workers, as one immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from shoal.core.collection import Collection, CollectionState
from shoal.core.errors import ErrorDetails, NotFound, Unavailable
from shoal.core.ids import ClusterId, CollectionId, Revision, WorkerId
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.rebalance import BalanceSettings, Drain, RebalanceEntry
from shoal.core.shard_config import ShardEntry

MOVES_FEATURE = "moves"
"""The word in a worker's registration for moves and hand-overs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerEntry:
    """A live worker's registration.

    address: host:port of its internal service; http_port: port of the same host that serves the unary calls over HTTP,
    0 for none; incarnation: id of its process, which its HTTP server checks; memory_budget_bytes: memory that its
    replicas and builds may use, 0 if unknown; file_budget: files that its replicas may have open, 0 if unknown;
    replica_files: files that each replica has open, 0 if unknown; disk_bytes: size of the disk of its data folder, 0 if
    unknown; features: words for what its program can do beyond the first version, see `can_move`; started_ms: when its
    process began, in ms since 1970, 0 if unknown; registration: modification revision of its key.
    """

    id: WorkerId
    address: str
    incarnation: str
    pid: int
    node: str
    zone: str
    registration: Revision
    memory_budget_bytes: int = 0
    file_budget: int = 0
    replica_files: int = 0
    http_port: int = 0
    disk_bytes: int = 0
    features: frozenset[str] = frozenset()
    started_ms: int = 0

    @property
    def can_move(self) -> bool:
        """Whether its program keeps moves and successors in the configurations that it swaps."""
        return MOVES_FEATURE in self.features

    @property
    def http_address(self) -> str:
        """Return host:port of its HTTP port, "" for none."""
        return f"{self.address.rpartition(':')[0]}:{self.http_port}" if self.http_port else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaderEntry:
    """The leading coordinator.

    address: of its internal service; created: creation revision of its key, which proves its leadership.
    """

    address: str
    created: Revision


@dataclass(frozen=True, kw_only=True)
class ClusterMap:
    """All configuration, as of `revision` of the store.

    drains: workers that are to hold nothing, or only to lead nothing; forgotten: workers that will not return, with the
    modification revisions of their keys; rebalance: the newest plan that was applied, running or ended.
    """

    revision: Revision = Revision(0)
    cluster: ClusterId | None = None
    leader: LeaderEntry | None = None
    workers: Mapping[WorkerId, WorkerEntry] = field(default_factory=lambda: MappingProxyType({}))
    collections: CollectionTable = field(default_factory=CollectionTable)
    shards: ShardTable = field(default_factory=ShardTable)
    drains: Mapping[WorkerId, Drain] = field(default_factory=lambda: MappingProxyType({}))
    forgotten: Mapping[WorkerId, Revision] = field(default_factory=lambda: MappingProxyType({}))
    rebalance: RebalanceEntry | None = None
    balance: BalanceSettings = field(default_factory=BalanceSettings)

    @property
    def by_name(self) -> Mapping[str, Collection]:
        """The collections that are not being dropped, by name."""
        return self.collections.by_name

    def collection(self, name: str) -> Collection:
        """Return the usable collection with this name. Raises NotFound, or Unavailable while it is being created."""
        found = self.by_name.get(name)
        if found is None:
            known = ", ".join(sorted(self.by_name)[:10]) or "none"
            raise NotFound(f"collection {name!r} does not exist (there are: {known})", ErrorDetails(field="collection"))
        if found.state is CollectionState.CREATING:
            raise Unavailable(f"collection {name!r} is still being created", ErrorDetails(field="collection"))
        return found

    def shards_of(self, collection: CollectionId) -> tuple[ShardEntry, ...]:
        """Return the shards of a collection, in the order of their numbers."""
        return self.shards.of_collection(collection)
