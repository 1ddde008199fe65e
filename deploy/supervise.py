"""Keeps the processes of a cluster running: creates them, creates them again after they ended, and stops them in order.

It decides nothing: shoal.deploy.logic.supervision decides the next step, a launcher carries it out, `say` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shoal.core.deadline import Clock
from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.deploy.logic.supervision import (
    Create,
    Kill,
    Leave,
    MemberState,
    Resting,
    Running,
    StartPatience,
    after_answer,
    after_creation,
    after_detachment,
    after_end,
    next_step,
    while_homeless,
)
from shoal.deploy.plans import ProcessPlan
from shoal.deploy.reports import Alive, Creation, Ended, Report


class Launcher(Protocol):
    """Starts and ends processes; see shoal.deploy.ray.launch.RayLauncher and shoal.deploy.ray.link.RayLink.

    Any method may raise Unavailable. Then nothing can be done or reported now, and the launcher knows no process any
    more. Running processes go on.
    """

    def ready(self, timeout_s: float) -> bool:
        """Return whether processes can be started and observed, after at most timeout_s seconds.

        After an Unavailable, it begins again.
        """
        ...

    def create(self, plan: ProcessPlan) -> Creation:
        """Start a process, or find the one that runs already. Returns at once."""
        ...

    def poll(self, timeout_s: float) -> list[Report]:
        """Return the reports of the processes that came within timeout_s seconds."""
        ...

    def stop(self, names: list[str], timeout_s: float) -> list[str]:
        """End processes cleanly. Returns the names of those that had to be killed."""
        ...

    def kill(self, name: str) -> None:
        """End a process at once."""
        ...


class Supervisor:
    """Supervises a fixed set of processes, from one thread."""

    def __init__(
        self,
        *,
        plans: Sequence[ProcessPlan],
        launcher: Launcher,
        clock: Clock,
        say: Callable[[str], None],
        patience: StartPatience | None = None,
    ) -> None:
        """clock: monotonic seconds. say: prints one line for the user."""
        self._plans = {plan.name: plan for plan in plans}
        self._launcher, self._clock, self._say = launcher, clock, say
        self._patience = patience or StartPatience()
        self._states: dict[str, MemberState] = {name: Resting(due_s=clock()) for name in self._plans}
        self._away: set[str] = set()
        self._homeless: set[str] = set()
        self._unheard: set[str] = set()
        self._cut_off = False
        self._settled = False

    def settled(self) -> None:
        """Record that the cluster was ready once. From now on, every process that ends is started again."""
        self._settled = True

    def turn(self, timeout_s: float) -> None:
        """Run one round: do the steps that are due, then wait for reports for at most timeout_s seconds.

        If the launcher cannot work, this is printed once, and the processes go on alone until it works again. Raises
        PreconditionFailed if, before `settled`, a process ended for a reason that a restart cannot change.
        """
        try:
            if self._launcher.ready(timeout_s):
                self._round(timeout_s)
        except Unavailable as error:
            self._lose_touch(error.message)

    def stop(self, order: Sequence[Sequence[str]], timeout_s: float) -> None:
        """End all processes cleanly, one group of names after the other, each within timeout_s seconds."""
        try:
            for names in order:
                for name in self._launcher.stop(list(names), timeout_s):
                    self._say(f"{name} did not end within {timeout_s:.0f} s and was killed")
        except Unavailable as error:
            self._say(f"warning: {error.message}; processes that could not be ended go on, and the next 'shoal up' finds them")

    def _round(self, timeout_s: float) -> None:
        for name, state in self._states.items():
            self._do(name, state)
        reports = self._launcher.poll(timeout_s)
        if self._cut_off:
            self._cut_off = False
            self._say("Ray answers again")
        for report in reports:
            self._note(report)

    def _lose_touch(self, reason: str) -> None:
        if not self._cut_off:
            self._cut_off = True
            self._say(f"{reason}; running processes go on by themselves, trying again")
        self._unheard |= {name for name, state in self._states.items() if isinstance(state, Running)}
        self._states = {name: after_detachment(state, self._clock()) for name, state in self._states.items()}

    def _do(self, name: str, state: MemberState) -> None:
        match next_step(state, self._clock(), self._patience):
            case Create():
                self._create(self._plans[name], state)
            case Kill(reason=reason):
                self._launcher.kill(name)
                self._ended(name, reason)
            case Leave():
                pass

    def _create(self, plan: ProcessPlan, state: MemberState) -> None:
        creation = self._launcher.create(plan)
        if creation is Creation.NO_NODE:
            self._states[plan.name] = while_homeless(state, self._clock())
            if plan.name not in self._homeless:
                self._homeless.add(plan.name)
                self._say(f"{plan.name} waits: no living node carries the label {plan.label}")
            return
        self._states[plan.name] = after_creation(state, self._clock())
        if creation is Creation.STARTED and plan.name in self._unheard:
            self._away.add(plan.name)
            self._say(f"{plan.name} ended while Ray was away; starting it again")
        self._unheard.discard(plan.name)
        self._homeless.discard(plan.name)

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
