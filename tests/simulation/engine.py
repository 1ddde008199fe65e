"""The engine under the product's writer: its disk operations take virtual time, and succeed or fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from greenlet import GreenletExit, getcurrent, greenlet

from shoal.core.errors import Internal
from shoal.core.ids import Seq, Term
from shoal.shard_worker.logic.replication.record import Record
from shoal.shard_worker.logic.replication.request_memory import Forgetting
from shoal.shard_worker.storage.failure import DiskFull
from tests.simulation.disk import ReplicaDisk, WorkerDisk
from tests.simulation.scheduler import Process

FLUSH_S, APPLY_S, OPEN_S = (0.0005, 0.003), 0.0002, 0.001
FULL_PART = 0.1
"""Part of appends to a full disk that fail for lack of room."""

CHECKPOINT_EVERY = 40
RETAINED_TOO_MUCH = 0.1
"""Part of trims at which the log is so large that only the needed records are kept."""


class DiskWatcher(Protocol):
    """Checks the operations of a replica on its disk."""

    def applying(self, disk: ReplicaDisk, record: Record) -> None: ...
    def cut(self, disk: ReplicaDisk, records: list[Record]) -> None: ...


class SimEngine:
    """A WriterEngine over the simulated disk of one replica. Its blocking calls run in the writer's virtual thread."""

    def __init__(self, *, process: Process, disk: ReplicaDisk, worker_disk: WorkerDisk, watcher: DiskWatcher) -> None:
        self._process, self._disk, self._worker_disk, self._watcher = process, disk, worker_disk, watcher
        self._forgetting: list[Forgetting] = []
        self._kept_from = (Seq(1), Seq(1))
        self._checkpoint_at = disk.store.applied + CHECKPOINT_EVERY
        self._waiting: greenlet | None = None
        self._steps_left: int | None = None
        self.at_rest = False

    @property
    def log_base(self) -> tuple[Term, Seq]:
        """See Engine."""
        term, seq = self._disk.base
        return Term(term), Seq(seq)

    def wake(self) -> bool:
        """See Engine."""
        was_closed = self.at_rest
        if was_closed:
            self._wait(OPEN_S)
            self._break()
            self.at_rest = False
        return was_closed

    def rest(self, *, may_write: bool) -> bool:
        """See Engine."""
        assert not self.at_rest, "a replica at rest is told to rest"
        if not may_write:
            return False
        self._wait(self.flush_s())
        self._break()
        self._disk.make_checkpoint()
        self.at_rest = True
        return True

    def save_term(self, term: Term) -> None:
        """See Engine."""
        self._check_open()
        self._wait(self.flush_s())
        self._break()
        assert term >= self._disk.known_term, f"stored term falls from {self._disk.known_term} to {term}"
        self._disk.known_term = term

    def append(self, records: Sequence[Record]) -> None:
        """See Engine."""
        self._check_open()
        self._wait(self.flush_s())
        if self._worker_disk.full and self._process.scheduler.random.random() < FULL_PART:
            raise DiskFull("disk full")
        self._break()
        self._disk.append(records)

    def truncate_after(self, seq: Seq) -> None:
        """See Engine."""
        self._check_open()
        self._wait(self.flush_s())
        self._watcher.cut(self._disk, self._disk.truncate_after(seq))

    def forget(self, forgetting: Forgetting) -> None:
        """See Engine."""
        self._forgetting.append(forgetting)

    def apply(self, records: Sequence[Record]) -> tuple[int, ...]:
        """See Engine."""
        self._check_open()
        self._wait(APPLY_S)
        forgetting, self._forgetting = self._forgetting, []
        for each in forgetting:
            self._disk.store.forget(each)
        affected = []
        for record in records:
            self._watcher.applying(self._disk, record)
            affected.append(self._disk.store.apply(record))
        return tuple(affected)

    def checkpoint_if_due(self) -> None:
        """See Engine."""
        applied = self._disk.store.applied
        if applied < self._checkpoint_at:
            return
        self._checkpoint_at = applied + CHECKPOINT_EVERY
        self._disk.make_checkpoint()
        needed, wanted = self._kept_from
        kept_from = needed if self._process.scheduler.random.random() < RETAINED_TOO_MUCH else wanted
        self._disk.trim(kept_from - 1)

    def keep_log(self, needed_from: Seq, wanted_from: Seq) -> None:
        """See Engine."""
        self._kept_from = (needed_from, wanted_from)

    def never_trim(self) -> None:
        """Keep the whole log from now on."""
        self._checkpoint_at = 1 << 62

    def flush_s(self) -> float:
        """Return how long a flush takes now."""
        low, high = FLUSH_S
        return (low + (high - low) * self._process.scheduler.random.random()) * self._worker_disk.slow

    def crash(self, steps: int) -> None:
        """End the writer's thread with its process, after `steps` more steps."""
        self._steps_left = steps
        thread, self._waiting = self._waiting, None
        if thread is not None:
            thread.switch()

    def _check_open(self) -> None:
        assert not self.at_rest, "the files of a replica are used while they are closed"

    def _break(self) -> None:
        if self._worker_disk.breaks:
            self._worker_disk.breaks = False
            raise Internal("a flush failed")

    def _wait(self, seconds: float) -> None:
        if self._steps_left is None:
            self._waiting = thread = getcurrent()
            self._process.after(seconds, thread.switch)
            assert thread.parent is not None, "only a virtual thread may block"
            thread.parent.switch()
            self._waiting = None
        if self._steps_left is not None:
            if self._steps_left == 0:
                raise GreenletExit
            self._steps_left -= 1
