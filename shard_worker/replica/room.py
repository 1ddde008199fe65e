"""The memory of one replica: room reserved for its writes, and its share of the worker's account."""

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
    """Room reserved for writes whose callers left before the acknowledgement. Used on the event loop."""

    def __init__(self) -> None:
        self._open: list[tuple[Seq, Claim]] = []

    def keep(self, through: Seq, claim: Claim) -> None:
        """Keep the room of a write that may still be applied; its record, if any, has a seq of at most `through`."""
        self._open.append((through, claim))

    def settle(self, machine: ReplicaMachine) -> None:
        """Give back the room of writes that are applied by now.

        A replica that does not lead has no writes of its own. The records left in its log are applied or cut as the
        primary decides.
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
    """Admits writes, updates the account, and informs the machine when there is no room for upserts.

    Used on the event loop. point_bytes: mean bytes of a stored point.
    """

    def __init__(self, *, shard: ShardId, engine: Engine, writer: Writer, memory: WorkerMemory) -> None:
        self._shard, self._engine, self._writer, self._memory = shard, engine, writer, memory
        self._promises = Promises()
        self._accounted = (Seq(-1), False)
        self.point_bytes = engine.mean_point_bytes()
        self._no_disk: NoRoom | None = None
        self._no_memory: NoRoom | None = None

    async def admit(self, write: Coroutine[Any, Any, WriteAck], points: int, body_bytes: int, *, refused: Callable[[], None]) -> WriteAck:
        """Carry out a write, with room reserved for its points until they are applied or certainly will not be.

        Without room, raises ResourceExhausted and calls `refused`; the write has not begun then. Also raises what the
        write raises.
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
        """Update the worker's account. Call it when records were applied, and when files were opened or closed."""
        now = (self._writer.machine.applied_seq, self._engine.at_rest)
        if now != self._accounted or self._writer.failure is not None:
            self._accounted = now
            self._memory.update(self._shard, self._engine.cost())
            self.point_bytes = self._engine.mean_point_bytes()
        self._promises.settle(self._writer.machine)

    @property
    def has_disk(self) -> bool:
        """Return whether there is room on the disk, as far as is known."""
        return self._no_disk is None

    def watch_memory(self) -> None:
        """Inform the machine when the worker's memory has become full, or no longer is.

        A member takes what its primary has admitted. If that fills the member's worker, the primary must know. A
        primary admits only what it has room for.
        """
        following = isinstance(self._writer.machine.role, Idle)
        reason = self._memory.overfull() if following else None
        if (reason is None) != (self._no_memory is None):
            self._no_memory = None if reason is None else NoRoom(reason=reason, limit=MEMORY_LIMIT)
            self._tell()

    def tell_disk(self, reason: str | None) -> None:
        """Inform the machine whether there is room on the disk. reason: why not, None if there is."""
        self._no_disk = None if reason is None else NoRoom(reason=reason, limit=DISK_LIMIT)
        self._tell()

    def give_all_back(self) -> None:
        """Give back all reserved room: the replica is closed."""
        self._promises.give_all_back()

    def _tell(self) -> None:
        self._writer.feed(SpaceChanged(no_room=self._no_disk or self._no_memory))
