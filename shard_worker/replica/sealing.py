"""Seals and merges the segments of one replica in the background, one build at a time in the worker's build thread.

After an alteration of the text fields, it also gives sealed segments the indexes that they lack, one at a time and in
turns with builds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from shoal.core.collection import CollectionSpec
from shoal.core.deadline import Deadline
from shoal.core.errors import (
    DeadlineExceeded,
    ErrorDetails,
    Internal,
    PreconditionFailed,
    ResourceExhausted,
    ShoalError,
    Unavailable,
    to_keep,
)
from shoal.core.ids import ShardId
from shoal.runtime.change_signal import ChangeSignal
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.replica_index import TextsLacking
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.logic.replication.events import DISK_LIMIT, StorageBroke
from shoal.shard_worker.replica.built_index import BuiltIndex, WrittenSegment
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.replica.files import ReplicaFiles
from shoal.shard_worker.replica.searched_vectors import SearchedVectors
from shoal.shard_worker.replica.segment_texts import TextsStopped, WrittenTexts
from shoal.shard_worker.replica.writer import Writer
from shoal.shard_worker.resources.allocator import freeing_for_good
from shoal.shard_worker.resources.memory import MEMORY_LIMIT, Claim, Shortage, WorkerMemory
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.text.field_texts import texts_of

log = logging.getLogger("shoal.worker.sealing")

T = TypeVar("T")
P = ParamSpec("P")

RETRY_S = 5.0
"""The pause after a failed build. Searches of its rows stay exact until then."""


class Sealing:
    """Runs the background builds of one replica.

    Call `begin` once, `kick` after rows were applied, and `close` before the writer is closed.
    """

    def __init__(
        self, *, shard: ShardId, engine: Engine, writer: Writer, pools: Pools, memory: WorkerMemory, vectors: SearchedVectors
    ) -> None:
        self._shard, self._engine, self._writer, self._pools, self._memory = shard, engine, writer, pools, memory
        self._vectors = vectors
        self._shortage = ""
        self._reclaiming = False
        self._wake = asyncio.Event()
        self._ready = False
        self._everything = 0
        self._settled = ChangeSignal()
        self._building: BuiltIndex | None = None
        self._turn = 0
        self._texts_next = False
        self._told_texts: CollectionSpec | None = None
        self._choosing: asyncio.Task[None] | None = None
        self._files: ReplicaFiles | None = None
        self._stop = asyncio.Event()
        self._failure: ShoalError | None = None
        self._no_space: str | None = None
        self._running = asyncio.create_task(self._run())

    @property
    def pending(self) -> int:
        """Return the number of builds that run or are due, with the segments that lack the index of a text field."""
        builds = sum(each is self._building or self._is_due(each) for each in self._engine.indexes)
        return builds + len(self._engine.texts.lacking()) + int(self._told_texts is not None)

    @property
    def unready(self) -> int:
        """Return `pending`, with the segments that have yet to be measured for their searches to be fast.

        Once this is 0 it stays so until `kick`: a worker with many replicas is asked for it every few seconds.
        """
        if self._ready:
            return 0
        unready = self.pending + self._vectors.measurements_due
        self._ready = not unready
        return unready

    @property
    def waiting(self) -> str:
        """Return why a due build does not begin, why rows stay without the chosen index, or in how many segments the
        text fields are indexed so far; "" if nothing of this is so."""
        waiting = self._no_space or (self._shortage if self.pending else "") or self._engine.waiting_reason()
        return waiting or self._engine.texts.waiting()

    def begin(self, files: ReplicaFiles) -> None:
        """Begin to build. files: those of the replica, which are kept open where the store is read."""
        self._files = files
        self.kick()

    def kick(self) -> None:
        """Wake the task that looks for the next build."""
        self._ready = False
        self._wake.set()

    def tell_spec(self, spec: CollectionSpec) -> None:
        """Take the collection's new index and text fields. Segments that have others are built again, or get their
        texts."""
        self._engine.choose_indexes(spec)
        self._shortage = ""
        self._told_texts = spec
        if self._choosing is None or self._choosing.done():
            self._choosing = asyncio.create_task(self._choose_texts())
        self.kick()

    def reclaim(self) -> None:
        """Seal the growing segment if many of its rows are dead, to free their memory. Call it when memory is short."""
        self._reclaiming = True
        self.kick()

    def tell_space(self, reason: str | None) -> None:
        """Take whether the disk has room. reason: why not, None if it has.

        Without room nothing is built, since a build takes space before it frees any.
        """
        self._no_space = reason
        if reason is None:
            self.kick()

    async def optimize(self, timeout_s: float) -> None:
        """Seal and merge all present rows into one segment, and measure its recall as far as there is time.

        Raises DeadlineExceeded (the work goes on), or the error of a build.
        """
        deadline = Deadline.after(timeout_s, boot_s)
        self._failure = None
        self._check_space()
        await self._writer.between_writes(self._engine.freeze)
        self._everything += 1
        self._shortage = ""
        try:
            while self.pending:
                self._raise_failure()
                self._check_space()
                self._check_memory()
                self.kick()
                if not await self._settled.wait(self._settled.count, deadline.left_s):
                    late = f"shard {self._shard} was not optimized within {timeout_s:.0f} s; the work goes on"
                    raise DeadlineExceeded(late, ErrorDetails(shard=str(self._shard)))
            self._raise_failure()
            self._check_rows()
        finally:
            self._everything -= 1
        await self._vectors.measure_pending(deadline)

    async def close(self) -> None:
        """Stop the running build, if there is one, and end the task."""
        self._stop.set()
        self.kick()
        await self._running
        if self._choosing is not None:
            await self._choosing

    def _check_space(self) -> None:
        if self._no_space is not None:
            raise ResourceExhausted(self._no_space, ErrorDetails(shard=str(self._shard), limit=DISK_LIMIT))

    def _check_memory(self) -> None:
        if self._shortage:
            raise ResourceExhausted(self._shortage, ErrorDetails(shard=str(self._shard), limit=MEMORY_LIMIT))

    def _check_rows(self) -> None:
        reason = self._engine.waiting_reason()
        if reason:
            raise PreconditionFailed(f"shard {self._shard} stays exact: {reason}", ErrorDetails(shard=str(self._shard), field="index"))

    def _raise_failure(self) -> None:
        failure, self._failure = self._writer.failure or self._failure, None
        if failure is not None:
            raise type(failure)(failure.message, replace(failure.details, shard=str(self._shard)))
        if self._stop.is_set():
            raise Unavailable(f"shard {self._shard} is closing", ErrorDetails(shard=str(self._shard)))

    async def _run(self) -> None:
        try:
            while not self._stop.is_set():
                await self._wake.wait()
                self._wake.clear()
                await self._give_back_growing()
                while not self._stop.is_set() and await self._build_next():
                    pass
                self._settled.notify()
        finally:
            self._settled.notify()

    async def _choose_texts(self) -> None:
        """Let the engine index the text fields of the last spec that was told."""
        try:
            while (spec := self._told_texts) is not None:
                # In a thread: the tables and dictionaries of the first analyzer take a while.
                texts = await asyncio.to_thread(texts_of, spec.text)
                await self._writer.between_writes(partial(self._engine.texts.choose, texts))
                if self._told_texts is spec:
                    self._told_texts = None
        except ShoalError as error:
            # The replica closes or has failed. It takes the text fields when it is opened again.
            self._told_texts = None
            log.warning(event("text_fields_not_taken", shard=self._shard, reason=error.message))
        self.kick()

    async def _give_back_growing(self) -> None:
        if self._reclaiming and not self._stop.is_set() and self._writer.failure is None:
            self._reclaiming = False
            await self._writer.between_writes(self._engine.freeze_worn)

    async def _build_next(self) -> bool:
        """Do one build, or make the texts of one segment. Return whether to look for more work at once."""
        if self._no_space is not None or self._writer.failure is not None:
            return False
        due = next((each for each in self._in_turn() if self._is_due(each)), None)
        lacking = self._engine.texts.lacking()
        if lacking and (self._texts_next or due is None):
            self._texts_next = False
            return await self._make_texts(lacking[0])
        if due is None:
            return False
        self._texts_next = True
        self._building = due
        try:
            async with self._pools.build_turn(self._stop) as taken:
                built = taken and await self._build_in_turn()
            if built:
                # Outside of the turn: it waits for the disk, and other replicas can build meanwhile.
                await self._sweep()
            return built
        finally:
            self._building = None

    def _is_due(self, index: BuiltIndex) -> bool:
        return index.next_build(everything=self._everything > 0) is not None

    def _in_turn(self) -> Sequence[BuiltIndex]:
        """Return all indexes, those first that did not begin the last build."""
        indexes = self._engine.indexes
        return (*indexes[self._turn :], *indexes[: self._turn])

    async def _build_in_turn(self) -> bool:
        job: BuildJob | None = None
        outcome, began = "stopped", boot_s()
        self._pools.builds_running += 1
        try:
            begun = await self._writer.between_writes(self._begin)
            if begun is None:
                return False
            index, job = begun
            self._building = index
            with self._reserved(index.build_bytes(job)):
                if await self._finish(index, job):
                    outcome = "done"
                    with freeing_for_good():
                        # The last references to the segments that were replaced, unless a search still reads them.
                        begun = job = None
                    return True
        except ShoalError as error:
            outcome = "failed"
            self._fail(error)
        except Exception as error:
            outcome = "failed"
            log.exception(event("build_failed", shard=self._shard))
            self._fail(Unavailable(f"building an index of shard {self._shard} failed: {type(error).__name__}: {error}"))
        finally:
            self._pools.builds_running -= 1
            if job is not None or outcome != "stopped":
                self._pools.built(outcome, boot_s() - began)
        if job is not None and not self._stop.is_set():
            await self._abandon(index, job)
        return False

    async def _abandon(self, index: BuiltIndex, job: BuildJob) -> None:
        try:
            await self._writer.between_writes(lambda: index.abandon(job))
        except ShoalError as error:
            log.warning(event("build_not_abandoned", shard=self._shard, reason=error.message))

    def _reserved(self, need_bytes: int) -> Claim:
        """Reserve memory for a build. Raises ResourceExhausted if there is not enough."""
        claim = self._memory.reserve_build(self._shard, need_bytes)
        if isinstance(claim, Shortage):
            self._shortage = claim.reason
            raise ResourceExhausted(claim.reason, ErrorDetails(shard=str(self._shard), limit=MEMORY_LIMIT))
        self._shortage = ""
        return claim

    def _begin(self) -> tuple[BuiltIndex, BuildJob] | None:
        """Begin the build of the next index that is due."""
        # Memory kept free for builds counts as free here: the index is chosen for all of its rows and a copy of them.
        self._engine.save_memory(self._memory.free_bytes)
        self._memory.update(self._shard, self._engine.cost())
        for each in self._in_turn():
            plan = each.next_build(everything=self._everything > 0)
            if plan is not None:
                self._turn = (self._engine.indexes.index(each) + 1) % len(self._engine.indexes)
                return each, each.begin_build(plan)
        return None

    async def _finish(self, index: BuiltIndex, job: BuildJob) -> bool:
        began = boot_s()
        sealed = await self._pools.build(lambda: self._pools.builder.build(job, self._stopping), self._stop)
        if sealed is None:
            return False
        self._check_space()
        written = await self._write(index, job, sealed)
        if written is None:
            return False
        self._check_space()
        vector = self._vectors.get(index.name)
        try:
            if sealed.rows_held and vector is not None:
                await vector.tuner.measure_new(sealed.part(), written.name, boot_s() - began)
            await self._writer.between_writes(lambda: index.swap(job, sealed, written))
        finally:
            if vector is not None:
                vector.tuner.swapped(written.name)
        self._memory.update(self._shard, self._engine.cost())
        log.info(event("segment_sealed", shard=self._shard, rows=sealed.rows_held, inserted=job.inserts, seconds=f"{boot_s() - began:.2f}"))
        return True

    async def _write(self, index: BuiltIndex, job: BuildJob, sealed: SealedSegment) -> WrittenSegment | None:
        """Write the files of a built segment; return None if that was stopped. Texts may have to be read from the
        store."""

        if job.texts is None:
            return await self._pools.build(lambda: index.write_segment(job, sealed), self._stop)

        async def write() -> WrittenSegment | None:
            work = partial(_unless_stopped, index.write_segment, job, sealed, self._stopping)
            return await self._pools.build(work, self._stop)

        return await self._during(write)

    async def _make_texts(self, lacking: TextsLacking) -> bool:
        """Make the index of the texts of a sealed segment, and let searches see it. Return whether this was done."""
        began = boot_s()
        try:
            async with self._pools.build_turn(self._stop) as taken:
                written = await self._texts_written(lacking) if taken else None
                if written is None:
                    return False
                await self._writer.between_writes(partial(self._engine.texts.swap, written))
        except ShoalError as error:
            self._fail(error)
            return False
        except Exception as error:
            log.exception(event("texts_failed", shard=self._shard))
            self._fail(Unavailable(f"indexing texts of shard {self._shard} failed: {type(error).__name__}: {error}"))
            return False
        fields = ",".join(lacking.texts.names)
        log.info(event("texts_indexed", shard=self._shard, rows=len(lacking.rows), fields=fields, seconds=f"{boot_s() - began:.2f}"))
        await self._sweep()
        self._settled.notify()
        return True

    async def _texts_written(self, lacking: TextsLacking) -> WrittenTexts | None:
        async def write() -> WrittenTexts | None:
            return await self._pools.build(lambda: _unless_stopped(self._engine.texts.write, lacking, self._stopping), self._stop)

        with self._reserved(self._engine.texts.build_bytes(lacking)):
            return await self._during(write)

    async def _during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work`, during which the store can be read."""
        if self._files is None:
            raise Internal(f"builds of shard {self._shard} have not begun")
        return await self._files.during(work)

    def _stopping(self) -> bool:
        """Return whether a running build must end. Called from any thread."""
        return self._stop.is_set() or self._pools.stopping.is_set()

    async def _sweep(self) -> None:
        """Delete the files that the build has replaced.

        An error here is not the build's: the disk of the log or the store has failed.
        """
        try:
            await self._writer.between_writes(self._engine.sweep)
        except ShoalError as error:
            if not self._stop.is_set():
                self._writer.feed(StorageBroke(error=to_keep(error)))
        except Exception as error:
            log.exception(event("sweep_failed", shard=self._shard))
            self._fail(Unavailable(f"deleting replaced files of shard {self._shard} failed: {type(error).__name__}: {error}"))

    def _fail(self, error: ShoalError) -> None:
        log.warning(event("build_failed", shard=self._shard, reason=error.message))
        self._failure = to_keep(error)
        asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)


def _unless_stopped(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Return the result of `work`, None if it was stopped while it read texts."""
    try:
        return work(*args, **kwargs)
    except TextsStopped:
        return None
