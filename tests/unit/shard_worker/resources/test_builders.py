from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import pytest

from shoal.core.errors import Internal, InvalidArgument, PreconditionFailed, Unavailable
from shoal.core.index_spec import CODED_DIM
from shoal.core.metric import Metric
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.native.task import Material, NativeTask, run_native_task
from shoal.shard_worker.index.sealed import SealedSegment
from shoal.shard_worker.resources.builders import BUILD_HERE, Delivery, ElsewhereBuilder, builder_of
from shoal.shard_worker.server import WorkerRole
from shoal.shard_worker.settings import WorkerSettings
from tests.support.worker.made_segments import clustered, form_of, frozen

DIM, ROWS = 8, 600


class FakeRunner:
    """Runs the task in the calling thread. spoil: changes the result. error: raised instead. stopped: the runner
    returns None as if it had been told to stop.
    """

    def __init__(
        self, *, spoil: Callable[[Delivery], Delivery] = lambda each: each, error: Exception | None = None, stopped: bool = False
    ) -> None:
        self.asked: list[NativeTask] = []
        self._spoil, self._error, self._stopped = spoil, error, stopped

    def run(self, task: NativeTask, material: Material, should_stop: Callable[[], bool]) -> Delivery | None:
        self.asked.append(task)
        if self._error is not None:
            raise self._error
        if self._stopped or should_stop():
            return None
        built = run_native_task(task, material, should_stop)
        assert built is not None
        return self._spoil(Delivery(built=built, place="a test"))


def job_of(text: str, rows: int = ROWS) -> BuildJob:
    return BuildJob(seq=1, form=form_of(text, DIM), base=None, others=(frozen(clustered(1, rows, DIM), Metric.L2),))


def damaged(delivery: Delivery) -> Delivery:
    packed = delivery.built.packed.copy()
    packed[-1] ^= 128
    return dataclasses.replace(delivery, built=dataclasses.replace(delivery.built, packed=packed))


def of_fewer_rows(delivery: Delivery) -> Delivery:
    job = job_of("HNSW8,Flat", ROWS - 1)
    built = run_native_task(job.task(), job.material(), bool)
    assert built is not None
    return dataclasses.replace(delivery, built=built)


def whole(sealed: SealedSegment | None) -> bool:
    return sealed is not None and np.array_equal(sealed.part().vectors, clustered(1, ROWS, DIM)) and sealed.form == "HNSW8,Flat"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_kind_of_an_automatic_graph_is_decided_before_the_task_is_sent() -> None:
    for factor, kind in ((1, "HNSW16,SQ8"), (1_000, "HNSW16,Flat")):
        vectors = clustered(1, ROWS, CODED_DIM)
        vectors[:2] *= factor
        runner, form = FakeRunner(), dataclasses.replace(form_of("auto", CODED_DIM), flat_rows=100)
        job = BuildJob(seq=1, form=form, base=None, others=(frozen(vectors, Metric.L2),))
        sealed = ElsewhereBuilder(runner).build(job, bool)
        assert sealed is not None
        assert ([task.index for task in runner.asked], sealed.form) == ([kind], kind)


def test_the_index_comes_from_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    runner, job = FakeRunner(), job_of("HNSW8,Flat")
    assert whole(ElsewhereBuilder(runner).build(job, bool))
    assert runner.asked == [NativeTask(index="HNSW8,Flat", dim=DIM, metric=Metric.L2, ef_construction=40, rows=ROWS)]
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        (FakeRunner(error=Unavailable("the node is gone")), "the node is gone"),
        (FakeRunner(error=Internal("faiss could not add")), "faiss could not add"),
        (FakeRunner(spoil=damaged), "has the hash"),
        (FakeRunner(spoil=of_fewer_rows), "HNSW8,Flat with 599 rows came back"),
    ],
    ids=["lost", "failed", "damaged", "wrong"],
)
def test_what_fails_elsewhere_is_built_here_with_one_line(runner: FakeRunner, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    assert whole(ElsewhereBuilder(runner).build(job_of("HNSW8,Flat"), bool))
    (line,) = warnings(caplog)
    assert "build_elsewhere_failed" in line
    assert reason in line
    assert len(runner.asked) == 1


def test_a_build_that_is_stopped_elsewhere_is_not_begun_here() -> None:
    assert ElsewhereBuilder(FakeRunner(stopped=True)).build(job_of("HNSW8,Flat"), pytest.fail) is None


def test_a_defect_of_the_runner_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        ElsewhereBuilder(FakeRunner(error=ZeroDivisionError())).build(job_of("HNSW8,Flat"), bool)


@pytest.mark.parametrize(("text", "rows"), [("Flat", ROWS), ("SQ8", ROWS), ("PQ4x4", ROWS), ("auto", ROWS), ("HNSW8,Flat", 0)])
def test_light_builds_stay_here(text: str, rows: int) -> None:
    runner = FakeRunner()
    sealed = ElsewhereBuilder(runner).build(job_of(text, rows), bool)
    assert sealed is not None
    assert sealed.rows_held == rows
    assert runner.asked == []


def test_the_setting_says_who_builds() -> None:
    assert builder_of("here", None) is BUILD_HERE
    assert builder_of("here", FakeRunner()) is BUILD_HERE
    assert isinstance(builder_of("ray", FakeRunner()), ElsewhereBuilder)


def test_ray_is_refused_where_no_ray_hosts_the_worker() -> None:
    with pytest.raises(PreconditionFailed, match="builds is 'ray', which needs a worker that Ray hosts"):
        WorkerRole(WorkerSettings(builds="ray"))


def test_other_places_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="builds is 'there', it must be one of here, ray"):
        WorkerSettings(builds="there")
