"""How long calls wait at a replica for what it does not have yet, instead of being refused."""

from __future__ import annotations

from shoal.core.deadline import Deadline
from shoal.core.health import ReplicaRole
from shoal.runtime.change_signal import ChangeSignal
from shoal.shard_worker.logic.replication.machine import ReplicaMachine

BEHIND_S = 0.5
"""How long a replica that does not lead waits for a record that a read needs: another replica may have it already."""

STARTING_S = 0.5
"""How long a replica that was elected keeps calls for its primary until it serves.

A caller that is refused learns from nothing when it serves, and would wait longer each time before it asks again.
"""


async def until_it_serves(machine: ReplicaMachine, progress: ChangeSignal, deadline: Deadline) -> None:
    """Wait until a replica that was elected serves, or leads no more, for at most STARTING_S. Any other is not waited
    for. progress: tells of each change of the machine.
    """
    await progress.until(lambda: machine.role_name is not ReplicaRole.STARTING, deadline.sooner(STARTING_S).left_s)
