from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.segments.segment_form import RETRAIN_RATIO
from shoal.shard_worker.logic.segments.segment_plan import EXTEND_RATIO, BuildPlan, SegmentState, SegmentSummary, plan_build

FROZEN, SEALED = SegmentState.FROZEN, SegmentState.SEALED


def _frozen(key: int, rows: int = 100, dead: int = 0) -> SegmentSummary:
    return SegmentSummary(key=key, state=FROZEN, rows=rows, dead=dead, extendable=False)


def _graph(key: int, rows: int, dead: int = 0) -> SegmentSummary:
    return SegmentSummary(key=key, state=SEALED, rows=rows, dead=dead, extendable=True)


def _flat(key: int, rows: int, dead: int = 0) -> SegmentSummary:
    return SegmentSummary(key=key, state=SEALED, rows=rows, dead=dead, extendable=False)


def _done(segments: list[SegmentSummary], plan: BuildPlan, key: int) -> tuple[list[SegmentSummary], int]:
    """Return the segments after the build, and the number of rows that it inserted into an index."""
    sources = [segment for segment in segments if segment.key in plan.sources]
    base = next((segment for segment in sources if segment.key == plan.base), None)
    rows = sum(segment.rows if segment is base else segment.live for segment in sources)
    kept = [segment for segment in segments if segment.key not in plan.sources]
    made = [_graph(key, rows, base.dead if base else 0)] if rows else []
    return kept + made, sum(segment.live for segment in sources if segment is not base)


def test_nothing_to_do() -> None:
    assert plan_build([]) is None
    assert plan_build([], everything=True) is None
    assert plan_build([_graph(1, 100, dead=20)]) is None
    assert plan_build([_graph(1, 100, dead=20)], everything=True) is None


def test_all_frozen_chunks_go_into_one_build() -> None:
    assert plan_build([_frozen(1), _frozen(2), _frozen(3)]) == BuildPlan(sources=(1, 2, 3), base=None)


def test_a_graph_takes_in_what_freezes() -> None:
    assert plan_build([_graph(1, 1600), _frozen(2)]) == BuildPlan(sources=(1, 2), base=1)


def test_a_graph_too_large_to_copy_for_so_little_is_left_alone() -> None:
    assert plan_build([_graph(1, 1601), _frozen(2)]) == BuildPlan(sources=(2,), base=None)
    assert plan_build([_graph(1, 1601), _graph(3, 50), _frozen(2)]) == BuildPlan(sources=(1, 2, 3), base=1)


def test_small_segments_merge_without_anything_frozen() -> None:
    assert plan_build([_graph(1, 300), _graph(2, 20)]) == BuildPlan(sources=(1, 2), base=1)
    assert plan_build([_graph(1, 321), _graph(2, 20)]) is None


def test_a_flat_segment_cannot_be_extended() -> None:
    assert plan_build([_flat(1, 300), _frozen(2)]) == BuildPlan(sources=(1, 2), base=None)


def test_a_worn_segment_is_rebuilt_without_its_dead() -> None:
    assert plan_build([_graph(1, 100, dead=21)]) == BuildPlan(sources=(1,), base=None)
    assert plan_build([_graph(1, 1000, dead=210), _frozen(2)]) == BuildPlan(sources=(1, 2), base=None)
    assert plan_build([_graph(1, 100, dead=100)]) == BuildPlan(sources=(1,), base=None)
    assert plan_build([_graph(1, 100, dead=21)], everything=True) == BuildPlan(sources=(1,), base=None)


def test_an_outdated_segment_is_built_afresh_once_nothing_waits_to_be_sealed() -> None:
    old = replace(_graph(1, 100_000), outdated=True)
    assert plan_build([old, _frozen(2)]) == BuildPlan(sources=(2,), base=None)
    assert plan_build([old]) == BuildPlan(sources=(1,), base=None)
    assert plan_build([old], everything=True) == BuildPlan(sources=(1,), base=None)
    assert plan_build([old, _graph(2, 2_000)]) == BuildPlan(sources=(1,), base=None)
    assert plan_build([replace(_flat(1, 5_000), outdated=True), replace(_flat(2, 100_000), outdated=True)]) == BuildPlan(
        sources=(1,), base=None
    )


def test_an_outdated_segment_is_not_extended() -> None:
    old = replace(_graph(1, 1_000), outdated=True)
    assert plan_build([old, _frozen(2)]) == BuildPlan(sources=(1, 2), base=None)


def test_what_was_trained_on_a_quarter_of_the_rows_is_trained_anew() -> None:
    trained = replace(_graph(1, 900), trained_rows=250)
    assert plan_build([trained, _frozen(2, rows=100)]) == BuildPlan(sources=(1, 2), base=1)
    assert plan_build([trained, _frozen(2, rows=101)]) == BuildPlan(sources=(1, 2), base=None)


def test_everything_ends_in_one_segment() -> None:
    assert plan_build([_graph(1, 99_999), _frozen(2, rows=1)], everything=True) == BuildPlan(sources=(1, 2), base=1)
    assert plan_build([_frozen(2, rows=1)], everything=True) == BuildPlan(sources=(2,), base=None)
    assert plan_build([_graph(1, 10_000), _graph(2, 100)], everything=True) == BuildPlan(sources=(1, 2), base=1)


def test_one_build_at_a_time() -> None:
    busy = replace(_frozen(1), building=True)
    assert plan_build([busy, _frozen(2)]) is None
    assert plan_build([busy, _frozen(2)], everything=True) is None


@st.composite
def _some_segments(draw: st.DrawFn) -> list[SegmentSummary]:
    segments = []
    for key in range(draw(st.integers(0, 7))):
        rows = draw(st.integers(1, 3_000))
        dead = draw(st.one_of(st.just(0), st.integers(0, rows)))
        segment = draw(st.sampled_from([_frozen, _graph, _flat]))(key, rows, dead)
        if segment.state is SEALED:
            trained = draw(st.sampled_from([0, 0, rows, max(1, rows // 6)]))
            segment = replace(segment, outdated=draw(st.booleans()) or live_beyond(segment, trained), trained_rows=trained)
        segments.append(segment)
    return segments


def live_beyond(segment: SegmentSummary, trained_rows: int) -> bool:
    return bool(trained_rows) and segment.live > RETRAIN_RATIO * trained_rows


@given(_some_segments(), st.booleans())
def test_plans_are_sound_and_come_to_an_end(segments: list[SegmentSummary], everything: bool) -> None:
    live = sum(segment.live for segment in segments)
    for step in range(len(segments) + 2):
        plan = plan_build(segments, everything=everything)
        assert plan == plan_build(list(reversed(segments)), everything=everything)
        if plan is None:
            break
        by_key = {segment.key: segment for segment in segments}
        assert len(set(plan.sources)) == len(plan.sources)
        assert set(plan.sources) <= set(by_key)
        if plan.base is not None:
            assert plan.base in plan.sources
            assert by_key[plan.base].extendable
            assert not by_key[plan.base].stale
        segments, _ = _done(segments, plan, 100 + step)
    assert plan_build(segments, everything=everything) is None
    assert sum(segment.live for segment in segments) == live
    assert all(segment.state is SEALED and not segment.stale for segment in segments)
    sizes = sorted(segment.live for segment in segments)
    if everything:
        assert len(sizes) <= 1
    assert all(large > EXTEND_RATIO * sum(sizes[:at]) for at, large in enumerate(sizes) if at)


def _load(chunks: int, builds_per_chunk: float) -> tuple[float, int]:
    """Load chunks of 10 rows, while builds get `builds_per_chunk` chunks done in the time in which one chunk freezes.
    Return how often a row was inserted on average, and the number of segments left.
    """
    segments: list[SegmentSummary] = []
    inserted, key, busy = 0, 1_000_000, 0.0
    for chunk in range(chunks):
        segments.append(_frozen(chunk, rows=10))
        busy = max(0.0, busy - builds_per_chunk)
        while busy <= 0 and (plan := plan_build(segments)):
            segments, work = _done(segments, plan, key)
            inserted, key, busy = inserted + work, key + 1, busy + work / 10
    while plan := plan_build(segments):
        segments, work = _done(segments, plan, key)
        inserted, key = inserted + work, key + 1
    return inserted / (10 * chunks), len(segments)


def test_loading_faster_than_building_inserts_each_row_about_once_and_ends_with_one_graph() -> None:
    for chunks in (3, 10, 100, 1_000):
        for builds_per_chunk in (0.05, 0.2, 0.5):
            work, left = _load(chunks, builds_per_chunk)
            assert work <= 1.5, (chunks, builds_per_chunk, work)
            assert left <= 2, (chunks, builds_per_chunk, left)


def test_a_trickle_keeps_segments_few() -> None:
    work, left = _load(2_000, builds_per_chunk=1e9)
    assert work <= 2.5
    assert left <= 3


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 60)), min_size=1, max_size=120), st.integers(0, 1_000_000))
def test_segments_stay_few_and_dead_rows_too_under_upserts_and_deletes(chunks: list[tuple[int, int]], seed: int) -> None:
    """In each step some rows freeze, and a share (percent) of one segment's live rows dies. Then builds run until none
    is due.
    """
    segments: list[SegmentSummary] = []
    key = 1_000_000
    for number, (rows, share) in enumerate(chunks):
        segments.append(_frozen(number, rows))
        at = (seed + number) % len(segments)
        hit = segments[at]
        segments[at] = replace(hit, dead=hit.dead + hit.live * share // 100)
        steps = 0
        while plan := plan_build(segments):
            segments, _ = _done(segments, plan, key)
            key, steps = key + 1, steps + 1
            assert steps <= len(chunks) + 2
        live = sum(segment.live for segment in segments)
        # In order of size, each segment is more than EXTEND_RATIO times as large as all smaller ones together.
        assert len(segments) <= 1 + max(0, math.log(max(1, live), EXTEND_RATIO + 1))
        assert all(segment.rows <= 1.25 * segment.live + 1 for segment in segments)
