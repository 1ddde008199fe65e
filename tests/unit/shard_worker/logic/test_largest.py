from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.logic.largest import Largest

CHANGES = st.lists(st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, 4))), max_size=80)


def test_it_is_the_largest_of_what_is_held() -> None:
    largest = Largest[str]()
    assert largest.value == 0
    largest.put("a", 5)
    largest.put("b", 9)
    assert largest.value == 9
    largest.put("b", 3)
    assert largest.value == 5
    largest.drop("a")
    largest.drop("never there")
    assert largest.value == 3
    largest.drop("b")
    assert largest.value == 0


@given(CHANGES)
def test_it_equals_the_maximum_of_a_plain_table(changes: list[tuple[int, int | None]]) -> None:
    largest, plain = Largest[int](), dict[int, int]()
    for key, value in changes:
        if value is None:
            largest.drop(key)
            plain.pop(key, None)
        else:
            largest.put(key, value)
            plain[key] = value
        assert largest.value == max(plain.values(), default=0)


def test_values_that_are_gone_do_not_pile_up() -> None:
    """Below a value that stays, other values come and go."""
    largest = Largest[str]()
    largest.put("top", 1_000_000)
    for value in range(10_000):
        largest.put("other", value)
    assert largest.value == 1_000_000
    assert len(largest._heap) < 100
