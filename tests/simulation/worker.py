"""A shard worker: its disk, which outlives it, and in each life the product's membership, assignments and replicas."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from shoal.core.cluster_map import MOVES_FEATURE, ClusterMap, WorkerEntry
from shoal.core.collection import CollectionSpec
from shoal.core.errors import NotFound, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, RequestId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_calls import ReadTerms, ReplicaStatus, SnapshotProgress, WorkerStatus
from shoal.shard_worker.hosting.assignments import Assignments
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.hosting.host import Host
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.logic.replication.append import Append
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.resources.open_stores import OpenStores, StoreUse
from shoal.shard_worker.snapshots.fetch import SnapshotFetch
from shoal.shard_worker.storage.folders.snapshot_manifest import STORE_FILE, SnapshotFile
from tests.simulation.disk import ReplicaDisk, WorkerDisk
from tests.simulation.etcd import KEYS, Follower
from tests.simulation.folders import PinnedStore, SimDownloads, SimFolders
from tests.simulation.older_map import OlderMaps
from tests.simulation.peers import SimPeers
from tests.simulation.replica import Replica
from tests.simulation.scheduler import Resume
from tests.simulation.sim_store import SimStore
from tests.simulation.virtual_loop import TICKS_PER_TTL, VirtualThreads

if TYPE_CHECKING:
    from tests.simulation.world import World

TTL_S = 5
SPACE_EVERY_S = 1.0
MOST_PIECES = 20
MOST_OPEN, IDLE_CLOSE_S = 2, 0.02
"""Small, so that the files of replicas are often closed and opened again."""
BUILDS_S = (0.0, 0.0, 4.0)
"""For how long the indexes of a process are built after its start, at most; one of these, at random."""


class Worker(Follower):
    """One worker. `boot` begins a life, `crash` ends it.

    moves: whether its program knows moves and hand-overs; an older one neither sees nor keeps them. builds_until: until
    when it reports index builds.
    """

    def __init__(self, world: World, name: str, zone: str) -> None:
        super().__init__(world.scheduler, name, rate=1.0 + world.scheduler.random.uniform(-0.024, 0.024))
        self._world, self.me, self._zone = world, WorkerId(name), zone
        self.disk = WorkerDisk(replay_bytes=world.replay_bytes)
        self.replicas: dict[ShardId, Replica] = {}
        self.moves, self.builds_until = True, 0.0

    def boot(self) -> None:
        """Start the process: connect its parts as the product's WorkerRole does."""
        self.start()
        self._loop = loop = self._world.new_loop(self)
        self._pins: set[str] = set()
        self._pinned = 0
        self._older = None if self.moves else OlderMaps()
        self.builds_until = self.scheduler.now + self.scheduler.random.choice(BUILDS_S) * self.scheduler.random.random()
        self.replicas = {}
        self._host = Host(open=cast("dict[ShardId, Any]", self.replicas))
        store = SimStore(self._world.etcd, self, loop)
        swaps = ConfigSwaps(store=store, keys=KEYS, me=self.me)
        self._peers = SimPeers(self, loop, self._world.network, self._world.workers, swaps, lambda: self.observer.map)
        self.observer = self._world.etcd.observe(self, lambda _: self._on_change())
        self._membership = Membership(
            store=store,
            keys=KEYS,
            me=self._entry(),
            lease_ttl_s=TTL_S,
            changed=self._on_change,
            clock=self.clock,
            threads=VirtualThreads(self),
            ticks_per_ttl=TICKS_PER_TTL,
        )
        stores = OpenStores(most=MOST_OPEN, idle_s=IDLE_CLOSE_S, clock=self.clock)
        self._downloads = SimDownloads(self, self.disk)
        fetch = SnapshotFetch(peers=self._peers, downloads=self._downloads)
        self._assignments = Assignments(
            host=self._host,
            swaps=swaps,
            me=self.me,
            membership=self._membership,
            folders=cast("Any", SimFolders(self, self.disk, self, stores, self._open)),
            snapshots=cast("Any", fetch),
            new_id=lambda: self._world.new_replica_id(self.name),
        )
        loop.spawn(self._membership.run())
        loop.spawn(self._assignments.run())
        loop.spawn(stores.run())
        loop.call_soon(self._watch_space)

    def crash(self, *, power: bool) -> None:
        """End the process; a part of the pending disk work is still done. power: unflushed data is lost, too."""
        for replica in self.replicas.values():
            replica.crash()
        for disk in self.disk.folders.values():
            if power:
                disk.lose_power()
        self.kill()

    def has_failed(self) -> bool:
        """Return whether a replica here failed in this process."""
        broken = any(each.broke for each in self._host.failed.values())
        return broken or any(replica.failure is not None for replica in self.replicas.values())

    def _on_change(self) -> None:
        newest: ClusterMap = self.observer.map if self._older is None else self._older.seen(self.observer.map)
        self._membership.see(newest.workers.get(self.me))
        self._assignments.see_map(newest)

    def _watch_space(self) -> None:
        self._assignments.tell_space("disk full" if self.disk.full else None)
        self._loop.call_later(SPACE_EVERY_S, self._watch_space)

    def _open(self, disk: ReplicaDisk, spec: CollectionSpec, use: StoreUse) -> Replica:
        return Replica(
            process=self,
            disk=disk,
            worker_disk=self.disk,
            spec=spec,
            peers=self._peers,
            use=use,
            lease_held=self._membership.held_now,
            changed=partial(self._assignments.look_at, disk.shard),
            watcher=self._world.watcher,
        )

    def _entry(self) -> WorkerEntry:
        incarnation = f"{self.me}-{self.life}"
        return WorkerEntry(
            id=self.me,
            address=self.me,
            incarnation=incarnation,
            pid=1,
            node=self.me,
            zone=self._zone,
            registration=Revision(0),
            features=frozenset({MOVES_FEATURE} if self.moves else ()),
        )

    # What its folders tell

    def created(self, disk: ReplicaDisk) -> None:
        """Note that a folder was made."""
        self._world.holdings.made(disk)

    def installed(self, disk: ReplicaDisk) -> None:
        """Note that a snapshot replaced the content of a folder."""
        self._world.counts["snapshots"] += 1
        self._world.configurations.check_member(disk.replica, "it took a snapshot")

    def dropped(self, disk: ReplicaDisk) -> None:
        """Note that a folder was deleted because of its tombstone."""
        self._world.holdings.dropped(disk, self._world.etcd.map, self._world.committed)

    # What other processes ask

    def take_append(self, append: Append, timeout_s: float, answer: Resume) -> None:
        """Take an append of a primary."""
        replica = self._find(append.shard, answer)
        if replica is not None:
            self._loop.spawn(replica.append(append, timeout_s), answer)

    def begin_snapshot(self, shard: ShardId, replica: ReplicaId, answer: Resume) -> None:
        """Answer with a PinnedStore of a replica."""
        found = self._find(shard, answer)
        if found is None:
            return
        try:
            if found.id != replica:
                raise Unavailable(f"replica {replica} of shard {shard} is not here")
            store = found.snapshot()
        except ShoalError as error:
            answer(error)
            return
        self._pinned += 1
        self._world.counts["snapshots instead of the whole log"] += self.disk.folders[shard, replica].base[1] == 0
        name, pieces = f"{self.me}-{self.life}-{self._pinned}", self.scheduler.random.randrange(1, MOST_PIECES)
        self._pins.add(name)
        files = (SnapshotFile(name=STORE_FILE, size_bytes=pieces, sha256=""),)
        answer(PinnedStore(snapshot=name, term=Term(store.term), seq=Seq(store.applied), files=files, store=store))

    def read_snapshot(self, snapshot: str, answer: Resume) -> None:
        """Answer with a piece of a snapshot."""
        answer(b"." if snapshot in self._pins else NotFound(f"snapshot {snapshot} is not pinned here"))

    def end_snapshot(self, snapshot: str, answer: Resume) -> None:
        """Release a snapshot."""
        self._pins.discard(snapshot)
        answer(None)

    def log_ends(self, shards: tuple[ShardId, ...], answer: Resume) -> None:
        """Answer with the ends of the logs of open replicas."""
        found = [self.replicas[shard] for shard in shards if shard in self.replicas]
        ends = {each.id: LogEnd(term=each.machine.log.last_term, seq=each.machine.log.last_seq) for each in found if each.failure is None}
        answer(ends)

    def status(self, answer: Resume) -> None:
        """Answer with the sizes, the builds and the snapshots under way of the open replicas."""
        builds = int(self.scheduler.now < self.builds_until)
        replicas = {str(shard): self._replica_status(replica, builds) for shard, replica in self.replicas.items()}
        failed = {str(shard): "failed" for shard in self._host.failed}
        answer(WorkerStatus(memory_bytes=1 << 20, failed=failed, replicas=replicas, memory_budget_bytes=1 << 30))

    def _replica_status(self, replica: Replica, builds: int) -> ReplicaStatus:
        come = self._downloads.progress((replica.shard, replica.id))
        return ReplicaStatus(
            replica=replica.id,
            role=replica.machine.role_name,
            applied_seq=Seq(replica.machine.applied_seq),
            memory_bytes=1 << 10,
            disk_bytes=1 << 12,
            builds_pending=builds,
            snapshot=None if come is None else SnapshotProgress(done_bytes=come[0], total_bytes=come[1], bytes_per_s=1.0),
        )

    def write(
        self, shard: ShardId, epoch: Revision, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float, answer: Resume
    ) -> None:
        """Write for a router."""
        replica = self._find(shard, answer, writing=True)
        if replica is not None:
            self._loop.spawn(replica.write(request_id, kind, body, timeout_s), answer)

    def read(self, shard: ShardId, key: str, terms: ReadTerms, timeout_s: float, answer: Resume) -> None:
        """Read for a router."""
        replica = self._find(shard, answer)
        if replica is not None:
            replica.read(key, terms, answer)

    def _find(self, shard: ShardId, answer: Resume, *, writing: bool = False) -> Replica | None:
        try:
            return cast("Replica", self._host.replica(shard, writing=writing))
        except ShoalError as error:
            answer(error)
            return None
