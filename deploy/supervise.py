"""Keeps the processes of a cluster running: creates what should run, again when it ended, and stops all in order.

Decides nothing itself: deploy.logic.supervision says what is due, a launcher carries it out, `say` tells people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from deploy.logic.supervision import (
    Create,
    Kill,
    Leave,
    MemberState,
    Patience,
    Resting,
    after_answer,
    after_creation,
    after_end,
    next_step,
)
from deploy.plans import ProcessPlan
from deploy.reports import Alive, Ended, Report
from shoal.core.errors import PreconditionFailed


class Launcher(Protocol):
    """Starts and ends processes; see deploy.launch.RayLauncher."""

    def create(self, plan: ProcessPlan) -> None:
        """Start a process. Returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[Report]:
        """What was heard of the processes, after at most timeout_s seconds."""
        ...

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """End processes cleanly; returns those that had to be killed."""
        ...

    def kill(self, name: str) -> None:
        """End a process at once."""
        ...


class Supervisor:
    """Supervision of a fixed set of processes, by one thread."""

    def __init__(
        self,
        *,
        plans: Sequence[ProcessPlan],
        launcher: Launcher,
        clock: Callable[[], float],
        say: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        """clock: monotonic seconds. say: takes one line for people."""
        self._plans = {plan.name: plan for plan in plans}
        self._launcher, self._clock, self._say = launcher, clock, say
        self._patience = patience or Patience()
        self._states: dict[str, MemberState] = {name: Resting(due_s=clock()) for name in self._plans}
        self._away: set[str] = set()
        self._settled = False

    def settled(self) -> None:
        """Everything worked once: from now on a process that ends is always started again, whatever it ended with."""
        self._settled = True

    def turn(self, timeout_s: float) -> None:
        """One round: do what is due, then listen for at most timeout_s seconds.

        Raises PreconditionFailed when, before `settled`, a process ended with something that no restart can change.
        """
        for name, state in self._states.items():
            self._do(name, state)
        for report in self._launcher.poll(timeout_s):
            self._note(report)

    def stop(self, order: Sequence[Sequence[str]], timeout_s: float) -> None:
        """End all processes cleanly, one group of names after the other, each within timeout_s seconds."""
        for names in order:
            for name in self._launcher.stop(list(names), timeout_s):
                self._say(f"{name} did not end within {timeout_s:.0f} s and was killed")

    def _do(self, name: str, state: MemberState) -> None:
        match next_step(state, self._clock(), self._patience):
            case Create():
                self._launcher.create(self._plans[name])
                self._states[name] = after_creation(state, self._clock())
            case Kill(reason=reason):
                self._launcher.kill(name)
                self._ended(name, reason)
            case Leave():
                pass

    def _note(self, report: Report) -> None:
        match report:
            case Alive(name=name, pid=pid):
                if name in self._away:
                    self._away.remove(name)
                    self._say(f"{name} is back (pid {pid})")
                self._states[name] = after_answer(self._states[name], self._clock())
            case Ended(name=name, reason=reason, final=final):
                if final and not self._settled:
                    raise PreconditionFailed(f"{name}: {reason}")
                self._ended(name, reason)

    def _ended(self, name: str, reason: str) -> None:
        self._states[name] = resting = after_end(self._states[name], self._clock())
        self._away.add(name)
        pause_s = max(0.0, resting.due_s - self._clock())
        self._say(f"{name} ended: {reason}; starting it again" + (f" in {pause_s:.1f} s" if pause_s else ""))
