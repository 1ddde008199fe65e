"""What a process tells probes of its roles: whether their event loops run, and whether they have started and serve."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

LIVE_WITHIN_S = 5.0
"""An event loop that does not run for this long counts as dead."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """An answer to a probe. text: one line for a human."""

    good: bool
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _RoleState:
    """loop: where the role runs. serves: whether it can do its work now; started: whether it ever could."""

    loop: asyncio.AbstractEventLoop
    serves: bool
    started: bool


class RoleStandings:
    """The roles of one process as probes see them. Thread-safe: states are replaced, never changed."""

    def __init__(self) -> None:
        self._roles: dict[str, _RoleState] = {}

    def tell(self, role: str, serves: bool) -> None:
        """Note whether a role can do its work now. Call it in the event loop of the role."""
        before = self._roles.get(role)
        started = serves or (before is not None and before.started)
        self._roles = {**self._roles, role: _RoleState(loop=asyncio.get_running_loop(), serves=serves, started=started)}

    def live(self, within_s: float = LIVE_WITHIN_S) -> ProbeAnswer:
        """Judge whether every event loop runs: wait until each has, at most within_s. Call it on another thread."""
        silent = []
        for loop in {state.loop for state in self._roles.values()}:
            ran = threading.Event()
            try:
                loop.call_soon_threadsafe(ran.set)
            except RuntimeError:  # It is closed.
                silent.append(loop)
                continue
            if not ran.wait(within_s):
                silent.append(loop)
        names = sorted(name for name, state in self._roles.items() if state.loop in silent)
        return ProbeAnswer(False, f"does not run: {', '.join(names)}") if names else ProbeAnswer(True, "live")

    def ready(self) -> ProbeAnswer:
        """Judge whether every role can do its work now."""
        return _answer_of("ready", "does not serve", {name: state.serves for name, state in self._roles.items()})

    def started(self) -> ProbeAnswer:
        """Judge whether every role could do its work once."""
        return _answer_of("started", "has not started", {name: state.started for name, state in self._roles.items()})


def _answer_of(good: str, bad: str, roles: dict[str, bool]) -> ProbeAnswer:
    """Return a good answer if there are roles and all of them are good."""
    if not roles:
        return ProbeAnswer(False, "no role runs yet")
    names = sorted(name for name, holds in roles.items() if not holds)
    return ProbeAnswer(False, f"{bad}: {', '.join(names)}") if names else ProbeAnswer(True, good)
