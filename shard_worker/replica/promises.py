"""Room that was promised to writes whose callers left before they were acknowledged."""

from __future__ import annotations

from shoal.core.ids import Seq
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.roles import Leading
from shoal.shard_worker.resources.memory import Claim


class Promises:
    """Those of one replica. Used on the event loop."""

    def __init__(self) -> None:
        self._open: list[tuple[Seq, Claim]] = []

    def keep(self, through: Seq, claim: Claim) -> None:
        """A write that may still be applied, if it is applied at all by what is in the log up to `through`."""
        self._open.append((through, claim))

    def settle(self, machine: ReplicaMachine) -> None:
        """Give back what is applied by now.

        Who does not lead has no writes of its own; what is left of them in its log is applied or cut as another one
        says.
        """
        if not self._open:
            return
        gone = not isinstance(machine.role, Leading)
        still_open = [(through, claim) for through, claim in self._open if not gone and machine.applied_seq < through]
        for through, claim in self._open:
            if gone or machine.applied_seq >= through:
                claim.give_back()
        self._open = still_open

    def give_all_back(self) -> None:
        """The replica is closed."""
        for _, claim in self._open:
            claim.give_back()
        self._open = []
