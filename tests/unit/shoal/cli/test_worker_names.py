from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.cli.durations import duration, percent
from shoal.cli.worker_names import WorkerNames


def test_long_ids_are_shortened_as_far_as_they_stay_different() -> None:
    ids = ["0123456789abcdef-1", "0123456789xbcdef-2", "w1"]
    names = WorkerNames(ids)
    assert [names[each] for each in ids] == ["0123456789a", "0123456789x", "w1"]
    assert names["another-one-that-is-not-known"] == "another-one-that-is-not-known"
    assert names.in_text("0123456789abcdef-1 is 5 % over, w1 is not") == "0123456789a is 5 % over, w1 is not"


def test_without_ids_nothing_is_shortened() -> None:
    assert WorkerNames([]).in_text("worker 0123456789abcdef is down") == "worker 0123456789abcdef is down"


@given(st.sets(st.text(st.sampled_from("abc0"), min_size=1, max_size=40), min_size=1, max_size=6))
def test_different_workers_have_different_names(ids: set[str]) -> None:
    names = WorkerNames(ids)
    assert len({names[each] for each in ids}) == len(ids)
    assert all(each.startswith(names[each]) and (names[each] == each or len(each) > 12) for each in ids)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (-3.0, "0 s"),
        (0.62, "0.6 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60.0, "1 min"),
        (240.0, "4 min"),
        (3_600.0, "1 h"),
        (3 * 86_400.0, "3 d"),
    ],
)
def test_durations_are_in_the_largest_unit_that_is_full(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(0.0, "0 %"), (0.05, "5 %"), (1.334, "133 %"), (0.005, "0.5 %"), (0.00123, "0.12 %")])
def test_shares_are_percent(share: float, text: str) -> None:
    assert percent(share) == text
