"""A coordinator: its election and its rounds, as `shoal.coordinator.election` and `shoal.coordinator.loop` perform
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from shoal.coordinator.act import transaction_of
from shoal.coordinator.logic.absence import Absences, Since
from shoal.coordinator.logic.answers import Answers
from shoal.coordinator.logic.campaign import Lead, Look, Run, StandBy, StepDown, next_move
from shoal.coordinator.logic.reconcile import questions, reconcile, unled
from shoal.coordinator.logic.snapshot import Snapshot, Told
from shoal.coordinator.logic.steps import ElectPrimary, RetireReplica, Step
from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import ReplicaId, Revision, ShardId, WorkerId
from shoal.core.recovery import LogEnd
from shoal.core.shard_config import replica_on
from shoal.store.codecs import encode_leader
from shoal.store.interface import Absent, Committed, Put, Transaction
from tests.simulation.etcd import KEYS, Observer
from tests.simulation.membership import TTL_S, Keeper, hold_lease
from tests.simulation.scheduler import Process, Resume, Steps, Wait
from tests.simulation.violation import hold

if TYPE_CHECKING:
    from tests.simulation.world import World

TIMEOUT_S = 3.0
EVERY_S = 1.0
ASK_AGAIN_S = 0.25
LOG_ENDS_S = 0.3
STEPS_PER_ROUND = 64
REPLACE_AFTER_S = 15.0
UNTOLD = "inv 8: data is deleted only where as many others have just told that they are open"
SILENCE = 'inv 9: silence after "it is not open" elects nobody'


class Coordinator(Process):
    """One candidate. `boot` begins a life."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.scheduler, name, rate=1.0 + world.scheduler.random.uniform(-0.024, 0.024))
        self._world = world
        self.observer: Observer

    def boot(self) -> None:
        """Start the process."""
        self.start()
        self._keeper: Keeper | None = None
        self._leadership: Revision | None = None
        self._absences, self._unled, self._answers = Absences(), Since(), Answers()
        self._said_closed: dict[ReplicaId, Revision] = {}
        self._open_now: frozenset[ReplicaId] = frozenset()
        self._changes: list[Resume] = []
        self._changed = False
        self._rounds = 0
        self.observer = self._world.etcd.observe(self, lambda _: self._ring())
        self.spawn(self._stand())
        self.spawn(self._go_round())

    @property
    def map(self) -> ClusterMap:
        """As it sees it."""
        return self.observer.map

    def leadership(self) -> Revision | None:
        """As Election.leadership."""
        return self._leadership if self._keeper is not None and self._keeper.is_held() else None

    def _ring(self) -> None:
        waiting, self._changes = self._changes, []
        self._changed = not waiting
        for resume in waiting:
            resume(None)

    def _wait_for_change(self, seconds: float) -> Wait:
        def begin(resume: Resume) -> None:
            done = False

            def once(_: Any) -> None:
                nonlocal done
                if not done:
                    done = True
                    resume(None)

            self._changes.append(once)
            self.after(seconds, lambda: once(None))

        return begin

    def _stand(self) -> Steps:
        while True:
            try:
                keeper = yield from hold_lease(self, self._world.etcd)
            except AssertionError:
                raise
            except Exception:
                yield self.sleep(TTL_S / 5)
                continue
            self._keeper = keeper
            self.spawn(keeper.run())
            while not keeper.lost:
                yield from self._make_move(keeper)
                yield self.sleep(TTL_S / 10)
            self._leadership = self._keeper = None

    def _make_move(self, keeper: Keeper) -> Steps:
        match next_move(self.map, address=self.name, leadership=self._leadership):
            case Run():
                yield from self._campaign(keeper)
            case Look():
                yield from self._look(keeper)
            case StepDown():
                self._leadership = None
            case StandBy() | Lead():
                pass

    def _campaign(self, keeper: Keeper) -> Steps:
        put = Put(key=KEYS.leader, value=encode_leader(self.name), lease_id=keeper.lease)
        try:
            answer = yield self._world.etcd.commit(self, Transaction(compares=(Absent(key=KEYS.leader),), then=(put,)), TIMEOUT_S)
        except AssertionError:
            raise
        except Exception:
            return
        if isinstance(answer, Committed):
            self._leadership = answer.revision
            self._ring()

    def _look(self, keeper: Keeper) -> Steps:
        try:
            found = yield self._world.etcd.get(self, KEYS.leader, TIMEOUT_S)
        except AssertionError:
            raise
        except Exception:
            return
        if found is not None and found.lease == keeper.lease:
            self._leadership = found.create_revision
            self._ring()

    def _go_round(self) -> Steps:
        while True:
            if self.leadership() is not None:
                newest = yield from self._round()
                for _ in range(4):
                    if self.map.revision >= newest:
                        break
                    yield self._wait_for_change(EVERY_S / 4)
            else:
                self._absences, self._unled, self._answers = Absences(), Since(), Answers()
                self._said_closed.clear()
            if not self._changed:
                yield self._wait_for_change(ASK_AGAIN_S if self._unled.seconds(self.clock()) else EVERY_S)
            self._changed = False

    def _round(self) -> Steps:
        seen, now = self.map, self.clock()
        self._absences = self._absences.seen(seen, now)
        self._rounds += 1
        asked = questions(seen, self._answers.to_ask_again(seen))
        self._unled = self._unled.seen(sorted(unled(seen)), now)
        told = (yield self._ask(asked)) if asked else Told()
        self._answers = self._answers.heard(asked, told, seen)
        self._note_closed(asked, told, seen)
        snapshot = Snapshot(
            map=seen,
            seed=f"{self.name} {self.life} {self._rounds}",
            told=self._answers.added_to(told),
            unled_s=self._unled.seconds(now),
            absent_s=self._absences.absent_s(now),
            replace_after_s=REPLACE_AFTER_S,
        )
        steps = reconcile(snapshot, STEPS_PER_ROUND)
        return (yield self._carry_out(steps)) if steps else Revision(0)

    def _note_closed(self, asked: Any, told: Told, seen: ClusterMap) -> None:
        """For the checker, which does not believe the product's own memory."""
        self._open_now = frozenset(told.ends)
        for worker in told.answered:
            for shard in asked[worker]:
                replica = replica_on(seen.shards[shard].config, worker)
                if replica is not None and replica in told.ends:
                    self._said_closed.pop(replica, None)
                elif replica is not None:
                    self._said_closed[replica] = seen.workers[worker].registration

    def _check(self, step: Step) -> None:
        if isinstance(step, RetireReplica):
            config, victim = step.before.config, step.replica
            keep = [each for each in config.isr if each != victim and each not in config.leaving and each in self._open_now]
            hold(
                len(keep) >= config.rf, UNTOLD, f"{victim} gets its tombstone, {keep} have told that they are open, {config.rf} are wanted"
            )
        if isinstance(step, ElectPrimary):
            elected, others = step.config.primary, {*step.config.isr, *step.config.elr} - {step.config.primary}
            hears_closed = self._said_closed.get(elected) == step.config.primary_reg
            hold(not (others and hears_closed), SILENCE, f"{self.name} elects {elected}, last heard of was that it is not open")

    def _ask(self, asked: Any) -> Wait:
        """All at once, each within LOG_ENDS_S."""

        def begin(resume: Resume) -> None:
            heard: dict[WorkerId, Mapping[ReplicaId, LogEnd]] = {}
            left = len(asked)

            def ended(worker: WorkerId, answer: Any) -> None:
                nonlocal left
                left -= 1
                if isinstance(answer, dict):
                    heard[worker] = answer
                if not left:
                    ends = {replica: end for each in heard.values() for replica, end in each.items()}
                    resume(Told(ends=ends, answered=heard.keys()))

            for worker, shards in asked.items():
                self.spawn(self._ask_one(worker, shards), partial(ended, worker))

        return begin

    def _ask_one(self, worker: WorkerId, shards: tuple[ShardId, ...]) -> Steps:
        target = self._world.workers[worker]
        return (yield self._world.network.call(self, target, lambda answer: target.log_ends(shards, answer), LOG_ENDS_S))

    def _carry_out(self, steps: tuple[Step, ...]) -> Wait:
        def begin(resume: Resume) -> None:
            newest, left = Revision(0), len(steps)

            def ended(revision: Any) -> None:
                nonlocal newest, left
                left -= 1
                newest = max(newest, revision if isinstance(revision, int) else Revision(0))
                if not left:
                    resume(newest)

            for step in steps:
                self.spawn(self._commit(step), ended)

        return begin

    def _commit(self, step: Step) -> Steps:
        self._check(step)
        leadership = self.leadership()
        if leadership is None:
            return Revision(0)
        answer = yield self._world.etcd.commit(self, transaction_of(step, KEYS, leadership), TIMEOUT_S)
        return answer.revision if isinstance(answer, Committed) else Revision(0)
