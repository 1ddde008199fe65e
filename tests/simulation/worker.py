"""A shard worker: its disk, which outlives it, and in each life a registration, a view of the map and its replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.errors import ErrorDetails, Unavailable
from shoal.core.ids import ReplicaId, RequestId, Revision, ShardId, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_calls import ReadTerms
from shoal.core.shard_config import ShardConfig, ShardEntry
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.logic.hosting import HostStep, TellConfig, TellSpec
from shoal.shard_worker.logic.replication.append import Append
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.store.codecs import encode_shard
from shoal.store.interface import Committed, LeaseNotFound, Put, Transaction, Unchanged
from tests.simulation.disk import ReplicaDisk, WorkerDisk
from tests.simulation.etcd import KEYS, Observer
from tests.simulation.hosting import Hosting
from tests.simulation.network import NobodyThere
from tests.simulation.scheduler import Process, Resume, Steps, Wait
from tests.simulation.sim_store import SimStore
from tests.simulation.virtual_loop import VirtualThreads

if TYPE_CHECKING:
    from tests.simulation.world import World

TTL_S = 5
STORE_TIMEOUT_S = 5.0
SNAPSHOT_TIMEOUT_S = 10.0
PIECE_S, MOST_PIECES = 0.2, 20


class Worker(Process):
    """One worker. `boot` begins a life, `crash` ends it."""

    def __init__(self, world: World, name: str, zone: str) -> None:
        super().__init__(world.scheduler, name, rate=1.0 + world.scheduler.random.uniform(-0.024, 0.024))
        self._world, self.me, self._zone = world, WorkerId(name), zone
        self.disk = WorkerDisk()
        self.hosting: Hosting
        self.membership: Membership
        self.observer: Observer

    def boot(self) -> None:
        """Start the process."""
        self.start()
        self.hosting = Hosting(process=self, me=self.me, disk=self.disk, host=self, watcher=self._world.watcher)
        loop = self._world.new_loop(self)
        self.membership = Membership(
            store=SimStore(self._world.etcd, self, loop),
            keys=KEYS,
            me=self._entry(),
            lease_ttl_s=TTL_S,
            changed=self.hosting.wake,
            clock=self.clock,
            threads=VirtualThreads(self),
        )
        self.observer = self._world.etcd.observe(self, self._see_map)
        loop.spawn(self.membership.run())

    def crash(self, *, power: bool) -> None:
        """The process dies; of what the disks were doing a part is done. power: what was not flushed is gone, too."""
        random = self.scheduler.random
        for replica in self.hosting.open.values():
            replica.crash(random.random())
        for disk in self.disk.folders.values():
            if power:
                disk.lose_power()
        self.kill()

    def _see_map(self, newest: ClusterMap) -> None:
        self.membership.see(newest.workers.get(self.me))
        self.hosting.see_map(newest)

    def _entry(self) -> WorkerEntry:
        incarnation = f"{self.me}-{self.life}"
        return WorkerEntry(
            id=self.me, address=self.me, incarnation=incarnation, pid=1, node=self.me, zone=self._zone, registration=Revision(0)
        )

    # What replicas and hosting reach

    @property
    def registration(self) -> Revision:
        """As this worker knows it."""
        return self.membership.registration

    def lease_held(self, registration: Revision) -> bool:
        """Whether the lease is surely held now."""
        return self.membership.held_now(registration)

    def changed(self) -> None:
        """A replica has failed, or fallen behind."""
        self.hosting.wake()

    def new_id(self) -> ReplicaId:
        """An id that was never used."""
        return self._world.new_replica_id(self.name)

    def created(self, disk: ReplicaDisk) -> None:
        """A folder was made."""
        self._world.holdings.made(disk)

    def installed(self, disk: ReplicaDisk) -> None:
        """A snapshot took the place of what a folder held."""
        self._world.counts["snapshots"] += 1
        self._world.configurations.check_member(disk.replica, "it took a snapshot")

    def dropped(self, disk: ReplicaDisk) -> None:
        """A folder was deleted, on its tombstone."""
        self._world.holdings.dropped(disk, self._world.etcd.map)

    def say(self, step: HostStep) -> None:
        """Hosting begins a step."""
        if self._world.lines is not None and not isinstance(step, TellConfig | TellSpec):
            self._world.trace(f"{self.name} {type(step).__name__} {getattr(step, 'replica', '')}")

    def send_append(self, worker: str, append: Append, timeout_s: float) -> Wait:
        """To the worker of a member."""
        target = self._world.workers[worker]
        return self._world.network.call(self, target, lambda answer: target.take_append(append, timeout_s, answer), timeout_s)

    def swap(self, config: ShardConfig, base: Revision, registration: Revision) -> Steps:
        """As ConfigSwaps.swap."""
        key = KEYS.shard(config.shard)
        transaction = Transaction(
            compares=(Unchanged(key=key, mod_revision=base), Unchanged(key=KEYS.worker(self.me), mod_revision=registration)),
            then=(Put(key=key, value=encode_shard(config)),),
        )
        try:
            outcome = yield self._world.etcd.commit(self, transaction, STORE_TIMEOUT_S)
        except (NobodyThere, LeaseNotFound):
            return SwapOutcome.NOT_DONE, Revision(0)
        except AssertionError:
            raise
        except Exception:
            return SwapOutcome.UNKNOWN, Revision(0)
        return (SwapOutcome.DONE, outcome.revision) if isinstance(outcome, Committed) else (SwapOutcome.REJECTED, Revision(0))

    def fetch_snapshot(self, entry: ShardEntry, primary: ReplicaId, wanted: Callable[[], bool]) -> Steps:
        """The applied state of the primary, and the term it knows, piece after piece; None when it is not wanted any
        more.
        """
        home = entry.config.worker_of.get(primary)
        if home is None:
            raise Unavailable(f"replica {primary} is nowhere")
        target, shard = self._world.workers[home], entry.config.shard
        pinned = yield self._world.network.call(self, target, lambda answer: target.pin(shard, primary, answer), SNAPSHOT_TIMEOUT_S)
        for _ in range(self.scheduler.random.randrange(1, MOST_PIECES)):
            yield self.sleep(PIECE_S)
            if not wanted():
                return None
            yield self._world.network.call(self, target, lambda answer: answer(None), SNAPSHOT_TIMEOUT_S)
        return pinned

    def has_failed(self) -> bool:
        """Whether a replica here broke in this process."""
        return any(replica.failure is not None for replica in self.hosting.open.values())

    # What others ask

    def take_append(self, append: Append, timeout_s: float, answer: Resume) -> None:
        """From a primary."""
        replica = self.hosting.open.get(append.shard)
        if replica is None:
            answer(Unavailable("not open here"))
        else:
            replica.append(append, timeout_s, answer)

    def pin(self, shard: ShardId, replica: ReplicaId, answer: Resume) -> None:
        """A snapshot of a replica."""
        found = self.hosting.open.get(shard)
        if found is None or found.id != replica or found.failure is not None:
            answer(Unavailable("not open here"))
        else:
            answer((found.disk.store.copy(), found.machine.known_term))

    def log_ends(self, shards: tuple[ShardId, ...], answer: Resume) -> None:
        """Where the logs of open replicas end."""
        found = [self.hosting.open[shard] for shard in shards if shard in self.hosting.open]
        answer({each.id: LogEnd(term=each.machine.log.last_term, seq=each.machine.last_seq) for each in found if each.failure is None})

    def write(
        self, shard: ShardId, epoch: Revision, request_id: RequestId, kind: RecordKind, body: bytes, timeout_s: float, answer: Resume
    ) -> None:
        """From a router."""
        replica = self.hosting.open.get(shard)
        if replica is None:
            answer(Unavailable("not open here", ErrorDetails(applied={str(shard): "no"})))
        else:
            replica.write(request_id, kind, body, timeout_s, answer)

    def read(self, shard: ShardId, key: str, terms: ReadTerms, timeout_s: float, answer: Resume) -> None:
        """From a router."""
        replica = self.hosting.open.get(shard)
        if replica is None:
            answer(Unavailable("not open here"))
        else:
            replica.read(key, terms, timeout_s, answer)
