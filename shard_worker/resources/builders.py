"""Choose where a segment is built: in the worker's build thread, or with an index built by a process elsewhere.

Everything here runs in the build thread, never on the event loop. A build elsewhere may fail in any way: the segment is
then built here, with one warning. Does not know how work is transported; a Runner does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shoal.core.errors import PreconditionFailed, ShoalError
from shoal.core.index_spec import IndexFamily
from shoal.runtime.logs import event
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.native.task import Material, NativeTask, PackedIndex
from shoal.shard_worker.index.sealed import SealedSegment

log = logging.getLogger("shoal.worker.builders")

LIGHT = (IndexFamily.FLAT, IndexFamily.CODES)
"""Families whose rows are only copied or coded: sending the rows costs more than the build."""


class Builder(Protocol):
    """Builds the segment of a job."""

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """Build the segment; see BuildJob.decided and BuildJob.run."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Delivery:
    """An index that was built elsewhere. place: where it was built, for people."""

    built: PackedIndex
    place: str


class Runner(Protocol):
    """Lets other processes do tasks."""

    def run(self, task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> Delivery | None:
        """Do run_native_task elsewhere; return None within a second of should_stop(). Blocks its thread.

        Raises Unavailable when the task failed, or, within a bounded time, when no process takes it. It may read
        `material` in another thread for a moment after it has returned.
        """
        ...


class HereBuilder:
    """Builds in the calling thread."""

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """Build the segment; see Builder."""
        return job.decided().run(should_stop)


BUILD_HERE = HereBuilder()


class ElsewhereBuilder:
    """Lets a runner build the index, and builds everything else here."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """Build the segment; see Builder."""
        job = job.decided()
        if job.spec.family in LIGHT or not job.rows:
            return job.run(should_stop)
        try:
            delivery = self._runner.run(job.task(), job.material(), should_stop)
            if delivery is None:
                return None
            sealed = job.adopt(delivery.built)
        except ShoalError as error:
            log.warning(event("build_elsewhere_failed", index=job.spec.text, rows=job.rows, reason=error.message, action="build here"))
        else:
            log.info(event("built_elsewhere", index=job.spec.text, rows=job.rows, place=delivery.place))
            return sealed
        return job.run(should_stop)


def builder_of(builds: str, runner: Runner | None) -> Builder:
    """Return the builder for the setting `builds`.

    Raises PreconditionFailed when it needs a runner and there is none.
    """
    if builds == "here":
        return BUILD_HERE
    if runner is None:
        raise PreconditionFailed(
            f"builds is {builds!r}, which needs a worker that Ray hosts ('shoal up'); a worker as a plain process allows only 'here'"
        )
    return ElsewhereBuilder(runner)
