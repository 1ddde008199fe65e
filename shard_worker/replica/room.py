"""The room of one replica: what its writes are promised of the worker's memory, and what it holds in the worker's
account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from shoal.core.errors import DeadlineExceeded
from shoal.core.ids import Seq, ShardId
from shoal.core.shard_calls import WriteAck
from shoal.shard_worker.logic.replication.append import NoRoom
from shoal.shard_worker.logic.replication.events import DISK_LIMIT, SpaceChanged
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.roles import Idle, Leading
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.writer import Writer
from shoal.shard_worker.resources.memory import MEMORY_LIMIT, Claim, WorkerMemory


class Promises:
    """Room that was promised to writes whose callers left before they were acknowledged. Used on the event loop."""

    def __init__(self) -> None:
        self._open: list[tuple[Seq, Claim]] = []

    def keep(self, through: Seq, claim: Claim) -> None:
        """Keep the room of a write that may still be applied; if so, by what is in the log up to `through`."""
        self._open.append((through, claim))

    def settle(self, machine: ReplicaMachine) -> None:
        """Give back the room of what is applied by now.

        A replica that does not lead has no writes of its own. What is left of them in its log is applied or cut as
        the primary says.
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
        """Give back everything: the replica is closed."""
        for _, claim in self._open:
            claim.give_back()
        self._open = []


class ReplicaRoom:
    """Admits writes, keeps the account, and tells the machine when upserts find no room. Used on the event loop.

    point_bytes: mean bytes of a stored point.
    """

    def __init__(self, *, shard: ShardId, engine: Engine, writer: Writer, memory: WorkerMemory) -> None:
        self._shard, self._engine, self._writer, self._memory = shard, engine, writer, memory
        self._promises = Promises()
        self._accounted = Seq(-1)
        self.point_bytes = engine.mean_point_bytes()
        self._no_disk: NoRoom | None = None
        self._no_memory: NoRoom | None = None

    async def admit(self, write: Coroutine[Any, Any, WriteAck], points: int, body_bytes: int, *, refused: Callable[[], None]) -> WriteAck:
        """Carry out a write with room for its points until they are applied or surely will not be.

        Raises ResourceExhausted, without having begun the write, when there is no room, and calls `refused` then; and
        what the write raises.
        """
        try:
            claim = self._memory.admit(self._shard, points, body_bytes)
        except BaseException:
            write.close()
            refused()
            raise
        try:
            ack = await write
        except (DeadlineExceeded, asyncio.CancelledError):
            self._promises.keep(self._writer.machine.last_seq, claim)
            self._promises.settle(self._writer.machine)
            raise
        except BaseException:
            claim.give_back()
            raise
        claim.give_back()
        return ack

    def account(self) -> None:
        """Keep the worker's account true, whenever records were applied."""
        applied = self._writer.machine.applied_seq
        if applied != self._accounted or self._writer.failure is not None:
            self._accounted = applied
            self._memory.update(self._shard, self._engine.cost())
            self.point_bytes = self._engine.mean_point_bytes()
        self._promises.settle(self._writer.machine)

    def watch_memory(self) -> None:
        """Tell the machine when the worker's memory became full, or no longer is.

        A member takes what its primary has admitted. When that has filled the member's worker, the primary has to know.
        A primary admits only what there is room for.
        """
        following = isinstance(self._writer.machine.role, Idle)
        reason = self._memory.overfull() if following else None
        if (reason is None) != (self._no_memory is None):
            self._no_memory = None if reason is None else NoRoom(reason=reason, limit=MEMORY_LIMIT)
            self._tell()

    def tell_disk(self, reason: str | None) -> None:
        """Tell the machine whether there is room on the disk. reason: why not."""
        self._no_disk = None if reason is None else NoRoom(reason=reason, limit=DISK_LIMIT)
        self._tell()

    def give_all_back(self) -> None:
        """Give back what is promised: the replica is closed."""
        self._promises.give_all_back()

    def _tell(self) -> None:
        self._writer.feed(SpaceChanged(no_room=self._no_disk or self._no_memory))
