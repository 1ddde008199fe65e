"""Seals and merges the segments of one replica in the background: one build at a time, in the worker's build thread."""

from __future__ import annotations

import asyncio
import logging

from shard_worker.engine import Engine
from shard_worker.index.build import BuildJob
from shard_worker.pools import Pools
from shard_worker.writer import Writer
from shoal.core.errors import DeadlineExceeded, ErrorDetails, ShoalError, Unavailable
from shoal.core.ids import ShardId
from shoal.runtime.clock import boot_s
from shoal.runtime.logs import event

log = logging.getLogger("shoal.worker.sealing")

RETRY_S = 5.0
"""Pause after a build that failed; its rows stay searchable, exactly."""


class Sealing:
    """Background builds of one replica. `kick` whenever rows were applied; `close` before the writer is closed."""

    def __init__(self, *, shard: ShardId, engine: Engine, writer: Writer, pools: Pools) -> None:
        self._shard, self._engine, self._writer, self._pools = shard, engine, writer, pools
        self._wake = asyncio.Event()
        self._everything = 0
        self._settled = asyncio.Event()
        self._building = False
        self._stopping = False
        self._failure: ShoalError | None = None
        self._running = asyncio.create_task(self._run())

    @property
    def pending(self) -> int:
        """Builds that run or are due."""
        return int(self._building or self._engine.next_build(everything=self._everything > 0) is not None)

    def kick(self) -> None:
        """Look whether there is something to build."""
        self._wake.set()

    async def optimize(self, timeout_s: float) -> None:
        """Seal and merge everything that is there now into one segment. Raises DeadlineExceeded (the work goes on), or why it failed."""
        deadline = boot_s() + timeout_s
        self._failure = None
        await self._writer.between_writes(self._engine.freeze)
        self._everything += 1
        try:
            while self.pending:
                self._settled.clear()
                self._wake.set()
                async with asyncio.timeout(max(0.0, deadline - boot_s())):
                    await self._settled.wait()
                self._raise_failure()
        except TimeoutError:
            raise DeadlineExceeded(
                f"shard {self._shard} was not optimized within {timeout_s:.0f} s; the work goes on", ErrorDetails(shard=str(self._shard))
            ) from None
        finally:
            self._everything -= 1

    async def close(self) -> None:
        """Stop the build that runs, if any, and end."""
        self._stopping = True
        self._wake.set()
        await self._running

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self._stopping:
            raise Unavailable(f"shard {self._shard} is closing", ErrorDetails(shard=str(self._shard)))

    async def _run(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            while not self._stopping and await self._build_next():
                pass
            self._settled.set()

    async def _build_next(self) -> bool:
        """Do one build. Returns whether it is worth looking for another at once."""
        if self._writer.failure is not None or self._engine.next_build(everything=self._everything > 0) is None:
            return False
        job: BuildJob | None = None
        self._building = True
        try:
            job = await self._writer.between_writes(self._begin)
            if job is None:
                return False
            return await self._finish(job)
        except ShoalError as error:
            self._fail(error)
        except Exception as error:
            log.exception(event("build_failed", shard=self._shard))
            self._fail(Unavailable(f"building an index of shard {self._shard} failed: {type(error).__name__}: {error}"))
        finally:
            self._building = False
        if job is not None and not self._stopping:
            await self._writer.between_writes(lambda: self._engine.abandon(job))
        return False

    def _begin(self) -> BuildJob | None:
        plan = self._engine.next_build(everything=self._everything > 0)
        return None if plan is None else self._engine.begin_build(plan)

    async def _finish(self, job: BuildJob) -> bool:
        began = boot_s()
        sealed = await self._pools.build(lambda: job.run(lambda: self._stopping or self._pools.stopping.is_set()))
        if sealed is None:
            return False
        written = await self._pools.build(lambda: self._engine.write_segment(job, sealed))
        await self._writer.between_writes(lambda: self._engine.swap(job, sealed, written))
        log.info(event("segment_sealed", shard=self._shard, rows=sealed.rows_held, inserted=job.inserts, seconds=f"{boot_s() - began:.2f}"))
        return True

    def _fail(self, error: ShoalError) -> None:
        log.warning(event("build_failed", shard=self._shard, reason=error.message))
        self._failure = error
        asyncio.get_running_loop().call_later(RETRY_S, self._wake.set)
