from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.flow import LAST_PAUSE_S, LEAST_ATTEMPT_S, Doubt, answered, pause_before
from shoal.client.routers import Routers
from shoal.client.sync_driver import SyncDriver
from shoal.core.errors import (
    DeadlineExceeded,
    ErrorDetails,
    Internal,
    InvalidArgument,
    NotFound,
    PreconditionFailed,
    ResourceExhausted,
    ShoalError,
    Unavailable,
)
from shoal.core.requests import Count, CreateCollection, DropCollection, ListCollections, OptimizeCollection, ReadAs
from tests.twins.router_answers import MockTransport, PausingClock

READ = Count(collection="c", filter=None, read=ReadAs())
CREATE = CreateCollection(name="c", dim=2, metric="l2", shards=1, replicas=1, index="auto", recall=0.95, request_id="r")


def run(request, outcomes, *, addresses=("one:1",), timeout_s=10.0, call_s=0.0, routers=None):
    """Drive `answered`. Its requests get the outcomes one after the other, and then the last outcome again
    and again.
    """
    clock, script = PausingClock(), list(outcomes)

    def answer(address, sent, granted_s):
        outcome = script.pop(0) if len(script) > 1 else script[0]
        clock.now += granted_s if isinstance(outcome, DeadlineExceeded) else call_s
        if isinstance(outcome, ShoalError):
            raise outcome
        return outcome

    mock = MockTransport(answer)
    driver = SyncDriver(mock, clock=clock, sleep=clock.sleep, chance=lambda: 0.0)
    flow = answered(request, timeout_s=timeout_s, routers=routers or Routers(addresses))
    try:
        return driver.run(flow), mock, clock
    except ShoalError as error:
        return error, mock, clock


def test_an_answer_is_returned_without_a_pause():
    value, mock, clock = run(READ, [7])
    assert (value, len(mock.sent), clock.pauses) == (7, 1, [])


def test_unavailable_is_asked_again_with_doubling_pauses_and_the_same_request():
    value, mock, clock = run(CREATE, [Unavailable("no")] * 8 + ["id"], timeout_s=60.0)
    assert value == "id"
    assert clock.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert all(request is CREATE for _, request, _ in mock.sent)


def test_pauses_shrink_by_chance_and_never_exceed_two_seconds():
    assert pause_before(1, 1, 0.5, 60.0) == pytest.approx(0.0375)
    assert all(pause_before(attempt, 1, random.Random(attempt).random(), 60.0) <= LAST_PAUSE_S for attempt in range(1, 2_000))


@given(st.integers(1, 10_000), st.integers(1, 7), st.floats(0, 0.999), st.floats(0, 100))
def test_a_pause_is_bounded_by_half_the_time_left(attempt, addresses, chance, left_s):
    assert 0.0 <= pause_before(attempt, addresses, chance, left_s) <= min(LAST_PAUSE_S, left_s / 2)


def test_what_cannot_help_is_raised_at_once_and_untouched():
    given_error = InvalidArgument("k is 0", ErrorDetails(field="k"))
    error, mock, _ = run(READ, [given_error])
    assert error is given_error
    assert len(mock.sent) == 1


def test_unavailable_until_the_deadline_keeps_its_details_and_says_how_often():
    error, mock, clock = run(READ, [Unavailable("shard c/1 has no primary", ErrorDetails(shard="c/1"))], timeout_s=10.0)
    assert isinstance(error, Unavailable)
    assert error.details.shard == "c/1"
    assert "shard c/1 has no primary" in error.message
    assert f"{len(mock.sent)} attempts" in error.message
    assert 9.9 <= clock.now - 100 <= 10.0
    assert "may have been applied" not in error.message


def test_every_attempt_gets_the_time_that_is_left():
    _, mock, _ = run(READ, [Unavailable("no"), Unavailable("no"), 1], timeout_s=10.0, call_s=1.0)
    assert [timeout for _, _, timeout in mock.sent] == pytest.approx([10.0, 8.95, 7.85])


def test_late_write_says_that_it_may_have_been_applied():
    error, mock, _ = run(CREATE, [Unavailable("connection reset"), DeadlineExceeded("no answer came")], timeout_s=3.0)
    assert isinstance(error, DeadlineExceeded)
    assert "no answer came (the deadline was 3 s)" in error.message
    assert "before that: connection reset" in error.message
    assert "may have been applied" in error.message
    assert len(mock.sent) == 2


def test_late_read_does_not_speak_of_writes():
    error, _, _ = run(READ, [DeadlineExceeded("no answer came")], timeout_s=3.0)
    assert isinstance(error, DeadlineExceeded)
    assert "applied" not in error.message


def test_what_a_router_says_about_a_late_write_is_kept():
    said = DeadlineExceeded("shard c/0 did not answer", ErrorDetails(applied={"c/0": "maybe"}))
    error, _, _ = run(CREATE, [said], timeout_s=3.0)
    assert "shard c/0 did not answer" in error.message
    assert error.details.applied == {"c/0": "maybe"}


def told(kind, **applied):
    return kind("said", ErrorDetails(applied={f"c/{shard[1:]}": word for shard, word in applied.items()}))


@pytest.mark.parametrize(
    ("earlier", "last", "applied"),
    [
        ([told(Unavailable, s0="maybe", s1="no")], told(ResourceExhausted, s0="no", s1="no"), {"c/0": "maybe", "c/1": "no"}),
        ([told(Unavailable, s0="yes", s1="no")], told(ResourceExhausted, s0="no", s1="no"), {"c/0": "yes", "c/1": "no"}),
        ([told(Unavailable, s0="maybe")], ResourceExhausted("too large"), {"c/0": "maybe"}),
        ([Unavailable("connection reset")], told(ResourceExhausted, s0="no", s1="yes"), {"c/0": "maybe", "c/1": "yes"}),
        ([Unavailable("reset"), told(Unavailable, s0="no")], told(ResourceExhausted, s0="no"), {"c/0": "maybe"}),
        ([told(Unavailable, s0="no")], told(ResourceExhausted, s0="no"), {"c/0": "no"}),
    ],
)
def test_what_an_earlier_attempt_left_in_doubt_stays_in_doubt(earlier, last, applied):
    error, mock, _ = run(CREATE, [*earlier, last])
    assert (type(error), error.details.applied, len(mock.sent)) == (ResourceExhausted, applied, len(earlier) + 1)
    assert error.message.startswith(last.message)
    assert ("an earlier attempt may have been applied" in error.message) == (applied != {"c/0": "no"})


def test_a_late_write_keeps_the_doubt_of_earlier_attempts_too():
    error, _, _ = run(CREATE, [told(Unavailable, s0="maybe"), told(Unavailable, s0="no")], timeout_s=1.0)
    assert (type(error), error.details.applied) == (Unavailable, {"c/0": "maybe"})
    assert error.message.count("may have been applied") == 1


def test_the_next_address_is_asked_at_once_and_remembered():
    routers = Routers(("one:1", "two:1", "three:1"))
    value, mock, clock = run(READ, [Unavailable("no"), Unavailable("no"), 5], routers=routers)
    assert value == 5
    assert [address for address, _, _ in mock.sent] == ["one:1", "two:1", "three:1"]
    assert clock.pauses == []
    _, again, _ = run(READ, [5], routers=routers)
    assert again.sent[0][0] == "three:1"


def test_all_addresses_are_tried_before_a_pause():
    _, mock, clock = run(READ, [Unavailable("no")] * 4 + [1], addresses=("one:1", "two:1"))
    assert [address for address, _, _ in mock.sent] == ["one:1", "two:1", "one:1", "two:1", "one:1"]
    assert clock.pauses == [0.05, 0.1]


def test_a_frozen_router_leaves_time_for_the_other():
    value, mock, _ = run(READ, [DeadlineExceeded("no answer came"), 9], addresses=("one:1", "two:1"), timeout_s=10.0)
    assert value == 9
    assert [(address, timeout) for address, _, timeout in mock.sent] == [("one:1", 5.0), ("two:1", 5.0)]


def test_optimize_gets_all_the_time_on_one_router():
    _, mock, _ = run(OptimizeCollection(name="c"), [None], addresses=("one:1", "two:1"), timeout_s=600.0)
    assert mock.sent[0][2] == 600.0


def test_not_found_is_not_found_whatever_went_wrong_before():
    dropping = DropCollection(name="c", collection_id="id-c")
    error, mock, _ = run(dropping, [Unavailable("connection reset"), NotFound("collection 'c' does not exist")])
    assert isinstance(error, NotFound)
    assert len(mock.sent) == 2


def test_time_spent_before_is_not_granted_again():
    mock = MockTransport(lambda *_: 1)
    driver = SyncDriver(mock, clock=PausingClock())
    driver.run(answered(READ, timeout_s=10.0, routers=Routers(("one:1",)), elapsed_s=4.0))
    driver.run(answered(READ, timeout_s=10.0, routers=Routers(("one:1",)), elapsed_s=10.5))
    assert [timeout for _, _, timeout in mock.sent] == [6.0, LEAST_ATTEMPT_S]


def test_a_closed_client_refuses():
    driver = SyncDriver(MockTransport(lambda *_: ()))
    driver.close()
    with pytest.raises(PreconditionFailed, match="closed"):
        driver.run(answered(ListCollections(), timeout_s=1.0, routers=Routers(("one:1",))))


@given(st.lists(st.sampled_from(["unavailable", "late", "bad", "fine"]), min_size=1, max_size=30), st.integers(1, 4))
def test_any_history_ends_within_the_deadline(history, count):
    outcomes = {"unavailable": Unavailable("no"), "late": DeadlineExceeded("late"), "bad": InvalidArgument("bad"), "fine": 1}
    result, mock, clock = run(READ, [outcomes[each] for each in history], addresses=tuple(f"h{at}:1" for at in range(count)))
    assert clock.now - 100 <= 10.0 + 1e-6
    assert all(0 < timeout <= 10.0 for _, _, timeout in mock.sent)
    assert result == 1 or isinstance(result, (Unavailable, DeadlineExceeded, InvalidArgument))


BUSY = ResourceExhausted("67 writes are waiting", ErrorDetails(limit="pending_writes", applied={"c/0": "no"}, retry_after_s=0.25))


def test_a_busy_server_is_asked_again_when_it_says_so():
    value, mock, clock = run(CREATE, [BUSY] * 5 + ["id"], timeout_s=60.0)
    assert value == "id"
    assert clock.pauses == [0.25, 0.25, 0.25, 0.4, 0.8]
    assert all(request is CREATE for _, request, _ in mock.sent)


def test_another_router_of_a_busy_cluster_is_not_asked_without_a_pause():
    value, mock, clock = run(READ, [BUSY, BUSY, 7], addresses=("one:1", "two:1", "three:1"))
    assert (value, clock.pauses) == (7, [0.25, 0.25])
    assert [address for address, _, _ in mock.sent] == ["one:1", "two:1", "three:1"]


@given(st.floats(0, 0.999), st.floats(0, 100), st.floats(0.01, 10), st.integers(1, 50), st.integers(1, 4))
def test_the_word_of_a_busy_server_is_the_least_pause_within_the_time_left(chance, left_s, said_s, attempt, addresses):
    pause_s = pause_before(attempt, addresses, chance, left_s, said_s)
    assert min(said_s, left_s / 2) <= pause_s <= min(max(2 * said_s, LAST_PAUSE_S), left_s / 2)


def test_a_server_that_stays_busy_is_given_up_in_time_with_all_that_is_known():
    error, mock, clock = run(CREATE, [BUSY], timeout_s=10.0)
    assert (type(error), error.details) == (ResourceExhausted, BUSY.details)
    assert f"67 writes are waiting (gave up after {len(mock.sent)} attempts in 10.0 s" in error.message
    assert "nothing was applied" in error.message
    assert 9.0 <= clock.now - 100 <= 10.0


@pytest.mark.parametrize("limit", ["memory", "disk", "open_files", "message_bytes", None])
def test_a_bound_that_waiting_does_not_mend_is_raised_at_once(limit):
    given_error = ResourceExhausted("no room", ErrorDetails(limit=limit))
    error, mock, clock = run(CREATE, [given_error])
    assert (error, len(mock.sent), clock.pauses) == (given_error, 1, [])


KINDS = st.sampled_from([Unavailable, DeadlineExceeded, Internal, InvalidArgument, ResourceExhausted])
WORDS = st.dictionaries(st.sampled_from(["c/0", "c/1", "c/2"]), st.sampled_from(["no", "maybe", "yes"]), max_size=3)


@settings(max_examples=200)
@given(st.lists(st.tuples(KINDS, WORDS), max_size=5))
def test_the_strongest_word_of_each_shard_counts_and_silence_is_doubt(attempts):
    doubt = Doubt()
    for kind, words in attempts:
        doubt = doubt.after(kind("x", ErrorDetails(applied=words)))
    silent = any(kind in (Unavailable, DeadlineExceeded, Internal) and not words for kind, words in attempts)
    for shard in ("c/0", "c/1", "c/2"):
        words = [told[shard] for _, told in attempts if shard in told]
        expected = "yes" if "yes" in words else "maybe" if "maybe" in words or silent else "no"
        assert doubt.applied.get(shard) == (expected if words else None)
