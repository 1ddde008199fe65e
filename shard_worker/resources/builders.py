"""Who makes a segment: the worker's build thread, or a process elsewhere that is given the work of the index.

Everything here runs in the build thread, never on the event loop. What is elsewhere may fail in any way: the segment is
then made here, with one warning. Knows nothing of how work travels; that is a Runner's.
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
"""Families whose rows are only copied or coded: sending them costs more than that."""


class Builder(Protocol):
    """Makes the segment of a job."""

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """See BuildJob.run."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Delivery:
    """An index from elsewhere. place: where it was made, for people."""

    built: PackedIndex
    place: str


class Runner(Protocol):
    """Has tasks done in other processes."""

    def run(self, task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> Delivery | None:
        """run_native_task, elsewhere; None within a second of should_stop(). Blocks its thread.

        Raises Unavailable, within a bounded time when nobody takes it, and when it failed. It may go on reading
        `material` in another thread for a moment after it returned.
        """
        ...


class HereBuilder:
    """In the calling thread."""

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """See Builder."""
        return job.run(should_stop)


BUILD_HERE = HereBuilder()


class ElsewhereBuilder:
    """The index by a runner, all else here."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def build(self, job: BuildJob, should_stop: Callable[[], bool]) -> SealedSegment | None:
        """See Builder."""
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
    """The builder that the setting `builds` asks for.

    Raises PreconditionFailed when that needs a runner and there is none.
    """
    if builds == "here":
        return BUILD_HERE
    if runner is None:
        raise PreconditionFailed(
            f"builds is {builds!r}, which needs a worker that Ray hosts ('shoal up'); a worker of its own allows 'here'"
        )
    return ElsewhereBuilder(runner)
