"""Test turns in virtual time. `play` stands for the pool: each work needs some slices, and looks at its turn after each
slice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.turns import Asker, Turns

SLICE_S = 0.02


def turns(*, at_once: int = 1, most_put_off: int = 16, most: int = 512) -> Turns:
    return Turns(at_once=at_once, most_put_off=most_put_off, slice_s=SLICE_S, most=most)


def play(these: Turns, works: Sequence[tuple[Asker, int]], *, arrivals: dict[int, list[tuple[Asker, int]]] | None = None) -> dict[int, int]:
    """Return the slice in which each work ended. works: asker and number of slices of each work that is there at the
    beginning. arrivals: more works, by slice.
    """
    left = {number: slices for number, (_, slices) in enumerate(works)}
    for number, (asker, _) in enumerate(works):
        these.ask(number, asker)
    ended: dict[int, int] = {}
    working: list[int] = []
    now = 0
    while left or any(at >= now for at in arrivals or ()):
        for asker, slices in (arrivals or {}).get(now, []):
            number = len(ended) + len(left)
            left[number] = slices
            these.ask(number, asker)
        while (number := these.next()) is not None:
            working.append(number)
        now += 1
        kept = []
        for number in working:
            left[number] -= 1
            if not left[number]:
                del left[number]
                ended[number] = now
                these.end(number, SLICE_S)
            elif these.goes_on(number, SLICE_S):
                kept.append(number)
        working = kept
    return ended


def test_a_collection_that_comes_later_does_not_wait_for_the_backlog_of_another() -> None:
    heavy, light = Asker("1", "a"), Asker("2", "b")
    ended = play(turns(at_once=2), [(heavy, 50)] * 100, arrivals={7: [(light, 1)], 100: [(light, 1)]})
    late = sorted(ended[number] for number in range(100, 102) if number in ended)
    # The first newcomer waits for one slice, after which a running work is put off. The second one comes just when a
    # work ends.
    assert late == [9, 101]


def test_callers_of_one_collection_take_turns_and_none_is_favoured_for_having_many_works() -> None:
    many, few = Asker("1", "many"), Asker("1", "few")
    ended = play(turns(), [(many, 4)] * 10 + [(few, 4)] * 2)
    # The two works of `few` need 8 slices and get half of all, so they end after 16.
    assert max(ended[number] for number in (10, 11)) <= 17


def test_what_collections_get_is_equal_whatever_they_have() -> None:
    these, got, work_of = turns(at_once=2), Counter[str](), {}
    for number in range(30):
        asker = Asker("1" if number < 25 else number, f"caller {number % 4}")
        work_of[number] = asker
        these.ask(number, asker)
    working: list[int] = []
    for _ in range(600):
        while (number := these.next()) is not None:
            working.append(number)
        for number in working:
            got[work_of[number].collection] += 1
        working = [number for number in working if these.goes_on(number, SLICE_S)]
    assert max(got.values()) - min(got.values()) <= 4


def test_works_of_one_caller_go_on_until_they_end_in_the_order_they_came() -> None:
    ended = play(turns(), [(Asker("1", "a"), 5)] * 4)
    assert ended == {0: 5, 1: 10, 2: 15, 3: 20}


def test_a_client_that_was_idle_gains_no_turns() -> None:
    old, new = Asker("1", "old"), Asker("2", "new")
    ended = play(turns(), [(old, 1_000)], arrivals={500: [(new, 100)]})
    # From slice 500 on, both share the slices equally, so 100 slices take about 200.
    assert 690 <= ended[1] <= 710


def test_a_work_that_is_given_up_while_it_waits_gets_no_turn() -> None:
    these = turns()
    for number in range(5):
        these.ask(number, Asker("1", "a"))
    assert these.next() == 0
    assert [these.give_up(number) for number in (0, 1, 2, 3)] == [False, True, True, True]
    these.end(0, SLICE_S)
    assert these.next() == 4
    these.end(4, SLICE_S)
    assert len(these) == 0
    assert these.next() is None


def test_one_that_was_put_off_may_be_given_up() -> None:
    these = turns()
    these.ask(1, Asker("1", "a"))
    assert these.next() == 1
    these.ask(2, Asker("2", "b"))
    assert not these.goes_on(1, SLICE_S)
    assert these.next() == 2
    assert these.give_up(1)
    these.end(1, 0.0)
    these.end(2, SLICE_S)
    assert (len(these), these.next()) == (0, None)


def test_few_begin_and_collections_without_any_are_not_locked_out() -> None:
    these = turns(at_once=1, most_put_off=3)
    for number in range(20):
        these.ask(number, Asker("1", f"caller {number}"))
    begun = set()
    for _ in range(100):
        number = these.next()
        assert number is not None
        begun.add(number)
        while these.goes_on(number, SLICE_S):
            pass
    assert len(begun) == 4
    these.ask(20, Asker("2", "another"))
    assert these.next() == 20


def test_beyond_the_bound_only_callers_with_less_than_their_share_may_wait() -> None:
    these = turns(most=100)
    for number in range(100):
        assert these.has_room(Asker("1", "greedy"))
        these.ask(number, Asker("1", "greedy"))
    assert not these.has_room(Asker("1", "greedy"))
    for number in range(100, 150):
        assert these.has_room(Asker("2", "modest"))
        these.ask(number, Asker("2", "modest"))
    assert not these.has_room(Asker("2", "modest"))
    for number in range(150, 200):
        these.ask(number, Asker("3", f"caller {number}"))
    assert not these.has_room(Asker("4", "late"))


@given(
    st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("abc"), st.integers(1, 6)), max_size=40),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_every_work_ends_after_no_more_slices_than_all_need(drawn: list[tuple[str, str, int]], at_once: int, most_put_off: int) -> None:
    works = [(Asker(collection, caller), slices) for collection, caller, slices in drawn]
    these = turns(at_once=at_once, most_put_off=most_put_off)
    ended = play(these, works)
    assert sorted(ended) == list(range(len(works)))
    assert max(ended.values(), default=0) <= sum(slices for _, slices in works)
    assert (len(these), these.next(), these.waiting()) == (0, None, [])
    in_order = defaultdict(list)
    for number, (asker, _) in enumerate(works):
        in_order[asker].append(number)
    if at_once == 1:
        assert all([ended[number] for number in numbers] == sorted(ended[number] for number in numbers) for numbers in in_order.values())
