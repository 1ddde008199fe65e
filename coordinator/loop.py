"""Goes round: observe -> ask -> decide -> act. Wakes on every change, when a lost replica is to be replaced and,
besides, every few seconds. Keeps nothing between rounds but since when workers are gone, and what they said of replicas
that are not open."""

from __future__ import annotations

from collections.abc import Callable

from shoal.coordinator.act import Actor
from shoal.coordinator.log_ends import ReplicaReports
from shoal.coordinator.logic.absence import Absences, Since
from shoal.coordinator.logic.answers import Answers
from shoal.coordinator.logic.reconcile import joining, questions, reconcile, unled
from shoal.coordinator.logic.snapshot import Snapshot, Told
from shoal.core.deadline import Clock
from shoal.core.ids import Revision
from shoal.runtime.change_signal import ChangeSignal
from shoal.store.observe import ObservedMap

LOG_ENDS_S = 0.3
"""How long an election waits for workers to tell where their logs end."""

ASK_AGAIN_S = 0.25
"""Pause before they are asked again, while a shard that several may lead has no primary: a replica may be being
opened.
"""


class Loop:
    """The rounds of this coordinator; idle while it does not lead.

    every_s: longest pause between rounds; steps_per_round: bound of one round, the rest follows in the next;
    replace_after_s: how long the worker of a replica may be gone; new_seed: text that never comes twice.
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
    ) -> None:
        self._observer, self._changes, self._actor, self._reports = observer, changes, actor, reports
        self._leads, self._new_seed, self._clock = leads, new_seed, clock
        self._every_s, self._replace_after_s, self._steps_per_round = every_s, replace_after_s, steps_per_round
        self._forget()

    def _forget(self) -> None:
        self._absences, self._unled, self._joining, self._answers = Absences(), Since(), Since(), Answers()

    async def run(self) -> None:
        """Go round without end."""
        while True:
            heard = self._changes.count
            if self._leads():
                await self._see(await self.round())
            else:
                self._forget()
            await self._changes.wait(heard, self._pause_s())

    async def round(self) -> Revision:
        """One round. Returns the newest revision it committed, 0 for none."""
        seen, now = self._observer.map, self._clock()
        self._absences = self._absences.seen(seen, now)
        asked = questions(seen, self._answers.to_ask_again(seen))
        self._joining = self._joining.seen(joining(seen), now)
        self._unled = self._unled.seen(unled(seen), now)
        told = await self._reports.log_ends(asked, seen.workers, LOG_ENDS_S) if asked else Told()
        self._answers = self._answers.heard(asked, told, seen)
        snapshot = Snapshot(
            map=seen,
            seed=self._new_seed(),
            told=self._answers.added_to(told),
            joining_s=self._joining.seconds(now),
            unled_s=self._unled.seconds(now),
            absent_s=self._absences.absent_s(now),
            replace_after_s=self._replace_after_s,
        )
        return await self._actor.carry_out(reconcile(snapshot, self._steps_per_round))

    def _pause_s(self) -> float:
        now = self._clock()
        due_s = self._absences.next_due_s(now, self._replace_after_s)
        often_s = ASK_AGAIN_S if self._unled.seconds(now) else self._every_s
        return min(self._every_s, often_s) if due_s is None else min(self._every_s, often_s, due_s)

    async def _see(self, revision: Revision) -> None:
        # A round made from a map that lacks the last one's commits would only be rejected.
        await self._changes.until(lambda: self._observer.map.revision >= revision, self._every_s)
