"""Test the lines about a plan that goes on: what a terminal shows now, and what is told once."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from shoal.cli.progress_screen import ProgressScreen, control_words, progress_document, verdict
from shoal.core.operations import ItemProgress, RebalanceProgress
from shoal.core.rebalance import ItemState, PlanState, RebalanceEntry
from tests.support.examples.rebalances import progresses
from tests.twins.balancing import MIB, PLAN


def progress(*items: ItemProgress, state: PlanState = PlanState.RUNS, ended_ms: int = 0) -> RebalanceProgress:
    entry = RebalanceEntry(plan=PLAN, state=state, asked_by="me", started_ms=1_000, ended_ms=ended_ms)
    return RebalanceProgress(entry=entry, items=items)


def item(number: int, state: ItemState, **changes: object) -> ItemProgress:
    return dataclasses.replace(ItemProgress(number=number, state=state), **changes)  # type: ignore[arg-type]


def test_a_terminal_shows_what_is_under_way_and_the_next_ones() -> None:
    copying = item(2, ItemState.COPYING, done_bytes=100 * MIB, total_bytes=371 * MIB, bytes_per_s=50.0 * MIB)
    waiting = item(3, ItemState.WAITING, reason="one move to e41d-0004 at a time")
    now = progress(item(1, ItemState.DONE), copying, waiting, item(4, ItemState.WAITING), item(5, ItemState.WAITING))
    screen = ProgressScreen.of(now)
    assert screen.now(now) == [
        "plan 8c1f09: 1 of 5 done",
        "[2] things/0  3fa2-0001 -> e41d-0004   copying   100.0 MiB / 371.0 MiB   50.0 MiB/s   5.4 s left",
        "[3] things/4  77c1-0002 -> e41d-0004   waits (one move to e41d-0004 at a time)",
        "[4] fashion/2  9be0-0003 -> e41d-0004   waits",
        "[5] books/1  3fa2-0001 -> e41d-0004   waits",
    ]
    paused = progress(item(1, ItemState.WAITING), state=PlanState.PAUSED)
    assert screen.now(paused)[0] == "plan 8c1f09, paused: 0 of 1 done"
    assert screen.now(paused)[-1] == "2 more wait"


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (item(1, ItemState.COPYING), "copying"),
        (item(1, ItemState.COPYING, total_bytes=MIB), "copying   0 B / 1.0 MiB"),
        (item(1, ItemState.WARMING), "has the data, builds its indexes"),
        (item(1, ItemState.LEAVING), "leaving"),
        (item(1, ItemState.DONE), "moved"),
        (item(1, ItemState.FAILED, reason="9be0-0003 is down"), "failed: 9be0-0003 is down"),
        (item(1, ItemState.UNKNOWN), "unknown"),
    ],
)
def test_each_state_has_its_words(reached: ItemProgress, said: str) -> None:
    assert ProgressScreen.of(progress()).line(PLAN.moves[0], reached) == f"[1] fashion/2  9be0-0003 -> e41d-0004   {said}"


def test_a_change_of_state_is_told_once_and_a_change_of_bytes_never() -> None:
    screen = ProgressScreen.of(progress())
    assert not screen.began
    assert len(screen.news(progress(item(1, ItemState.COPYING, done_bytes=1)))) == 1
    assert screen.began
    assert screen.news(progress(item(1, ItemState.COPYING, done_bytes=2))) == []
    assert screen.news(progress(item(1, ItemState.DONE))) == ["[1] fashion/2  9be0-0003 -> e41d-0004   moved"]


def test_what_became_of_a_plan_is_one_line() -> None:
    done = [item(number, ItemState.DONE) for number in (1, 2, 3, 4, 5)]
    assert verdict(progress(*done, state=PlanState.DONE)) == "done: 3 of 3 moved, 2 of 2 handed over, 1.1 GiB"
    some = [*done[:1], item(2, ItemState.FAILED), item(3, ItemState.SKIPPED), *done[3:]]
    said = "ended: 1 of 3 moved, 2 of 2 handed over, 1 failed, 1 skipped, 381.0 MiB in 2.0 s (190.5 MiB/s)"
    assert verdict(progress(*some, state=PlanState.DONE, ended_ms=3_000)) == said
    waited = dataclasses.replace(progress(*done, state=PlanState.DONE, ended_ms=3_000), longest_wait_s=0.114)
    assert verdict(waited).endswith(" in 2.0 s (559.0 MiB/s), longest wait of a write 0.11 s")
    assert progress_document(waited)["longest_wait_s"] == 0.114
    none = [item(number, ItemState.CANCELLED) for number in (1, 2, 3, 4, 5)]
    assert verdict(progress(*none, state=PlanState.CANCELLED, ended_ms=3_000)) == "cancelled: 0 of 3 moved, 0 of 2 handed over, in 2.0 s"


def test_what_is_finished_after_a_cancel_is_named() -> None:
    items = [item(1, ItemState.DONE), item(2, ItemState.LEAVING), *(item(number, ItemState.CANCELLED) for number in (3, 4, 5))]
    assert control_words(progress(*items, state=PlanState.CANCELLED)) == [
        "plan 8c1f09 is cancelled, 1 of 5 items done, 3 given up or never begun; these are finished, which is less work:",
        "[2] things/0  3fa2-0001 -> e41d-0004   leaving",
    ]


@given(progresses)
def test_every_progress_has_lines_and_a_document(now: RebalanceProgress) -> None:
    screen = ProgressScreen.of(now)
    assert screen.now(now)
    assert all(isinstance(line, str) for line in (*screen.news(now), *screen.undone(now), verdict(now), *control_words(now)))
    document = progress_document(now)
    assert document["ended"] is now.over
    assert len(document["items"]) == len(now.entry.plan.moves) + len(now.entry.plan.hand_overs)
