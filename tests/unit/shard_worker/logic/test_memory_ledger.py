from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.sizing import FIRST_ROWS, text_build_bytes
from shoal.shard_worker.logic.memory_ledger import (
    CUT_TEXT_COPIES,
    INDEXED_TEXT_COPIES,
    LINK_BYTES,
    MESSAGE_COPIES,
    MOST_CUT_TEXT_BYTES,
    TEXT_COPIES,
    GrowingSize,
    MemoryLedger,
    Pending,
    ReplicaCost,
    build_refusal,
    growth_rows,
    joined_cost,
    opening_refusal,
    replica_refusal,
    write_need,
    write_refusal,
)

GROWING = GrowingSize(rows=100, reserved=256, capacity=1000, row_bytes=10, vector_bytes=4)
COST = ReplicaCost(held=500, growing=GROWING)


def peak_of(growing: GrowingSize, writes: list[int]) -> int:
    """Replay writes to a growing segment. Return the most rows that its arrays have at once, beyond those at the
    beginning. An old and a new array may exist together.
    """
    rows, reserved, frozen, peak = growing.rows, growing.reserved, 0, growing.reserved
    for points in writes:
        while points:
            taken = min(points, growing.capacity - rows)
            rows, points = rows + taken, points - taken
            if rows > reserved:
                old, reserved = reserved, min(growing.capacity, max(rows, 2 * reserved, FIRST_ROWS))
                peak = max(peak, frozen + old + reserved)
            if rows == growing.capacity:
                frozen, rows, reserved = frozen + reserved, 0, 0
    return peak - growing.reserved


@st.composite
def growings(draw: st.DrawFn) -> GrowingSize:
    capacity = draw(st.integers(1, 3000))
    reserved = draw(st.just(0) | st.integers(min(capacity, FIRST_ROWS), capacity))
    rows = draw(st.integers(0, min(reserved, capacity - 1)))
    return GrowingSize(rows=rows, reserved=reserved, capacity=capacity, row_bytes=7, vector_bytes=4)


@given(growings(), st.lists(st.integers(1, 2000), max_size=12))
def test_arrays_never_outgrow_what_is_foreseen_however_writes_are_divided(growing: GrowingSize, writes: list[int]) -> None:
    assert peak_of(growing, writes) <= growth_rows(growing, sum(writes))


@given(growings(), st.integers(0, 5000))
def test_what_is_foreseen_is_no_more_than_three_times_what_one_write_takes_and_two_segments(growing: GrowingSize, points: int) -> None:
    assert growth_rows(growing, points) <= 3 * max(points, growing.rows) + 2 * max(growing.capacity, FIRST_ROWS)


@given(growings(), st.integers(0, 3000), st.integers(0, 3000))
def test_more_points_never_take_less(growing: GrowingSize, points: int, more: int) -> None:
    assert growth_rows(growing, points) <= growth_rows(growing, points + more)


def test_the_need_of_writes_is_arrays_messages_and_texts() -> None:
    assert write_need(COST, Pending()) == 0
    assert write_need(COST, Pending(points=100, message_bytes=400)) == MESSAGE_COPIES * 400
    assert write_need(COST, Pending(points=100, message_bytes=450)) == MESSAGE_COPIES * 450 + TEXT_COPIES * 50
    grown = growth_rows(GROWING, 200) * 10
    assert grown > 0
    assert write_need(COST, Pending(points=200, message_bytes=800)) == grown + MESSAGE_COPIES * 800


@given(st.integers(0, 10_000_000))
def test_text_fields_need_their_index_and_words_that_are_being_cut(texts: int) -> None:
    indexing = replace(COST, growing=replace(GROWING, has_texts=True))
    pending = Pending(points=100, message_bytes=400 + texts)
    more = INDEXED_TEXT_COPIES * texts + min(MOST_CUT_TEXT_BYTES, CUT_TEXT_COPIES * texts)
    assert write_need(indexing, pending) == write_need(COST, pending) + more
    need, build = write_need(indexing, pending), 100 * (2 * GROWING.row_bytes + LINK_BYTES) + TEXT_COPIES * texts
    kept = build + text_build_bytes(INDEXED_TEXT_COPIES * texts)
    assert write_refusal(MemoryLedger(budget=need + kept), indexing, Pending(), 100, 400 + texts) is None
    assert write_refusal(MemoryLedger(budget=need + kept - 1), indexing, Pending(), 100, 400 + texts) is not None


def test_writes_to_a_replica_at_rest_need_its_open_files_once() -> None:
    resting = dataclasses.replace(COST, waking=70)
    assert write_need(resting, Pending()) == 0
    for pending in (Pending(points=100, message_bytes=400), Pending(points=200, message_bytes=800), Pending(message_bytes=9)):
        assert write_need(resting, pending) == 70 + write_need(COST, pending)


@given(st.lists(st.tuples(st.integers(1, 900), st.integers(0, 9000)), max_size=6))
def test_needs_of_writes_one_by_one_are_the_need_of_all(writes: list[tuple[int, int]]) -> None:
    pending, total = Pending(), 0
    for points, size in writes:
        after = pending.plus(points, size)
        total += write_need(COST, after) - write_need(COST, pending)
        pending = after
    assert total == write_need(COST, pending)


@pytest.mark.parametrize("short", [0, 1])
def test_a_write_is_admitted_up_to_the_last_byte(short: int) -> None:
    need = write_need(COST, Pending(points=10, message_bytes=40))
    build = COST.next_build + 10 * (2 * GROWING.row_bytes + LINK_BYTES)
    ledger = MemoryLedger(budget=600 + need + build - short, held=500, writes=100, building=0, kept=400)
    refusal = write_refusal(ledger, COST, Pending(), 10, 40)
    assert (refusal is not None) == bool(short)
    assert write_refusal(replace(ledger, kept=build + 1), COST, Pending(), 10, 40) is not None


def test_a_write_to_a_small_replica_needs_no_more_room_for_builds_than_is_kept_for_a_large_one() -> None:
    need = write_need(COST, Pending(points=10, message_bytes=40))
    assert write_refusal(MemoryLedger(budget=10_600 + need, held=600, kept=10_000), COST, Pending(), 10, 40) is None
    assert write_refusal(MemoryLedger(budget=10_599 + need, held=600, kept=10_000), COST, Pending(), 10, 40) is not None


def test_a_refusal_names_need_rest_budget_and_what_to_do() -> None:
    mib = 1 << 20
    ledger = MemoryLedger(budget=100 * mib, held=60 * mib, writes=10 * mib, building=20 * mib, kept=5 * mib)
    said = write_refusal(ledger, COST, Pending(), 1000, 40 * mib)
    assert said is not None
    for part in ("1,000 points", "10.0 MiB of 100.0 MiB", "hold 60.0 MiB", "under way 10.0 MiB", "builds need 20.0 MiB", "delete points"):
        assert part in said


def test_room_for_the_next_build_is_kept_from_writes_and_replicas_but_not_from_builds() -> None:
    ledger = MemoryLedger(budget=1000, held=600, kept=400)
    assert ledger.room == 0
    assert write_refusal(ledger, COST, Pending(), 1, 4) is not None
    assert replica_refusal(ledger, 1) is not None
    assert build_refusal(ledger, 400) is None
    assert build_refusal(ledger, 401) == "a build needs 0.0 MiB of memory, 0.0 MiB of 0.0 MiB are left on this worker"


def test_one_build_at_a_time() -> None:
    assert build_refusal(MemoryLedger(budget=1000, building=1), 1) == "another build is running on this worker"


def test_a_replica_is_taken_up_to_the_last_byte() -> None:
    ledger = MemoryLedger(budget=1000, held=600)
    assert replica_refusal(ledger, 400) is None
    said = replica_refusal(ledger, 401)
    assert said is not None
    assert "another replica" in said


def test_room_kept_for_builds_does_not_keep_a_replica_closed_but_a_build_that_runs_does() -> None:
    ledger = MemoryLedger(budget=1000, held=600, kept=900)
    assert opening_refusal(ledger, 400) is None
    assert opening_refusal(ledger, 401) is not None
    assert opening_refusal(replace(ledger, building=1), 400) is not None


NAMED_GROWING = GrowingSize(rows=900, reserved=1000, capacity=1000, row_bytes=50, vector_bytes=40)


def test_a_replica_with_named_vectors_needs_arrays_in_each_and_its_payloads_in_each() -> None:
    named = replace(COST, named=(NAMED_GROWING, GROWING))
    pending = Pending(points=200, message_bytes=200 * 48 + 70)
    arrays = sum(growth_rows(each, 200) * each.row_bytes for each in (GROWING, NAMED_GROWING, GROWING))
    need = arrays + MESSAGE_COPIES * pending.message_bytes + 3 * TEXT_COPIES * 70
    assert write_need(named, pending) == need
    build = 200 * (2 * 50 + LINK_BYTES) + TEXT_COPIES * 70
    assert write_refusal(MemoryLedger(budget=need + build), named, Pending(), 200, pending.message_bytes) is None
    assert write_refusal(MemoryLedger(budget=need + build - 1), named, Pending(), 200, pending.message_bytes) is not None


def test_the_indexes_of_a_replica_hold_the_sum_and_have_one_build_at_a_time() -> None:
    one, two = replace(COST, next_build=30), ReplicaCost(held=70, growing=NAMED_GROWING, next_build=90)
    assert joined_cost([one]) == one
    assert joined_cost([one, two, one]) == replace(one, held=1_070, next_build=90, named=(NAMED_GROWING, GROWING))
    passing = joined_cost([replace(one, passing=40, waking=7), replace(two, passing=2), one])
    assert passing.passing == 42
    assert passing.lasting == 1_070 + 7 - 42
