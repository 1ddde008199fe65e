"""The lanes of `make test`: every named file is there, no file is left out, and each worker prefers its own kind."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.lanes import COMPUTING, LONGEST, ONE_AFTER_ANOTHER, RAY_NODES, computes, next_unit, unit_of
from tests.support.repository import ROOT

UNITS = ("tests/chaos/test_book.py", "tests/integration/test_damage.py", "tests/integration/test_survives.py", "tests/unit/test_a.py")


def test_every_named_file_is_there() -> None:
    named = {*COMPUTING, *LONGEST, *ONE_AFTER_ANOTHER} - {RAY_NODES}
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_worker_prefers_its_own_kind_the_longest_first_and_then_helps_with_the_rest() -> None:
    assert next_unit(UNITS, waits=True) == "tests/integration/test_survives.py"
    assert next_unit(UNITS, waits=False) == "tests/integration/test_damage.py"
    assert next_unit(UNITS[:1], waits=False) == "tests/chaos/test_book.py"
    assert next_unit((UNITS[0], RAY_NODES), waits=True) == RAY_NODES


@given(st.lists(st.booleans(), min_size=len(UNITS), max_size=len(UNITS)))
def test_every_unit_is_run_once_and_nobody_helps_while_its_own_kind_waits(turns: list[bool]) -> None:
    left, run = list(UNITS), []
    for waits in turns:
        chosen = next_unit(tuple(left), waits=waits)
        assert computes(chosen) != waits or all(computes(unit) == waits for unit in left)
        left.remove(chosen)
        run.append(chosen)
    assert sorted(run) == sorted(UNITS)


def test_tests_of_a_file_stay_together_and_those_that_exclude_each_other_too() -> None:
    assert unit_of("tests/unit/test_a.py::test_b[x::y]") == "tests/unit/test_a.py"
    assert {unit_of(f"{file}::test_a") for file, unit in ONE_AFTER_ANOTHER.items() if unit == RAY_NODES} == {RAY_NODES}
