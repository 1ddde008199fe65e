"""Test the tuner in the background: it measures what is due, lets builds go first, remembers, answers on demand, and
ends.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Callable

import faiss
import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import DeadlineExceeded, Internal, Unavailable
from shoal.core.ids import CollectionId, ShardId
from shoal.core.metric import Metric
from shoal.core.scoring import scores
from shoal.core.shard_calls import ShardFound, ShardSearch
from shoal.core.topk import HitColumns
from shoal.core.tuning_calls import ShardMeasureRecall, ShardTune
from shoal.shard_worker.index.tuning import Tuning
from shoal.shard_worker.index.view import IndexView, SegmentView
from shoal.shard_worker.logic.tuning import plan as tuning_plan
from shoal.shard_worker.resources import rounds
from shoal.shard_worker.resources.pools import Pools
from shoal.shard_worker.tuning import calibrate as calibration
from shoal.shard_worker.tuning import measuring
from shoal.shard_worker.tuning import tuner as module
from shoal.shard_worker.tuning.calibrate import calibrate
from shoal.shard_worker.tuning.files import TuningFiles
from shoal.shard_worker.tuning.query_kinds import QueryKinds
from shoal.shard_worker.tuning.tuner import Tuner
from tests.support.worker.made_segments import built, clustered, form_of, frozen

SHARD = ShardId(CollectionId("collection"), 3)
DIM = 8


class FixedReading:
    """A replica that has these parts and searches them exactly. views: how often its view was taken."""

    def __init__(self, parts: list[SegmentView]) -> None:
        self.parts, self.views = parts, 0
        self.before_search: Callable[[], None] = lambda: None

    def view(self) -> IndexView:
        self.views += 1
        return IndexView(seq=1, parts=tuple(self.parts))

    def search(self, view: IndexView, call: ShardSearch) -> ShardFound:
        self.before_search()
        part = view.parts[0]
        found = scores(call.queries[0], part.vectors, Metric.L2)
        order = np.argsort(found, kind="stable")[: call.groups[0].k]
        return ShardFound(hits=HitColumns(counts=np.array([len(order)]), ids=part.ids[order], scores=found[order]))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return built(form_of("HNSW8", DIM), (frozen(clustered(1, 600, DIM), Metric.L2),), tmp_path_factory.mktemp("segment"))


@pytest.fixture
def part(made) -> SegmentView:
    made.name = "segment"
    made.part().tuning.now = Tuning.untuned(breadth_name="ef", max_breadth=600, quantised=False, rows=600, dim=DIM)
    return made.part()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    monkeypatch.setattr(rounds, "PAUSE_S", 0.001)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    monkeypatch.setattr(tuning_plan, "QUIET_S", 0.0)
    # The width of the grid must not depend on how busy the machine is.
    monkeypatch.setattr(calibration, "NOT_WORTH", math.inf)


class CountedPools(Pools):
    """asked: how often a build thread was requested."""

    asked = 0

    async def build(self, work, withdrawn):
        self.asked += 1
        return await super().build(work, withdrawn)


@pytest.fixture
def pools():
    made = CountedPools(search_threads=1, build_threads=1)
    yield made
    made.close()


def tuner(reading: FixedReading, pools: Pools, folder) -> Tuner:
    return Tuner(shard=SHARD, reading=reading, pools=pools, spec=CollectionSpec(name="c", dim=DIM, metric=Metric.L2), folder=folder)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.002)


async def looked(reading: FixedReading, pools: Pools, times: int = 10) -> None:
    """Wait until the tuner has done what was due: it is idle, or it has taken the view `times` more times."""
    before = reading.views
    await until(lambda: reading.views >= before + times or not pools.rounds.awake)


async def occupied(pools: CountedPools) -> tuple[threading.Event, asyncio.Task]:
    """Keep the build thread busy until the event is set."""
    began, release = threading.Event(), threading.Event()
    busy = asyncio.create_task(pools.build(lambda: began.set() or release.wait(20), asyncio.Event()))
    await until(began.is_set)
    return release, busy


def ask(background: Tuner, count: int) -> None:
    for query in clustered(7, count, DIM):
        background.offer(query[None, :])


def test_new_segments_are_measured_on_their_rows_then_on_real_queries(part, pools, tmp_path):
    async def run():
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path / "tuning")
        await until(lambda: part.tuning.now.measured)
        assert not part.tuning.now.real
        ask(background, 63)
        await looked(reading, pools)
        assert not part.tuning.now.real
        ask(background, 1)
        await until(lambda: part.tuning.now.real)
        assert part.tuning.now.queries == 64
        await background.close()

    asyncio.run(run())


def test_a_restart_does_not_measure_again(part, pools, tmp_path, monkeypatch):
    async def run():
        first = tuner(FixedReading([part]), pools, tmp_path / "tuning")
        ask(first, 64)
        await until(lambda: part.tuning.now.real)
        await first.close()
        known = part.tuning.now
        part.tuning.now = Tuning.untuned(breadth_name="ef", max_breadth=600, quantised=False, rows=600, dim=DIM)
        monkeypatch.setattr(measuring, "calibrate", lambda *_, **__: pytest.fail("measured again"))
        second = tuner(FixedReading([part]), pools, tmp_path / "tuning")
        await until(lambda: part.tuning.now.real)
        assert part.tuning.now.breadth_for(5, 0.8) == known.breadth_for(5, 0.8)
        answer = await second.measure_recall(ShardMeasureRecall(shard=SHARD, k=3, sample=5, recall=0.9), 20.0)
        assert answer.real_queries
        await second.close()

    asyncio.run(run())


def test_queries_asked_before_the_file_was_read_are_kept_beside_it(part, pools, tmp_path):
    async def run():
        first = tuner(FixedReading([]), pools, tmp_path)
        ask(first, 10)
        await first.close()
        second = tuner(FixedReading([]), pools, tmp_path)
        ask(second, 5)
        await second.close()
        known = QueryKinds(dim=DIM, seed=0)
        TuningFiles(tmp_path).load_queries(known)
        assert known.asked.held == 15

    asyncio.run(run())


def test_what_a_file_says_of_another_shape_is_not_believed(part, pools, tmp_path, made):
    async def run():
        first = tuner(FixedReading([part]), pools, tmp_path)
        await until(lambda: part.tuning.now.measured)
        await first.close()
        rows = frozen(clustered(2, 500, DIM), Metric.L2)
        other = built(form_of("HNSW8", DIM), (rows,), tmp_path)
        other.name = "segment"
        second = tuner(FixedReading([other.part()]), pools, tmp_path)
        await until(lambda: other.part().tuning.now.measured)
        assert other.part().tuning.now.shape.rows == 500
        await second.close()

    asyncio.run(run())


def test_builds_go_first_but_not_for_ever(part, pools, tmp_path, monkeypatch):
    made_way = []
    done = Tuning.untuned(breadth_name="ef", max_breadth=600, quantised=False, rows=600, dim=DIM)

    def stopping(*args, should_stop, **kwargs):
        pools.builds_running = 1
        made_way.append(should_stop())
        return None if made_way[-1] else done

    monkeypatch.setattr(measuring, "calibrate", stopping)

    async def run():
        pools.builds_running = 1
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        await looked(reading, pools)
        assert made_way == [], "a build runs"
        for number in range(1, module.PATIENCE + 1):
            pools.builds_running = 0
            background.kick()
            await until(lambda number=number: len(made_way) >= number)
        await until(lambda: part.tuning.now is done)
        assert made_way == [True] * module.PATIENCE + [False]
        await background.close()

    asyncio.run(run())


def test_a_measurement_that_fails_is_logged_and_rests(part, pools, tmp_path, monkeypatch, caplog):
    calls = []

    def failing(*_, **__):
        calls.append(1)
        raise Internal("faiss could not search: broken") if len(calls) == 1 else ZeroDivisionError

    monkeypatch.setattr(measuring, "calibrate", failing)
    monkeypatch.setattr(module, "RETRY_S", 0.02)

    async def run():
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        await until(lambda: len(calls) >= 2)
        monkeypatch.setattr(module, "RETRY_S", 1e9)
        await until(lambda: "retry_s=1000000000.0" in caplog.text)
        seen = len(calls)
        await looked(reading, pools)
        assert len(calls) == seen
        await background.close()

    asyncio.run(run())
    assert "broken" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_close_stops_a_measurement(part, pools, tmp_path, monkeypatch):
    began = threading.Event()

    def long(*_, should_stop, **__):
        began.set()
        while not should_stop():
            pass

    monkeypatch.setattr(measuring, "calibrate", long)

    async def run():
        background = tuner(FixedReading([part]), pools, tmp_path)
        await until(began.is_set)
        async with asyncio.timeout(10):
            await background.close()

    asyncio.run(run())


def test_tune_answers_with_curves_and_keeps_them(part, pools, tmp_path):
    async def run():
        background = tuner(FixedReading([part]), pools, tmp_path)
        ask(background, 70)
        (curve,) = await background.tune(ShardTune(shard=SHARD, k=10), 30.0)
        assert (curve.shard, curve.segment, curve.index, curve.rows, curve.breadth_name) == (3, "segment", part.index, 600, "ef")
        assert (curve.queries, curve.real_queries) == (70, True)
        assert curve.exact_us > 0
        assert [point.recall for point in curve.points] == sorted(point.recall for point in curve.points)
        assert curve.points[-1].recall > 0.9
        assert part.tuning.now.queries == 70
        assert TuningFiles(tmp_path).load_tables().keys() == {"segment"}
        await background.close()

    asyncio.run(run())


@pytest.fixture
def measured(monkeypatch) -> list[int]:
    """Return a list to which each completed measurement adds the number of rows of its segment."""
    ends: list[int] = []

    def counting(part, sample, **options):
        tuning = calibrate(part, sample, **options)
        ends.extend([len(part)] * (tuning is not None))
        return tuning

    monkeypatch.setattr(measuring, "calibrate", counting)
    return ends


def test_a_measurement_that_waits_its_turn_is_left_to_tune(part, pools, tmp_path, measured):
    async def run():
        release, before = await occupied(pools)
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        await until(lambda: pools.asked == 2)
        asked = asyncio.create_task(background.tune(ShardTune(shard=SHARD, k=10), 30.0))
        await until(lambda: pools.asked == 3)
        release.set()
        await asyncio.gather(before, asked)
        await looked(reading, pools)
        assert measured == [600]
        await background.close()

    asyncio.run(run())


def test_a_measurement_under_way_is_left_to_tune(part, pools, tmp_path, measured, monkeypatch):
    counting, began = measuring.calibrate, threading.Event()

    def held_up(part, sample, *, should_stop, **options):
        if not began.is_set():
            began.set()
            while not should_stop():
                pass
        return counting(part, sample, should_stop=should_stop, **options)

    monkeypatch.setattr(measuring, "calibrate", held_up)

    async def run():
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        await until(began.is_set)
        await background.tune(ShardTune(shard=SHARD, k=10), 30.0)
        await looked(reading, pools)
        assert measured == [600]
        await background.close()

    asyncio.run(run())


def test_a_segment_that_is_gone_before_its_turn_is_not_measured(part, pools, tmp_path, measured):
    async def run():
        release, before = await occupied(pools)
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        await until(lambda: pools.asked == 2)
        reading.parts = []
        release.set()
        await before
        await looked(reading, pools)
        assert measured == []
        await background.close()

    asyncio.run(run())


def test_after_a_tune_that_was_late_the_background_measures(part, pools, tmp_path, measured):
    async def run():
        release, before = await occupied(pools)
        background = tuner(FixedReading([part]), pools, tmp_path)
        with pytest.raises(DeadlineExceeded):
            await background.tune(ShardTune(shard=SHARD, k=10), 0.05)
        assert measured == []
        release.set()
        await before
        await until(lambda: part.tuning.now.measured)
        assert measured == [600]
        await background.close()

    asyncio.run(run())


def test_the_background_waits_for_a_lull_and_not_for_ever(part, pools, tmp_path, measured, monkeypatch):
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 1e9)

    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        ask(background, 1)
        reading.parts = [part]
        await looked(reading, pools)
        assert measured == []
        monkeypatch.setattr(tuning_plan, "PATIENCE_S", 0.0)
        await until(lambda: part.tuning.now.measured)
        await background.close()

    asyncio.run(run())


def test_the_background_runs_on_one_core_and_rests_beside_searches(part, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "shoal.worker.tuning")
    pools = Pools(search_threads=1, build_threads=2)
    rests, threads = [], []

    def resting(**times):
        rests.append(tuning_plan.rest_s(**times))
        return rests[-1]

    def slices(*_, should_stop, **__):
        threads.append(faiss.omp_get_max_threads())
        for _ in range(3):
            assert not should_stop()
        return part.tuning.now

    monkeypatch.setattr(measuring, "rest_s", resting)
    monkeypatch.setattr(measuring, "calibrate", slices)
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 0.0)

    async def run():
        background = tuner(FixedReading([part]), pools, tmp_path)
        ask(background, 1)
        await until(lambda: "recall_measured" in caplog.text)
        assert len(rests) == 3
        assert all(rest > 0 for rest in rests)
        await background.tune(ShardTune(shard=SHARD, k=10), 30.0)
        assert len(rests) == 3, "who asks for it does not wait"
        assert threads == [1, 2]
        await background.close()

    asyncio.run(run())
    pools.close()


def test_tune_that_is_late_says_so_and_its_work_ends(part, pools, tmp_path, monkeypatch):
    ended = threading.Event()
    # No lull is ever long enough, so the background does not measure.
    monkeypatch.setattr(tuning_plan, "QUIET_S", 1e9)
    monkeypatch.setattr(tuning_plan, "PATIENCE_S", 1e9)

    def long(*_, should_stop, **__):
        while not should_stop():
            pass
        ended.set()

    monkeypatch.setattr(measuring, "calibrate", long)

    async def run():
        reading = FixedReading([])
        background = tuner(reading, pools, tmp_path)
        ask(background, 1)
        reading.parts = [part]
        with pytest.raises(DeadlineExceeded, match="not measured within"):
            await background.tune(ShardTune(shard=SHARD, k=10), 0.05)
        await asyncio.to_thread(ended.wait, 10)
        assert ended.is_set()
        await background.close()
        with pytest.raises(Unavailable, match="closing"):
            await background.tune(ShardTune(shard=SHARD, k=10), 5.0)

    asyncio.run(run())


def test_an_idle_tuner_has_no_task_and_no_timer(part, pools, tmp_path):
    async def run():
        reading = FixedReading([part])
        background = tuner(reading, pools, tmp_path)
        ask(background, 300)
        await until(lambda: not pools.rounds.awake)
        assert part.tuning.now.real
        assert asyncio.all_tasks() == {asyncio.current_task()}
        views = reading.views
        await asyncio.sleep(5 * module.LOOK_S)
        assert reading.views == views
        await background.close()

    asyncio.run(run())


def test_single_queries_are_sampled_together_and_none_is_lost(pools, tmp_path):
    async def run():
        background = tuner(FixedReading([]), pools, tmp_path / "tuning")
        await until(lambda: not background._woken)
        single = [np.full((1, DIM), at, dtype=np.float32) for at in range(100)]
        background.offer(single[0])
        for query in single[1:20]:
            background.offer(query)
        assert (background._heard.heard, len(background._unheard)) == (1, 19)
        background.offer(np.zeros((2, DIM), dtype=np.float32))
        assert (background._heard.heard, background._unheard) == (22, [])
        for query in single[20:63]:
            background.offer(query)
        assert len(background._unheard) < module.HEARD_TOGETHER
        assert background._queries.heard == 65
        assert background._queries.asked_enough
        assert background._queries.latest()[-1].tolist() == single[62][0].tolist()
        background.offer(single[70])
        await background.close()
        assert background._heard.heard == 66

    asyncio.run(run())
