from __future__ import annotations

import threading

import numpy as np
import pytest

from shoal.shard_worker.index.search.hot_filters import HotFilter, HotFilters
from shoal.shard_worker.index.view import ALIVE, SegmentView
from shoal.shard_worker.logic.segments.segment_plan import SegmentState
from tests.unit.shard_worker.index.filter_world import Slot, TruthPayloads

DIM = 16


def _part(*, key: int = 1, rows: int = 100, dead: tuple[int, ...] = (), seq: int = 5) -> SegmentView:
    deaths = np.full(rows, ALIVE)
    deaths[list(dead)] = seq
    vectors = np.random.default_rng(0).random((rows, DIM)).astype(np.float32)
    return SegmentView(
        key=key,
        state=SegmentState.SEALED,
        vectors=vectors,
        squares=(vectors**2).sum(axis=1),
        ids=np.arange(rows),
        rows=np.arange(rows),
        deaths=deaths,
        dead=len(dead),
        reach=4.0,
        native=None,
        payloads=TruthPayloads([None] * rows),
        tuning=Slot(None),
    )


def _hot(positions: list[int], *, rows: int = 100, verified_seq: int = 0) -> HotFilter:
    return HotFilter(positions=np.array(positions, dtype=np.int64), rows=rows, estimate=0.5, verified_seq=verified_seq)


def test_what_was_kept_is_found_under_its_segment_and_filter_alone() -> None:
    hot, filters, part = _hot([1, 2]), HotFilters(), _part()
    filters.keep(part, "a", hot)
    assert filters.find(part, "a", 9) is hot
    assert filters.find(part, "b", 9) is None
    assert filters.find(_part(key=2), "a", 9) is None


def test_a_segment_that_has_grown_must_be_matched_again() -> None:
    filters = HotFilters()
    filters.keep(_part(rows=100), "a", _hot([1]))
    assert filters.find(_part(rows=101), "a", 9) is None
    assert filters.peek(_part(rows=101), "a", 9) is None


def test_verdicts_from_payloads_do_not_hold_for_earlier_views() -> None:
    filters, part = HotFilters(), _part()
    filters.keep(part, "a", _hot([1], verified_seq=7))
    assert filters.find(part, "a", 6) is None
    assert filters.find(part, "a", 7) is not None


def test_each_view_sees_the_deaths_of_its_time() -> None:
    hot = _hot([1, 2, 3, 50])
    before, after = _part(), _part(dead=(2, 50, 70), seq=5)
    for _ in range(2):
        assert hot.among(before, 4).positions.tolist() == [1, 2, 3, 50]
        assert hot.among(before, 4).alive is None
        among = hot.among(after, 5)
        assert among.positions.tolist() == [1, 3]
        assert among.alive is not None
        assert among.alive.tolist() == [True, False, True, False]
        assert among.count == 2


def test_a_death_that_a_view_does_not_see_yet_does_not_count_in_it() -> None:
    part = _part(dead=(2, 3), seq=5)
    part.deaths[3] = 8
    assert _hot([2, 3]).among(part, 6).positions.tolist() == [3]


def test_the_mask_says_what_matches() -> None:
    assert np.flatnonzero(_hot([0, 99]).mask()).tolist() == [0, 99]


def test_vectors_are_gathered_once_a_filter_is_used_again() -> None:
    filters, part, hot = HotFilters(), _part(), _hot([4, 9])
    filters.keep(part, "a", hot)
    assert not filters.may_gather(hot, DIM)
    filters.find(part, "a", 9)
    assert filters.may_gather(hot, DIM)
    gathered = filters.gather(part, "a", hot)
    assert (gathered.vectors == part.vectors[[4, 9]]).all()
    assert (gathered.squares == part.squares[[4, 9]]).all()
    assert filters.gather(part, "a", hot) is gathered
    assert filters.find(part, "a", 9) is hot


def test_what_is_more_than_half_of_the_room_is_not_gathered() -> None:
    filters, hot = HotFilters(limit_bytes=100 * DIM * 4), _hot(list(range(51)))
    hot.uses = 5
    assert not filters.may_gather(hot, DIM)
    assert filters.may_gather(hot, DIM - 1)


def test_the_bound_holds_and_what_was_used_longest_ago_is_forgotten() -> None:
    limit = 20_000
    filters, part = HotFilters(limit_bytes=limit), _part(rows=1_000)
    for number in range(50):
        filters.keep(part, f"filter {number}", _hot(list(range(200)), rows=1_000))
        filters.find(part, "filter 0", 9)
        assert filters.memory_bytes <= limit
    assert filters.find(part, "filter 0", 9) is not None
    assert filters.find(part, "filter 49", 9) is not None
    assert filters.find(part, "filter 1", 9) is None
    assert 2 <= len(filters) < 50


def test_an_entry_that_grows_is_counted_again() -> None:
    filters, part, hot = HotFilters(limit_bytes=10_000), _part(rows=1_000), _hot([1], rows=1_000)
    filters.keep(part, "a", hot)
    before = filters.memory_bytes
    hot.mask()
    filters.keep(part, "a", hot)
    assert filters.memory_bytes == before + 1_000


def test_what_does_not_fit_at_all_is_not_kept() -> None:
    filters, part = HotFilters(limit_bytes=1_000), _part(rows=1_000)
    filters.keep(part, "a", _hot(list(range(500)), rows=1_000))
    assert (len(filters), filters.memory_bytes) == (0, 0)


def test_segments_that_are_gone_are_forgotten() -> None:
    filters = HotFilters()
    for key in (1, 2, 3):
        filters.keep(_part(key=key), "a", _hot([1]))
    filters.forget([1, 3, 7])
    assert filters.find(_part(key=2), "a", 9) is not None
    assert len(filters) == 1
    filters.forget([2])
    assert filters.memory_bytes == 0


@pytest.mark.parametrize("limit", [4_000, 1 << 20])
def test_threads_that_keep_find_and_forget_leave_the_bound_intact(limit: int) -> None:
    filters, part = HotFilters(limit_bytes=limit), _part()
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(300):
                key = str(rng.integers(20))
                hot = filters.find(part, key, 9)
                if hot is None:
                    filters.keep(part, key, _hot(sorted(rng.choice(100, 30, replace=False).tolist())))
                elif filters.may_gather(hot, DIM):
                    filters.gather(part, key, hot)
                if rng.random() < 0.02:
                    filters.forget([1])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert filters.memory_bytes <= limit
    filters.forget([1])
    assert filters.memory_bytes == 0
