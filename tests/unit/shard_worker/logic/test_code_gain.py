from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.code_gain import LEAST_FLOATS, LEAST_ROWS, MOST_WANTED, CodeGain, looked_at, may_pay


def _rested(gain: CodeGain) -> tuple[CodeGain, int]:
    """Return it when codes are tried again, and after how many searches."""
    searches = 0
    while gain.rest:
        gain, searches = gain.rested(), searches + 1
    return gain, searches


def test_few_rows_and_many_hits_are_not_worth_codes() -> None:
    assert may_pay(rows=10_000, dim=128, wanted=10)
    assert not may_pay(rows=LEAST_FLOATS // 128 - 1, dim=128, wanted=10)
    assert not may_pay(rows=LEAST_ROWS - 1, dim=4_096, wanted=1)
    assert not may_pay(rows=10_000, dim=128, wanted=MOST_WANTED + 1)


@given(rows=st.integers(1, 10**6), dim=st.integers(1, 65_536), wanted=st.integers(1, 10_000))
def test_what_is_looked_at_is_a_part_of_the_rows_and_more_than_is_wanted(rows: int, dim: int, wanted: int) -> None:
    assert looked_at(wanted, dim) > wanted
    if may_pay(rows=rows, dim=dim, wanted=wanted):
        assert 4 * looked_at(wanted, dim) <= rows


def test_failures_in_a_row_are_followed_by_longer_and_longer_rests() -> None:
    gain, rests = CodeGain(), []
    for _ in range(14):
        gain, searches = _rested(gain.after(enough=False))
        rests.append(searches)
    assert rests == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_024, 1_024, 1_024]
    assert _rested(gain.after(enough=True).after(enough=False))[1] == 1


@given(outcomes=st.lists(st.booleans(), max_size=60))
def test_codes_are_always_tried_again(outcomes: list[bool]) -> None:
    gain = CodeGain()
    for enough in outcomes:
        gain, searches = _rested(gain.after(enough=enough))
        assert searches <= 1_024
