"""Every shard is answered exactly once, or missed, whatever becomes of the calls."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import DataLoss, InvalidArgument, ShoalError, Unavailable
from shoal.core.ids import ReplicaId, WorkerId
from shoal.router.logic.group_cover import Cover, GroupCall, GroupCover, Moves
from shoal.router.logic.replica_choice import ReplicaChoice
from shoal.router.logic.shard_groups import ShardChoices, ShardGroup, grouped

GONE, DAMAGED, BAD = Unavailable("gone"), DataLoss("crc"), InvalidArgument("bad")


def shard(number: int, workers: str) -> ShardChoices:
    """A shard that is asked for at these workers, one letter each."""
    choices = tuple(ReplicaChoice(replica=ReplicaId(f"{number}-{each}"), worker=WorkerId(each)) for each in workers)
    return ShardChoices(number=number, choices=choices)


def group_of(*workers: str) -> ShardGroup:
    (group,) = grouped(shard(number, each) for number, each in enumerate(workers))
    return group


def told(calls: tuple[GroupCall, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Worker and shards of each call."""
    return [(call.group.worker, call.group.numbers) for call in calls]


def test_an_answer_of_all_shards_is_all_that_counts() -> None:
    cover = GroupCover(group_of("ab", "ac"))
    assert (told((cover.first,)), cover.outcome) == ([("a", (0, 1))], None)
    assert cover.ended(cover.first.id, {}) == Moves()
    assert cover.outcome == Cover(calls=(0,), missed={})


def test_a_call_that_fails_is_regrouped_by_the_next_workers() -> None:
    cover = GroupCover(group_of("ab", "ac", "ab"))
    moves = cover.ended(0, dict.fromkeys(range(3), GONE))
    assert told(moves.send) == [("b", (0, 2)), ("c", (1,))]
    assert (cover.ended(1, {}), cover.outcome) == (Moves(), None)
    cover.ended(2, {})
    assert cover.outcome == Cover(calls=(1, 2), missed={})


def test_only_the_shards_that_failed_are_asked_for_elsewhere() -> None:
    cover = GroupCover(group_of("ab", "ab", "ac"))
    assert told(cover.ended(0, {1: GONE}).send) == [("b", (1,))]
    cover.ended(1, {})
    assert cover.outcome == Cover(calls=(0, 1), missed={})


def test_a_slow_call_counts_or_its_substitutes_do_and_never_both() -> None:
    cover = GroupCover(group_of("ab", "ac"))
    moves = cover.slow(0)
    assert told(moves.send) == [("b", (0,)), ("c", (1,))]
    assert [call.copies for call in moves.send] == [2, 2]
    cover.ended(1, {})
    assert cover.ended(0, {}) == Moves(withdraw=(2,))
    assert cover.outcome == Cover(calls=(0,), missed={})


def test_substitutes_that_have_all_answered_replace_their_call() -> None:
    cover = GroupCover(group_of("ab", "ac"))
    cover.slow(0)
    cover.ended(1, {})
    assert cover.ended(2, {}) == Moves(withdraw=(0,))
    assert cover.outcome == Cover(calls=(1, 2), missed={})


def test_a_part_of_an_answer_takes_the_place_of_substitutes() -> None:
    cover = GroupCover(group_of("abc", "acb", "abc"))
    cover.slow(0)
    moves = cover.ended(0, {2: DAMAGED})
    assert (told(moves.send), moves.withdraw) == ([("b", (2,))], (1, 2))
    assert [call.copies for call in moves.send] == [1]


def test_substitutes_go_on_when_their_call_fails_and_are_not_sent_again() -> None:
    cover = GroupCover(group_of("abc", "abc"))
    cover.slow(0)
    assert cover.ended(0, {0: GONE, 1: GONE}) == Moves()
    assert told(cover.ended(1, {1: GONE}).send) == [("c", (1,))]
    cover.ended(2, {1: DAMAGED})
    assert cover.outcome == Cover(calls=(1,), missed={1: (GONE, GONE, DAMAGED)})


def test_a_call_is_waited_for_when_its_substitutes_have_failed() -> None:
    cover = GroupCover(group_of("ab", "ab"))
    cover.slow(0)
    assert cover.ended(1, {0: GONE, 1: GONE}) == Moves()
    assert (cover.outcome, cover.may_be_replaced(0)) == (None, False)
    cover.ended(0, {})
    assert cover.outcome == Cover(calls=(0,), missed={})


def test_what_is_wrong_with_the_request_is_not_asked_of_others_nor_waited_for() -> None:
    cover = GroupCover(group_of("ab", "ab"))
    assert cover.ended(0, {0: BAD, 1: BAD}) == Moves()
    assert cover.outcome == Cover(calls=(), missed={0: (BAD,), 1: (BAD,)})
    cover = GroupCover(group_of("ab", "ab"))
    cover.slow(0)
    assert cover.ended(1, {0: BAD, 1: BAD}) == Moves(withdraw=(0,))
    assert cover.outcome == Cover(calls=(), missed={0: (BAD,), 1: (BAD,)})


class Played:
    """A cover, and what is known of its calls."""

    def __init__(self, group: ShardGroup) -> None:
        self.cover = GroupCover(group)
        self.calls: dict[int, GroupCall] = {}
        self.answered: dict[int, frozenset[int]] = {}
        self.running: set[int] = set()
        self.send((self.cover.first,))

    def send(self, calls: tuple[GroupCall, ...]) -> None:
        self.calls |= {call.id: call for call in calls}
        self.running |= {call.id for call in calls}

    def follow(self, moves: Moves) -> None:
        assert self.running.issuperset(moves.withdraw)
        self.running -= set(moves.withdraw)
        self.send(moves.send)
        assert all(self.cover.is_running(call) == (call in self.running) for call in self.calls)

    def slow(self, call: int) -> None:
        moves = self.cover.slow(call)
        assert sorted(number for each in moves.send for number in each.group.numbers) == sorted(self.calls[call].group.numbers)
        self.follow(moves)

    def end(self, call: int, failed: Mapping[int, ShoalError]) -> None:
        self.running.remove(call)
        self.answered[call] = frozenset(self.calls[call].group.numbers) - failed.keys()
        self.follow(self.cover.ended(call, failed))


WORKERS = "abcd"


@settings(max_examples=300, deadline=None)
@given(
    orders=st.lists(st.permutations(WORKERS), min_size=1, max_size=5),
    lengths=st.lists(st.integers(2, 4), min_size=5, max_size=5),
    events=st.data(),
)
def test_every_shard_is_answered_exactly_once_or_missed_and_it_ends(
    orders: list[list[str]], lengths: list[int], events: st.DataObject
) -> None:
    workers = ["a" + "".join(each for each in order if each != "a")[: length - 1] for order, length in zip(orders, lengths, strict=False)]
    played = Played(group_of(*workers))
    everything, begun = set(range(len(workers))), 0
    while (outcome := played.cover.outcome) is None:
        begun += 1
        assert played.running, "it waits for nothing"
        assert begun < 500, "it does not end"
        call = events.draw(st.sampled_from(sorted(played.running)))
        if played.cover.may_be_replaced(call) and events.draw(st.booleans()):
            played.slow(call)
            continue
        numbers = played.calls[call].group.numbers
        failed = events.draw(st.dictionaries(st.sampled_from(numbers), st.sampled_from([GONE, DAMAGED, GONE, BAD])))
        played.end(call, failed)
    counted = [number for call in outcome.calls for number in played.answered[call]]
    assert sorted([*counted, *outcome.missed]) == sorted(everything)
    if not any(BAD in errors for errors in outcome.missed.values()):
        # A shard is missed only after all its replicas were asked, unless the request itself is bad.
        assert all(len(errors) == len(workers[number]) for number, errors in outcome.missed.items())
