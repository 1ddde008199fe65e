"""A worker's replicas: carries out what the product's hosting decides, in the order in which
`shoal.shard_worker.hosting.assignments` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.errors import Unavailable
from shoal.core.ids import ReplicaId, Revision, Seq, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, departed, renamed_learner
from shoal.shard_worker.logic.hosting import (
    CloseReplica,
    ConfirmReplica,
    CreateReplica,
    DropReplica,
    HostStep,
    HostView,
    JoinAnew,
    Local,
    LocalReplica,
    OpenReplica,
    RaiseTerm,
    ReopenReplica,
    ReportMissing,
    Resign,
    TakeSnapshot,
    TellConfig,
    TellSpec,
    next_steps,
    next_term,
)
from shoal.shard_worker.logic.replication.events import DISK_LIMIT
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotManifest, may_hold_acknowledged
from tests.simulation.disk import ReplicaDisk, Store, WorkerDisk
from tests.simulation.replica import Outside, Replica, Watcher
from tests.simulation.scheduler import Process, Resume, Steps, Wait

LOOK_AGAIN_S = 1.0
REOPEN_AFTER_S = 1.0
OPEN_S = (0.01, 0.3)


class Host(Outside, Protocol):
    """What hosting reaches beyond its worker."""

    registration: Revision

    def fetch_snapshot(self, entry: ShardEntry, primary: ReplicaId, wanted: Callable[[], bool]) -> Steps: ...
    def new_id(self) -> ReplicaId: ...
    def created(self, disk: ReplicaDisk) -> None: ...
    def dropped(self, disk: ReplicaDisk) -> None: ...
    def installed(self, disk: ReplicaDisk) -> None: ...
    def say(self, step: HostStep) -> None: ...


class Hosting:
    """The replicas of one worker in one life of its process."""

    def __init__(self, *, process: Process, me: WorkerId, disk: WorkerDisk, host: Host, watcher: Watcher) -> None:
        self._process, self._me, self._disk, self._host, self._watcher = process, me, disk, host, watcher
        self.map = ClusterMap()
        self.open: dict[ShardId, Replica] = {}
        self.failed: dict[ShardId, tuple[ReplicaId, Local]] = {}
        self._told: dict[ShardId, tuple[Revision, Revision]] = {}
        self._busy: set[ShardId] = set()
        self._swapped: set[ShardId] = set()
        self._newer: list[Resume] = []
        self._no_space: str | None = None
        self._looking = False
        self._look_often()

    def see_map(self, newest: ClusterMap) -> None:
        """Take a newer map."""
        self.map = newest
        newer, self._newer = self._newer, []
        for resume in newer:
            resume(None)
        self.wake()

    def wake(self) -> None:
        """Look again, soon."""
        if not self._looking:
            self._looking = True
            self._process.after(0.0, self._look)

    def tell_space(self) -> None:
        """Look at the disk."""
        reason = "disk full" if self._disk.full else None
        if reason != self._no_space:
            self._no_space = reason
            for replica in self.open.values():
                replica.tell_space(reason)

    def _look_often(self) -> None:
        self.tell_space()
        self.wake()
        self._process.after(LOOK_AGAIN_S, self._look_often)

    def _look(self) -> None:
        self._looking = False
        for step in next_steps(self._view()):
            self._begin(step)

    def _view(self) -> HostView:
        local: dict[ShardId, LocalReplica] = {}
        for shard, replica in self.open.items():
            epoch, registration = self._told.get(shard, (Revision(0), Revision(0)))
            local[shard] = LocalReplica(
                replica=replica.id,
                state=_state_of(replica),
                epoch=epoch,
                registration=registration,
                spec=replica.spec,
                idle_term=replica.idle_term,
                behind=replica.behind,
            )
        for shard, (failed, state) in self.failed.items():
            local[shard] = LocalReplica(replica=failed, state=state, epoch=Revision(0), registration=Revision(0))
        return HostView(
            map=self.map,
            me=self._me,
            registration=self._host.registration,
            local=local,
            folders=frozenset(self._disk.folders),
            busy=frozenset(self._busy),
            roomy=self._no_space is None,
        )

    def _begin(self, step: HostStep) -> None:
        self._host.say(step)
        match step:
            case TellConfig(entry=entry):
                self._tell(entry)
            case TellSpec(shard=shard, spec=spec):
                self.open[shard].spec = spec
                self.wake()
            case ReportMissing(entry=entry, replica=replica):
                self.failed[entry.config.shard] = (replica, Local.FAILED)
                self.wake()
            case CloseReplica(shard=shard):
                self._start(shard, self._close(shard))
            case _:
                self._start(step.entry.config.shard, self._steps_of(step))

    def _steps_of(self, step: HostStep) -> Steps:
        match step:
            case CreateReplica(entry=entry, replica=replica, collection=collection):
                return self._create(entry, replica, collection.spec)
            case JoinAnew(entry=entry, replica=replica, collection=collection, aside=aside):
                return self._join_anew(entry, replica, collection.spec, aside)
            case TakeSnapshot(entry=entry, replica=replica, primary=primary, collection=collection):
                return self._take_snapshot(entry, replica, primary, collection.spec)
            case Resign(entry=entry, config=config):
                return self._swap(config, entry.epoch)
            case OpenReplica(entry=entry, replica=replica, collection=collection):
                return self._open(entry.config.shard, replica, collection.spec)
            case ReopenReplica(entry=entry, replica=replica, collection=collection):
                return self._reopen(entry.config.shard, replica, collection.spec)
            case RaiseTerm(entry=entry):
                return self._swap(next_term(entry.config), entry.epoch)
            case ConfirmReplica(entry=entry):
                return self._activate(entry.config, entry.epoch)
            case DropReplica(entry=entry, replica=replica):
                return self._drop(entry, replica)
        raise AssertionError(f"unknown step {step}")

    def _start(self, shard: ShardId, work: Steps) -> None:
        self._busy.add(shard)
        self._process.spawn(self._guarded(shard, work))

    def _guarded(self, shard: ShardId, work: Steps) -> Steps:
        try:
            yield from work
            if shard in self._swapped:
                yield self._newer_or(LOOK_AGAIN_S)
        except AssertionError:
            raise
        except Exception:
            yield self._process.sleep(LOOK_AGAIN_S)
        self._swapped.discard(shard)
        self._busy.discard(shard)
        self.wake()

    def _newer_or(self, seconds: float) -> Wait:
        def begin(resume: Resume) -> None:
            done = False

            def once(_: Any) -> None:
                nonlocal done
                if not done:
                    done = True
                    resume(None)

            self._newer.append(once)
            self._process.after(seconds, lambda: once(None))

        return begin

    def _tell(self, entry: ShardEntry) -> None:
        shard = entry.config.shard
        self._told[shard] = (entry.epoch, self._host.registration)
        self.open[shard].tell(entry.config, entry.epoch, self._host.registration)
        self.wake()

    def _create(self, entry: ShardEntry, replica: ReplicaId, spec: CollectionSpec) -> Steps:
        claimed = yield from self._swap(entry.config, entry.epoch)
        if claimed is None:
            return
        self._make_folder(entry.config.shard, replica)
        yield from self._open(entry.config.shard, replica, spec)
        if entry.config.shard in self.open:
            yield from self._activate(entry.config, claimed)

    def _make_folder(self, shard: ShardId, replica: ReplicaId) -> None:
        disk = ReplicaDisk(shard, replica)
        self._disk.folders[shard, replica] = disk
        self._host.created(disk)

    def _activate(self, config: ShardConfig, epoch: Revision) -> Steps:
        return (yield from self._swap(dataclasses.replace(config, state=ShardState.ACTIVE), epoch))

    def _join_anew(self, entry: ShardEntry, replica: ReplicaId, spec: CollectionSpec, aside: bool) -> Steps:
        shard, fresh = entry.config.shard, self._host.new_id()
        if (yield from self._swap(renamed_learner(entry.config, replica, fresh), entry.epoch)) is None:
            return
        yield from self._close(shard)
        if aside:
            self._disk.aside[shard, replica] = self._disk.folders.pop((shard, replica))
        self._make_folder(shard, fresh)
        yield from self._open(shard, fresh, spec)

    def _take_snapshot(self, entry: ShardEntry, replica: ReplicaId, primary: ReplicaId, spec: CollectionSpec) -> Steps:
        shard = entry.config.shard
        learner = self.open[shard]
        pinned = yield from self._host.fetch_snapshot(entry, primary, lambda: learner.behind == primary)
        if pinned is None:
            return
        yield from self._close(shard)
        folder, (store, known_term) = self._disk.folders[shard, replica], pinned
        if not lacks_something(folder, store):
            folder.install(store, known_term)
            self._host.installed(folder)
        yield from self._open(shard, replica, spec)

    def _open(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> Steps:
        low, high = OPEN_S
        yield self._process.sleep(self._process.scheduler.random.uniform(low, high))
        disk = self._disk.folders.get((shard, replica))
        if disk is None or disk.damaged or not self._disk.opens:
            self.failed[shard] = (replica, Local.FULL if disk is not None and not disk.damaged else Local.FAILED)
            return
        opened = Replica(process=self._process, disk=disk, worker_disk=self._disk, outside=self._host, watcher=self._watcher, spec=spec)
        opened.tell_space(self._no_space)
        self.open[shard] = opened

    def _reopen(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> Steps:
        yield self._process.sleep(REOPEN_AFTER_S)
        if self._no_space is None:
            yield from self._close(shard)
            yield from self._open(shard, replica, spec)

    def _close(self, shard: ShardId) -> Steps:
        replica = self.open.pop(shard, None)
        self.failed.pop(shard, None)
        self._told.pop(shard, None)
        if replica is not None:
            yield replica.close()

    def _drop(self, entry: ShardEntry, replica: ReplicaId) -> Steps:
        shard = entry.config.shard
        yield from self._close(shard)
        collection = self.map.collections.get(shard.collection)
        for key in sorted(self._disk.folders):
            # Of a collection that is dropped, those too that a swap whose answer was lost has left without a name.
            if key == (shard, replica) or (collection is not None and collection.state is CollectionState.DROPPING):
                self._host.dropped(self._disk.folders.pop(key))
        yield from self._swap(departed(entry.config, replica), entry.epoch)

    def _swap(self, config: ShardConfig, epoch: Revision) -> Steps:
        outcome, revision = yield from self._host.swap(config, epoch, self._host.registration)
        self._swapped.add(config.shard)
        return revision if outcome is SwapOutcome.DONE else None


def lacks_something(folder: ReplicaDisk, store: Store) -> bool:
    """Whether a snapshot lacks what its replica, which may have caught up meanwhile, has promised: as
    SnapshotDownload.finish.
    """
    manifest = SnapshotManifest(snapshot="", term=Term(store.term), seq=Seq(store.applied), files=())
    last = Term(folder.last_term), Seq(folder.last_seq)
    return folder.store.applied > store.applied or may_hold_acknowledged(last, manifest)


def _state_of(replica: Replica) -> Local:
    if replica.failure is None:
        return Local.OPEN
    full = isinstance(replica.failure, Unavailable) and replica.failure.details.limit == DISK_LIMIT
    return Local.FULL if full else Local.FAILED
