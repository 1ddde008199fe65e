"""Runs the rounds of the coordinator: observe, ask, decide, act. A round begins after every change, when a lost replica
has to be replaced, and every few seconds. Between rounds it keeps only the values of logic/remembered.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shoal.coordinator.act import Actor
from shoal.coordinator.log_ends import ReplicaReports
from shoal.coordinator.logic.attention import Attention
from shoal.coordinator.logic.move_ages import MoveAges
from shoal.coordinator.logic.reconcile import questions, reconcile, unled
from shoal.coordinator.logic.remembered import Absences, Answers, Since
from shoal.coordinator.logic.snapshot import Snapshot, Told
from shoal.core.deadline import Clock
from shoal.core.ids import Revision, WorkerId
from shoal.core.shard_calls import WorkerStatus
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.observe import ObservedMap

LOG_ENDS_S = 0.3
"""Longest time in seconds that an election waits for workers to report the ends of their logs."""

ASK_AGAIN_S = 0.25
"""Pause in seconds before workers are asked again, while a shard waits for an election: a worker may just be opening a
replica.
"""


LOOK_AT_MOVES_S = 0.5
"""Longest pause in seconds between rounds while a replica moves or a plan runs: workers report without a change."""


class Loop:
    """The rounds of this coordinator. It is idle while this coordinator does not lead.

    every_s: longest pause between rounds. steps_per_round: most steps of one round; the others follow in the next.
    replace_after_s: seconds that the worker of a replica may be gone. new_seed: returns a text that is new with every
    call. statuses: returns the newest status of each worker that has answered lately. wall_ms: returns the time in ms
    since 1970.
    """

    def __init__(
        self,
        *,
        observer: ObservedMap,
        changes: ChangeSignal,
        actor: Actor,
        reports: ReplicaReports,
        leads: Callable[[], bool],
        new_seed: Callable[[], str],
        clock: Clock,
        every_s: float,
        replace_after_s: float,
        steps_per_round: int,
        statuses: Callable[[], Mapping[WorkerId, WorkerStatus]],
        wall_ms: Callable[[], int],
    ) -> None:
        self._observer, self._changes, self._actor, self._reports = observer, changes, actor, reports
        self._leads, self._new_seed, self._clock = leads, new_seed, clock
        self._every_s, self._replace_after_s, self._steps_per_round = every_s, replace_after_s, steps_per_round
        self._statuses, self._wall_ms = statuses, wall_ms
        self._forget()

    def _forget(self) -> None:
        self._absences, self._unled, self._joining, self._answers = Absences(), Since(), Since(), Answers()
        self._attention, self._moves = Attention(), MoveAges()

    async def run(self) -> None:
        """Run rounds without end."""
        while True:
            heard = self._changes.count
            if self._leads():
                await self._see(await self.round())
            else:
                self._forget()
            await self._changes.wait(heard, self._pause_s())

    async def round(self) -> Revision:
        """Run one round. Returns the newest revision that it committed, 0 for none."""
        seen, now = self._observer.map, self._clock()
        self._absences = self._absences.seen(seen, now)
        self._attention = self._attention.seen(seen)
        focus = self._attention.focus
        asked = questions(seen, focus.shards, self._answers.to_ask_again(seen))
        self._joining = self._joining.seen(focus.joining, now)
        self._unled = self._unled.seen(unled(seen, focus.shards), now)
        told = await self._reports.log_ends(asked, seen.workers, LOG_ENDS_S) if asked else Told()
        self._answers = self._answers.heard(asked, told, seen)
        statuses = self._statuses()
        self._moves = self._moves.seen(seen, focus.shards, statuses, now)
        snapshot = Snapshot(
            map=seen,
            seed=self._new_seed(),
            focus=focus,
            told=self._answers.added_to(told),
            joining_s=self._joining.seconds(now),
            unled_s=self._unled.seconds(now),
            absent_s=self._absences.absent_s(now),
            replace_after_s=self._replace_after_s,
            reports=statuses,
            now_ms=self._wall_ms(),
            moving=self._moves.ages(now),
            plan_idle_s=self._moves.plan_idle_s(now),
        )
        return await self._actor.carry_out(reconcile(snapshot, self._steps_per_round))

    def _pause_s(self) -> float:
        now = self._clock()
        due_s = self._absences.next_due_s(now, self._replace_after_s)
        often_s = ASK_AGAIN_S if self._unled.seconds(now) else LOOK_AT_MOVES_S if self._moves.under_way else self._every_s
        return min(self._every_s, often_s) if due_s is None else min(self._every_s, often_s, due_s)

    async def _see(self, revision: Revision) -> None:
        # A round from a map without the last round's commits would only be rejected.
        await self._changes.until(lambda: self._observer.map.revision >= revision, self._every_s)
