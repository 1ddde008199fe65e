from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.filter import Filter, In, Not
from shoal.core.filter_truth import matches
from shoal.core.metric import Metric
from shoal.core.points import PointId, id_order
from shoal.shard_worker.index.search.ask import ViewOutdated
from shoal.shard_worker.index.search.filtered_reading import count_view, ids_page, rows_matching
from tests.unit.shard_worker.index.filter_world import Piece, World, world

EVEN = In(("n",), (0, 2, 4))


def _world(*, strings: bool, dead: set[int], unsure: bool = False) -> World:
    rng = np.random.default_rng(1)

    def piece(start: int, end: int) -> Piece:
        taken = rng.permutation(np.arange(start, end)).tolist()
        return Piece(
            ids=[f"s{at}" if strings and at % 2 else at - 20 for at in taken],
            vectors=rng.random((len(taken), 2)),
            payloads=[{"n": at % 5} for at in taken],
            dead=[number for number, at in enumerate(taken) if at in dead],
            unsure=lambda at: unsure and at % 2 == 0,
        )

    return world(Metric.L2, [piece(0, 40), piece(40, 60)], rng.random((2, 2)))


def _expected(made: World, filter: Filter | None) -> list[PointId]:
    kept = [at for at, (_, payload) in made.points.items() if filter is None or matches(filter, payload, at)]
    return sorted(kept, key=id_order)


@settings(max_examples=60, deadline=None)
@given(
    strings=st.booleans(),
    dead=st.sets(st.integers(0, 59)),
    filter=st.sampled_from([None, EVEN, Not(EVEN), In(("absent",), (1,))]),
    limit=st.integers(1, 70),
    unsure=st.booleans(),
)
def test_pages_one_after_the_other_are_all_that_match_in_order(
    strings: bool, dead: set[int], filter: Filter | None, limit: int, unsure: bool
) -> None:
    made = _world(strings=strings, dead=dead, unsure=unsure)
    context, after, seen, rows_seen = made.context(), None, [], []
    while True:
        rows, ids = ids_page(made.view, filter, after, limit, context)
        assert len(rows) == len(ids) <= limit
        if not len(ids):
            break
        seen.extend(ids.tolist())
        rows_seen.extend(rows.tolist())
        after = seen[-1]
    assert seen == _expected(made, filter)
    assert count_view(made.view, filter, context) == len(seen)
    row_of = {int(row): point_id for part in made.view.parts for row, point_id in zip(part.rows, part.ids.tolist(), strict=True)}
    assert [row_of[row] for row in rows_seen] == seen


def test_a_page_may_begin_after_an_id_that_is_gone() -> None:
    made = _world(strings=True, dead=set())
    ids = ids_page(made.view, EVEN, "s1", 3, made.context())[1].tolist()
    assert ids == [at for at in _expected(made, EVEN) if isinstance(at, str) and at > "s1"][:3]
    assert ids_page(made.view, EVEN, "zzz", 3, made.context())[1].tolist() == []


@settings(max_examples=40, deadline=None)
@given(dead=st.sets(st.integers(0, 59)), limit=st.integers(1, 70))
def test_rows_to_delete_are_among_those_that_match_and_more_says_whether_some_are_left(dead: set[int], limit: int) -> None:
    made = _world(strings=False, dead=dead)
    ids, rows, more = rows_matching(made.view, EVEN, limit, made.context())
    expected = set(_expected(made, EVEN))
    assert len(set(ids.tolist())) == len(ids) == len(rows) == min(limit, len(expected))
    assert set(ids.tolist()) <= expected
    assert more == (len(expected) > limit)


@pytest.mark.parametrize("read", [lambda m, c: count_view(m.view, EVEN, c), lambda m, c: ids_page(m.view, EVEN, None, 5, c)])
def test_a_replaced_payload_asks_for_a_newer_view(read: object) -> None:
    made = _world(strings=False, dead=set(), unsure=True)
    made.gone.add(int(made.view.parts[0].rows[4]))
    with pytest.raises(ViewOutdated):
        read(made, made.context())  # type: ignore[operator]
