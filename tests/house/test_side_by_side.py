"""The two halves of `make test`: none of the named paths is gone, and what they say is added up."""

from __future__ import annotations

from tests.side_by_side import COMPUTING, ROOT, summary

PASSED = """..s.
SKIPPED [1] tests/a.py:3: no data
================= 3 passed, 1 skipped in 1.02s =================
"""
FAILED = """.F
FAILED tests/b.py::test_one - assert 1 == 2
ERROR tests/b.py::test_two
============ 1 failed, 2 passed, 1 error in 3.00s (0:00:03) ============
"""


def test_every_named_path_is_there() -> None:
    assert [path for path in COMPUTING if not (ROOT / path).exists()] == []


def test_both_summaries_are_added_up_and_what_failed_is_named_in_the_end() -> None:
    *named, last = summary([PASSED, FAILED], 12.3).splitlines()
    assert named == ["FAILED tests/b.py::test_one - assert 1 == 2", "ERROR tests/b.py::test_two"]
    assert last.strip("= ") == "1 failed, 5 passed, 1 skipped, 1 error in 12.30s"


def test_a_part_that_says_nothing_is_none_that_passed() -> None:
    assert summary(["", PASSED], 1.0).strip("= ") == "3 passed, 1 skipped in 1.00s"
    assert summary(["", ""], 1.0).strip("= ") == "no tests ran in 1.00s"
