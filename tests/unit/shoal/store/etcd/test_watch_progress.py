from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import Revision
from shoal.store.etcd.watch_progress import (
    Advance,
    Canceled,
    Changes,
    Deleted,
    Event,
    HistoryCompacted,
    Position,
    Relist,
    Reopen,
    StillThere,
    WatchCreated,
    absorb,
)
from shoal.store.interface import Delta, Versioned


def _put(key: str, revision: int) -> Versioned:
    return Versioned(key=key, value=b"", create_revision=Revision(revision), mod_revision=Revision(revision), lease=None)


def _gone(key: str, revision: int) -> Deleted:
    return Deleted(key=key, revision=Revision(revision))


def _at(revision: int) -> Position:
    return Position(revision=Revision(revision))


def test_what_one_revision_changed_is_one_delta() -> None:
    events = (_put("a", 5), _gone("b", 5), _put("c", 7))
    advance = absorb(_at(4), Changes(events=events, more=False))
    assert advance == Advance(
        position=_at(7),
        deltas=(
            Delta(revision=Revision(5), changed=(events[0],), deleted=("b",)),
            Delta(revision=Revision(7), changed=(events[2],), deleted=()),
        ),
    )


def test_what_was_seen_already_is_dropped() -> None:
    assert absorb(_at(5), Changes(events=(_put("a", 4), _put("a", 5)), more=False)) == Advance(position=_at(5), deltas=())


def test_the_last_revision_is_held_while_more_of_it_may_follow() -> None:
    first = absorb(_at(1), Changes(events=(_put("a", 2), _put("a", 3)), more=True))
    assert isinstance(first, Advance)
    assert [delta.revision for delta in first.deltas] == [2]
    assert first.position == Position(revision=Revision(2), held=(_put("a", 3),))
    second = absorb(first.position, Changes(events=(_gone("b", 3),), more=False))
    assert isinstance(second, Advance)
    assert [(delta.revision, len(delta.changed), delta.deleted) for delta in second.deltas] == [(3, 1, ("b",))]


def test_an_opening_or_a_sign_of_life_moves_nothing() -> None:
    for message in (WatchCreated(revision=Revision(9)), StillThere()):
        assert absorb(_at(9), message) == Advance(position=_at(9), deltas=())


def test_a_store_that_went_back_is_listed_again() -> None:
    assert isinstance(absorb(_at(9), WatchCreated(revision=Revision(8))), Relist)


def test_compacted_history_is_listed_again() -> None:
    assert isinstance(absorb(_at(9), HistoryCompacted(revision=Revision(12))), Relist)


def test_a_canceled_stream_is_opened_again() -> None:
    outcome = absorb(_at(9), Canceled(reason="etcdserver: no leader"))
    assert isinstance(outcome, Reopen)
    assert "no leader" in outcome.reason


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8), cuts=st.sets(st.integers(1, 30)), start=st.integers(0, 9))
def test_fragments_cut_anywhere_give_the_same_deltas(sizes: list[int], cuts: set[int], start: int) -> None:
    events: list[Event] = [_put(f"{n}", revision) for revision, size in enumerate(sizes, start=1) for n in range(size)]
    whole = absorb(_at(start), Changes(events=tuple(events), more=False))
    assert isinstance(whole, Advance)
    edges = [0, *sorted(cut for cut in cuts if cut < len(events)), len(events)]
    position, deltas = _at(start), list[Delta]()
    for first, last in itertools.pairwise(edges):
        step = absorb(position, Changes(events=tuple(events[first:last]), more=last < len(events)))
        assert isinstance(step, Advance)
        position = step.position
        deltas.extend(step.deltas)
    assert (tuple(deltas), position) == (whole.deltas, whole.position)
    assert [delta.revision for delta in deltas] == list(range(start + 1, len(sizes) + 1))
