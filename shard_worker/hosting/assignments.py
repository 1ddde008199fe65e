"""Carries out what logic.hosting decides: creates, opens, informs, closes and drops the replicas that the cluster map
assigns to this worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from shoal.core.cluster_map import ClusterMap
from shoal.core.collection import CollectionSpec, CollectionState
from shoal.core.errors import DataLoss, ErrorDetails, Internal, PreconditionFailed, ResourceExhausted, ShoalError, to_keep
from shoal.core.file_budget import OPEN_FILES_LIMIT
from shoal.core.ids import ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.map_changes import changed_shards_on
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState, departed, renamed_learner
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.logs import event
from shoal.shard_worker.hosting.config_swaps import NOBODY_ELSE, ConfigSwaps
from shoal.shard_worker.hosting.due_shards import DueShards, swapped
from shoal.shard_worker.hosting.folders import WorkerReplicaFolders
from shoal.shard_worker.hosting.hand_over_times import follows
from shoal.shard_worker.hosting.host import FailedReplica, Host
from shoal.shard_worker.hosting.local_states import state_of, state_of_unopened
from shoal.shard_worker.hosting.membership import Membership
from shoal.shard_worker.hosting.roomless_snapshots import RoomlessSnapshots
from shoal.shard_worker.logic.hosting import (
    CloseReplica,
    ConfirmReplica,
    CreateReplica,
    DropReplica,
    HandOver,
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
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.shard_worker.replica.replica import Replica
from shoal.shard_worker.storage.folders.snapshot_import import SnapshotDownload

log = logging.getLogger("shoal.worker.assignments")

LOOK_AGAIN_S = 1.0
"""Pause before a step that was not done is decided again."""

LOOK_AT_ALL_S = 30.0
"""Pause between two looks at all shards of this worker.

Whatever may bring a step is told, for the shard that it concerns: this look costs too much to be the way to notice it.
"""

REOPEN_AFTER_S = 1.0
"""Pause between a failed write without room and opening its replica again.

It is longer than the time between two measurements of the room, so the room is known by then.
"""


class Snapshots(Protocol):
    """Fetches snapshots of other workers' replicas: see SnapshotFetch."""

    async def fetch(self, entry: ShardEntry, replica: ReplicaId, primary: ReplicaId, still_wanted: Callable[[], bool]) -> SnapshotDownload:
        """Return a whole snapshot of `primary` for `replica`. Stops if it is no longer wanted. Raises ShoalErrors."""
        ...


class Assignments:
    """Keeps the host's replicas as the map says. Used on the event loop; call `see_map` any time while `run` works."""

    def __init__(
        self,
        *,
        host: Host,
        swaps: ConfigSwaps,
        me: WorkerId,
        membership: Membership,
        folders: WorkerReplicaFolders,
        snapshots: Snapshots,
        new_id: Callable[[], str],
    ) -> None:
        """new_id: returns a replica id that was never used."""
        self._host, self._swaps, self._me = host, swaps, me
        self._membership, self._folders, self._snapshots, self._new_id = membership, folders, snapshots, new_id
        self._map = ClusterMap()
        self._news = ChangeSignal()
        self._told: dict[ShardId, tuple[Revision, Revision]] = {}
        self._specs: dict[ShardId, CollectionSpec] = {}
        self._busy: dict[ShardId, asyncio.Task[None]] = {}
        self._no_space: str | None = None
        self._closing = asyncio.Event()
        self._due = DueShards()
        self._roomless = RoomlessSnapshots(host.unmade)

    def see_map(self, cluster_map: ClusterMap) -> None:
        """Take a newer map. Only the shards whose steps may differ with it are looked at."""
        before, self._map = self._map, cluster_map
        changed = changed_shards_on(self._me, before, cluster_map)
        if changed or self._due.are_all(self._membership.registration):
            self._look_soon(*changed)

    def look_at(self, shard: ShardId) -> None:
        """Look at a shard now: its replica has changed."""
        self._look_soon(shard)

    def wake(self) -> None:
        """Look at every shard now."""
        self._due.add_all()
        self._news.notify()

    async def run(self) -> None:
        """Decide and act until cancelled. Looks at a shard when it may need a step, and every LOOK_AT_ALL_S at all."""
        loop = asyncio.get_running_loop()
        all_due_at, again_at = loop.time() + LOOK_AT_ALL_S, loop.time() + LOOK_AGAIN_S
        while True:
            heard = self._news.count
            self._look()
            await self._news.wait(heard, max(0.0, min(all_due_at, again_at) - loop.time()))
            if loop.time() >= again_at:
                self._due.add_held()
                again_at = loop.time() + LOOK_AGAIN_S
            if loop.time() >= all_due_at:
                self._due.add_all()
                all_due_at = loop.time() + LOOK_AT_ALL_S

    def tell_space(self, reason: str | None) -> None:
        """Pass on whether there is room on the disk to every replica. reason: why there is none, else None."""
        if reason == self._no_space:
            return
        self._no_space = reason
        for replica in self._host.open.values():
            replica.tell_space(reason)
        self.wake()

    async def close(self) -> None:
        """Let the steps under way end, then close every replica. Call it after `run` has ended.

        Afterwards no thread uses the data folder. Steps are awaited, not cancelled: a thread that opens a replica
        cannot be stopped, and would go on in a folder whose lock is released.
        """
        self._closing.set()
        self._host.hand_overs.close()
        while self._busy:
            await asyncio.wait(self._busy.values())
        closed = await asyncio.gather(*(replica.close() for replica in self._host.open.values()), return_exceptions=True)
        for shard, outcome in zip(self._host.open, closed, strict=True):
            if isinstance(outcome, BaseException):
                log.error(event("replica_not_closed", shard=shard, reason=outcome))
            self._host.memory.close(shard)
        self._host.open.clear()

    def _look_soon(self, *shards: ShardId) -> None:
        self._due.add(shards)
        self._news.notify()

    def _look(self) -> None:
        """Begin the steps of the shards that are due."""
        registration, now = self._membership.registration, asyncio.get_running_loop().time()
        every = self._mine() if self._due.are_all(registration) else ()
        due = {shard for shard in self._due.take(every, self._map, registration, now) if shard not in self._busy}
        if not due:
            return
        for step in next_steps(self._view(due), due):
            self._begin(step)
        self._shut_failed(due)

    def _mine(self) -> Iterable[ShardId]:
        return itertools.chain(self._map.shards.of_worker(self._me), self._host.open, self._host.failed)

    def _view(self, shards: set[ShardId]) -> HostView:
        """Return what the decision about these shards depends on."""
        return HostView(
            map=self._map,
            me=self._me,
            registration=self._membership.registration,
            local={shard: known for shard in shards if (known := self._local(shard)) is not None},
            folders=self._folders.existing(),
            busy=frozenset(),
            roomy=self._no_space is None,
        )

    def _local(self, shard: ShardId) -> LocalReplica | None:
        failed = self._host.failed.get(shard)
        if failed is not None:
            state = state_of_unopened(failed)
            return LocalReplica(replica=failed.replica, state=state, epoch=Revision(0), registration=Revision(0))
        replica = self._host.open.get(shard)
        if replica is None:
            return None
        epoch, registration = self._told.get(shard, (Revision(0), Revision(0)))
        return LocalReplica(
            replica=replica.id,
            state=state_of(replica.failure),
            epoch=epoch,
            registration=registration,
            spec=self._specs[shard],
            idle_term=replica.idle_term,
            behind=replica.behind,
        )

    def _begin(self, step: HostStep) -> None:
        match step:
            case TellConfig(entry=entry):
                self._tell(entry)
            case TellSpec(shard=shard, spec=spec):
                self._tell_spec(shard, spec)
            case ReportMissing(entry=entry, replica=replica):
                self._fail(entry.config.shard, replica, DataLoss(f"the folder of replica {replica} is missing: was the disk wiped?"))
            case CloseReplica(shard=shard):
                self._start(shard, lambda: self._close(shard))
            case CreateReplica(entry=entry) | OpenReplica(entry=entry) | ReopenReplica(entry=entry) | TakeSnapshot(entry=entry):
                self._start(entry.config.shard, lambda: self._fill(step))
            case JoinAnew() | RaiseTerm() | HandOver() | ConfirmReplica() | Resign():
                self._start(step.entry.config.shard, lambda: self._change(step))
            case DropReplica(entry=entry, replica=replica):
                self._start(entry.config.shard, lambda: self._drop(entry, replica))

    async def _fill(self, step: CreateReplica | OpenReplica | ReopenReplica | TakeSnapshot) -> None:
        """Carry out a step after which the replica is open."""
        entry, replica, spec = step.entry, step.replica, step.collection.spec
        match step:
            case CreateReplica():
                await self._create(entry, replica, spec)
            case OpenReplica():
                await self._open(entry.config.shard, replica, spec)
            case ReopenReplica():
                await self._reopen(entry.config.shard, replica, spec)
            case TakeSnapshot(primary=primary):
                await self._take_snapshot(entry, replica, primary, spec)

    async def _change(self, step: JoinAnew | RaiseTerm | HandOver | ConfirmReplica | Resign) -> None:
        """Carry out a step that is a swap of the configuration."""
        entry = step.entry
        match step:
            case JoinAnew(replica=replica, collection=collection, aside=aside):
                await self._join_anew(entry, replica, collection.spec, aside)
            case RaiseTerm():
                await self._swap(next_term(entry.config), entry.epoch)
            case HandOver(config=config):
                await self._hand_over(entry, config)
            case ConfirmReplica():
                await self._activate(entry.config, entry.epoch)
            case Resign(config=config):
                await self._resign(config, entry.epoch)

    def _start(self, shard: ShardId, work: Callable[[], Awaitable[None]]) -> None:
        async def guarded() -> None:
            try:
                await work()
            except ShoalError as error:
                log.warning(event("step_postponed", shard=shard, reason=error.message))
                await self._pause(LOOK_AGAIN_S)
            except Exception:
                log.exception(event("step_failed", shard=shard))
                await self._pause(LOOK_AGAIN_S)
            finally:
                del self._busy[shard]
                self._look_soon(shard)

        self._busy[shard] = asyncio.create_task(guarded())

    async def _pause(self, seconds: float, while_so: Callable[[], bool] = lambda: True) -> None:
        """Wait, but at most until the worker ends, or until a look at `while_so` returns False."""
        left_s = seconds
        while left_s > 0 and while_so() and not self._closing.is_set():
            # Not asyncio.wait_for: in Python 3.11 it loses a cancellation that comes as the wait ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, LOOK_AGAIN_S)):
                    await self._closing.wait()
            left_s -= LOOK_AGAIN_S

    def _tell(self, entry: ShardEntry) -> None:
        shard = entry.config.shard
        self._told[shard] = (entry.epoch, self._membership.registration)
        self._host.open[shard].tell(entry.config, entry.epoch, self._membership.registration)
        self._look_soon(shard)

    def _tell_spec(self, shard: ShardId, spec: CollectionSpec) -> None:
        self._specs[shard] = spec
        self._host.open[shard].tell_spec(spec)
        index = ",".join(f"{each.name}={each.index}" for each in spec.vectors) or spec.index
        log.info(event("collection_altered", shard=shard, index=index, recall=spec.recall))
        self._look_soon(shard)

    def _fail(self, shard: ShardId, replica: ReplicaId, reason: ShoalError) -> None:
        log.error(event("replica_failed", shard=shard, replica=replica, reason=reason.message))
        self._host.failed[shard] = FailedReplica(replica=replica, reason=to_keep(reason))
        self._look_soon(shard)

    def _shut_failed(self, shards: Iterable[ShardId]) -> None:
        """Close replicas that have FAILED and have no step under way: they answer nothing any more, but hold memory."""
        for shard in sorted(self._host.open.keys() & set(shards)):
            if shard not in self._busy and state_of(self._host.open[shard].failure) is Local.FAILED:
                self._start(shard, partial(self._shut, shard))

    async def _shut(self, shard: ShardId) -> None:
        replica = self._host.open.pop(shard)
        assert replica.failure is not None
        self._host.failed[shard] = FailedReplica(replica=replica.id, reason=replica.failure, broke=True)
        self._told.pop(shard, None)
        self._specs.pop(shard, None)
        await self._end(shard, replica)

    async def _create(self, entry: ShardEntry, replica: ReplicaId, spec: CollectionSpec) -> None:
        if not await self._room_to_create(entry.config.shard):
            return
        # A swap that changes nothing proves that the map is current: an ACTIVE shard never gets an empty folder.
        claimed = await self._swap(entry.config, entry.epoch)
        if claimed is None:
            return
        await self._folders.create(entry.config.shard, replica, spec)
        log.info(event("replica_created", shard=entry.config.shard, replica=replica))
        await self._open(entry.config.shard, replica, spec)
        if entry.config.shard in self._host.open:
            await self._activate(entry.config, claimed)

    async def _join_anew(self, entry: ShardEntry, replica: ReplicaId, spec: CollectionSpec, aside: bool) -> None:
        shard = entry.config.shard
        if not await self._room_to_create(shard):
            return
        fresh = ReplicaId(self._new_id())
        # Swap first: after it, no configuration names the old id.
        if await self._swap(renamed_learner(entry.config, replica, fresh), entry.epoch) is None:
            return
        await self._close(shard)
        if aside:
            await self._folders.set_aside(shard, replica)
        await self._folders.create(shard, fresh, spec)
        log.info(event("replica_joins", shard=shard, replica=fresh, before=replica))
        await self._open(shard, fresh, spec)

    async def _take_snapshot(self, entry: ShardEntry, replica: ReplicaId, primary: ReplicaId, spec: CollectionSpec) -> None:
        shard = entry.config.shard
        try:
            download = await self._snapshots.fetch(entry, replica, primary, lambda: self._is_behind(shard, replica, primary))
        except ResourceExhausted as error:
            rest_s = self._roomless.refused(shard, error)
            log.warning(event("snapshot_finds_no_room", shard=shard, replica=replica, again_s=rest_s, reason=error.message))
            await self._pause(rest_s, lambda: self._is_behind(shard, replica, primary))
            if not self._is_behind(shard, replica, primary):
                self._roomless.ended(shard)
            return
        self._roomless.ended(shard)
        await self._close(shard)
        try:
            await self._folders.install(download)
            log.info(event("snapshot_installed", shard=shard, replica=replica, seq=download.seq))
        except PreconditionFailed as error:
            # The replica has caught up from the log meanwhile.
            log.info(event("snapshot_not_needed", shard=shard, replica=replica, reason=error.message))
            await self._folders.discard(download)
        await self._open(shard, replica, spec)

    def _is_behind(self, shard: ShardId, replica: ReplicaId, primary: ReplicaId) -> bool:
        """Return whether a replica still needs a snapshot of that primary.

        It does not if this worker ends, if the primary has changed, or if it got the missing records from a log.
        """
        found, entry = self._host.open.get(shard), self._map.shards.get(shard)
        if found is None or entry is None or self._closing.is_set() or self._is_dropping(shard):
            return False
        follows = found.id == replica and found.behind == primary
        return follows and entry.config.primary == primary and replica in entry.config.learners

    async def _resign(self, config: ShardConfig, epoch: Revision) -> None:
        log.warning(event("replica_resigns", shard=config.shard, isr=list(config.isr), elr=list(config.elr)))
        await self._swap(config, epoch)

    async def _room_to_create(self, shard: ShardId) -> bool:
        """Return whether there is room for one more replica.

        If not, note it for the worker's status and wait a little.
        """
        reason = self._host.memory.refusal_of_replica() or self._host.files.refusal(len(self._host.open))
        if reason is None:
            self._host.unmade.pop(shard, None)
            return True
        if shard not in self._host.unmade:
            log.warning(event("replica_not_made", shard=shard, reason=reason))
        self._host.unmade[shard] = reason
        await self._pause(LOOK_AGAIN_S)
        return False

    async def _activate(self, config: ShardConfig, epoch: Revision) -> None:
        await self._swap(dataclasses.replace(config, state=ShardState.ACTIVE), epoch)

    async def _open(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> None:
        try:
            self._check_files(shard)
            opened = await self._folders.open(shard, replica, spec)
            opened.tell_space(self._no_space)
            self._specs[shard] = spec
            self._host.open[shard] = opened
        except ShoalError as error:
            self._fail(shard, replica, error)
        except Exception as error:
            log.exception(event("replica_failed", shard=shard, replica=replica))
            self._fail(shard, replica, Internal(f"opening it failed: {type(error).__name__}: {error}"))

    def _check_files(self, shard: ShardId) -> None:
        reason = self._host.files.refusal(len(self._host.open))
        if reason is not None:
            raise ResourceExhausted(reason, ErrorDetails(limit=OPEN_FILES_LIMIT, shard=str(shard)))

    async def _reopen(self, shard: ShardId, replica: ReplicaId, spec: CollectionSpec) -> None:
        await self._pause(REOPEN_AFTER_S)
        if self._no_space is not None or self._closing.is_set():
            return
        log.info(event("replica_reopens", shard=shard, replica=replica))
        await self._close(shard)
        await self._open(shard, replica, spec)

    async def hand_over(self, shard: ShardId, decide: Callable[[ShardEntry], HandOver | None]) -> Term | None:
        """Carry out what is decided once the shard has no other step under way.

        Returns the new term, or None if it is not certain that there is one.
        """
        while shard in self._busy:
            await asyncio.wait({self._busy[shard]})
        entry = self._map.shards.get(shard)
        step = decide(entry) if entry is not None and shard in self._host.open else None
        if step is None:
            return None
        made: list[Revision | None] = []

        async def work() -> None:
            made.append(await self._hand_over(step.entry, step.config))

        self._start(shard, work)
        await asyncio.wait({self._busy[shard]})
        return step.config.term if made and made[0] is not None else None

    async def _hand_over(self, entry: ShardEntry, config: ShardConfig) -> Revision | None:
        # The new primary may serve as soon as the swap is done, so this one must have stepped down before it is sent.
        replica, times = self._host.open[entry.config.shard], self._host.hand_overs
        began = times.now()
        replica.lead_no_more(entry.config.term)
        successor = config.worker_of[config.primary]
        made = await self._swap(config, entry.epoch, also={successor: config.primary_reg})
        log.info(event("primary_handed_over", shard=config.shard, to=successor, term=config.term, done=made is not None))
        if made is not None:
            times.measure(config.shard, began, partial(follows, self._host.open, replica, config))
        return made

    async def _close(self, shard: ShardId) -> None:
        replica = self._host.open.pop(shard, None)
        self._host.failed.pop(shard, None)
        self._told.pop(shard, None)
        self._specs.pop(shard, None)
        self._host.unmade.pop(shard, None)
        if replica is not None:
            await self._end(shard, replica)

    async def _end(self, shard: ShardId, replica: Replica) -> None:
        try:
            await replica.close()
        finally:
            self._host.memory.close(shard)

    async def _drop(self, entry: ShardEntry, replica: ReplicaId) -> None:
        shard = entry.config.shard
        await self._close(shard)
        await self._folders.drop(shard, replica, with_asides=self._is_dropping(shard))
        log.info(event("replica_dropped", shard=shard, replica=replica))
        await self._swap(departed(entry.config, replica), entry.epoch)

    def _is_dropping(self, shard: ShardId) -> bool:
        collection = self._map.collections.get(shard.collection)
        return collection is not None and collection.state is CollectionState.DROPPING

    async def _swap(self, config: ShardConfig, epoch: Revision, also: Mapping[WorkerId, Revision] = NOBODY_ELSE) -> Revision | None:
        """Put the configuration if its epoch is still `epoch` and this worker still has its registration.

        also: further workers, which must still have these registrations. Returns the new epoch, or None if it is not
        certain that the swap was done.
        """
        registration = self._membership.registration
        outcome, revision = await self._swaps.swap(config, epoch, registration, also)
        if also and outcome is SwapOutcome.REJECTED:
            # Perhaps only another worker has registered again: this says nothing about the epoch.
            outcome = SwapOutcome.UNKNOWN
        self._due.note(config.shard, swapped(epoch, outcome, revision, registration, asyncio.get_running_loop().time()))
        return revision if outcome is SwapOutcome.DONE else None
