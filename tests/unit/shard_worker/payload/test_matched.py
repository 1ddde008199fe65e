"""Test three-valued logic: the answer is right whether the unsure rows match or not, and no row is unsure
without need.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from pyroaring import BitMap

from shoal.shard_worker.payload.matched import Matched, all_of, any_of, none_of

WORLDS = {"no": {False}, "unsure": {False, True}, "yes": {True}}
PAIRS = list(itertools.product(WORLDS, repeat=2))


def rows(verdicts: list[str]) -> Matched:
    return Matched(
        sure=BitMap(at for at, verdict in enumerate(verdicts) if verdict == "yes"),
        unsure=BitMap(at for at, verdict in enumerate(verdicts) if verdict == "unsure"),
    )


def verdicts(matched: Matched, count: int) -> list[str]:
    assert not matched.sure & matched.unsure
    return ["yes" if at in matched.sure else "unsure" if at in matched.unsure else "no" for at in range(count)]


def told(outcomes: set[bool]) -> str:
    return next(verdict for verdict, world in WORLDS.items() if world == outcomes)


@pytest.mark.parametrize(("combined", "plain"), [(lambda terms: all_of(terms, len(PAIRS)), all), (any_of, any)], ids=["all_of", "any_of"])
def test_every_pair_of_verdicts(combined: Callable[[list[Matched]], Matched], plain: Callable[[tuple[bool, bool]], bool]) -> None:
    matched = combined([rows([pair[0] for pair in PAIRS]), rows([pair[1] for pair in PAIRS])])
    expected = [told({plain(truths) for truths in itertools.product(WORLDS[one], WORLDS[other])}) for one, other in PAIRS]
    assert verdicts(matched, len(PAIRS)) == expected


def test_no_terms() -> None:
    assert verdicts(all_of([], 3), 3) == ["yes"] * 3
    assert verdicts(any_of([]), 3) == ["no"] * 3


def test_not() -> None:
    assert verdicts(none_of(rows(["no", "unsure", "yes"]), 3), 3) == ["yes", "unsure", "no"]
