import threading

import numpy as np
import pytest

from shoal.client import writes
from shoal.core.errors import DeadlineExceeded, ErrorDetails, InvalidArgument, NotFound, Unavailable
from shoal.core.replies import Written
from shoal.core.requests import Delete, ShardToken, Upsert
from tests.twins.router_answers import DictCluster, PausingClock, client_with


@pytest.fixture
def cluster():
    made = DictCluster()
    with client_with(made) as client:
        client.create_collection("c", dim=2)
    return made


@pytest.fixture
def small_messages(monkeypatch):
    """Limit messages to ten points of dimension 2 with integer ids."""
    monkeypatch.setattr(writes, "MESSAGE_BYTES", 200)


def test_all_points_arrive_once_in_bounded_messages(cluster, small_messages):
    client = client_with(cluster)
    vectors = np.arange(198, dtype=np.float64).reshape(99, 2)
    assert client.upsert("c", range(99), vectors, [{"n": at} for at in range(99)]) == 99
    assert {key: row.tolist() for key, (row, _) in cluster.points["c"].items()} == {at: vectors[at].tolist() for at in range(99)}
    assert cluster.points["c"][7][1] == b'{"n":7}'
    sent = client.mock.requests(Upsert)
    assert len(sent) > 9
    assert all(len(request.points) <= 10 for request in sent)


def test_integers_arrive_as_float32_however_many_messages_they_fill(cluster, small_messages):
    client = client_with(cluster)
    vectors = np.arange(198, dtype=np.int64).reshape(99, 2) * 10**9 + 1
    client.upsert("c", range(99), vectors)
    sent = client.mock.requests(Upsert)
    assert len(sent) > 9
    assert {request.points.vectors.dtype for request in sent} == {np.dtype(np.float32)}
    arrived = {key: row.tolist() for key, (row, _) in cluster.points["c"].items()}
    assert arrived == {at: vectors[at].astype(np.float32).tolist() for at in range(99)}


def test_a_message_holds_at_most_16384_points(cluster):
    client = client_with(cluster)
    client.upsert("c", np.arange(20_000), np.zeros((20_000, 2)))
    assert sorted(len(request.points) for request in client.mock.requests(Upsert)) == [3_616, 16_384]


def test_each_message_has_a_request_id_of_its_own(cluster, small_messages):
    client = client_with(cluster)
    client.upsert("c", range(50), np.zeros((50, 2)))
    client.upsert("c", range(50), np.zeros((50, 2)))
    ids = [request.request_id for request in client.mock.requests(Upsert)]
    assert len(set(ids)) == len(ids) == 10
    assert len({each.client for each in ids}) == 1


def test_a_retry_carries_the_same_request_id(cluster):
    refusals = [Unavailable("not primary"), Unavailable("not ready")]

    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and refusals:
            raise refusals.pop()
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=PausingClock())
    assert client.upsert("c", [1], [[0.0, 1.0]]) == 1
    sent = client.mock.requests(Upsert)
    assert len(sent) == 3
    assert len({request.request_id for request in sent}) == 1


def test_two_clients_never_share_request_ids(cluster):
    one, two = client_with(cluster), client_with(cluster)
    for client in (one, two):
        client.upsert("c", [1], [[0.0, 1.0]])
    assert one.mock.requests(Upsert)[0].request_id != two.mock.requests(Upsert)[0].request_id


def test_of_duplicate_ids_the_last_point_counts(cluster):
    client = client_with(cluster)
    assert client.upsert("c", [1, 2, 1, "1"], [[1, 1], [2, 2], [3, 3], [4, 4]], [{"n": 1}, None, {"n": 3}, None]) == 3
    assert {key: (row.tolist(), payload) for key, (row, payload) in cluster.points["c"].items()} == {
        1: ([3, 3], b'{"n":3}'),
        2: ([2, 2], None),
        "1": ([4, 4], None),
    }
    assert client.mock.requests(Upsert)[0].points.ids.tolist() == [2, 1, "1"]


def test_at_most_four_messages_travel_at_a_time(cluster, small_messages):
    lock, full, running, most = threading.Lock(), threading.Event(), 0, 0

    def answer(address, request, timeout_s):
        nonlocal running, most
        if not isinstance(request, Upsert):
            return cluster(address, request, timeout_s)
        with lock:
            running += 1
            most = max(most, running)
            if running == writes.MESSAGES_AT_ONCE:
                full.set()
        assert full.wait(30)
        with lock:
            running -= 1
            return cluster(address, request, timeout_s)

    client_with(answer).upsert("c", range(100), np.zeros((100, 2)))
    assert most == writes.MESSAGES_AT_ONCE == 4


BAD = [
    ([1, 2], [[0, 1], [float("nan"), 0]], None, 1, "NaN"),
    ([1, 2], [[0, 1], [0, 1e39]], None, 1, "infinity"),
    ([1, 2.5], [[0, 1], [1, 0]], None, 1, "int or a string"),
    ([1, True], [[0, 1], [1, 0]], None, 1, "int or a string"),
    ([1, 2**63], [[0, 1], [1, 0]], None, 1, "64 bits"),
    ([1, "x" * 513], [[0, 1], [1, 0]], None, 1, "513 bytes"),
    ([1, 2], [[0, 1], [1, 0]], [None, {"a": {1}}], 1, r"payloads\[1\].a is a set"),
    ([1, 2], [[0, 1], [1, 0]], [None, {"a": float("inf")}], 1, r"payloads\[1\].a is inf"),
    ([1, 2], [[0, 1], [1, 0]], [{"a": "x" * 2**20}, None], 0, "at most 1048576"),
    ([1, 2], [[0, 1], [1, 0]], [None, "text"], 1, "dict or None"),
    ([1, 2], [[0, 1]], None, None, "1 vectors are given for 2 ids"),
    ([1, 2], [[0, 1], [1, 0]], [None], None, "1 payloads are given for 2 ids"),
    ([1, 2], [[0, 1], [1]], None, 1, r"vectors\[1\] has 1 numbers"),
    ([1, 2], [[0, 1], [1, 1j]], None, 1, "a complex"),
    ([1, 2], [[True, True], [False, True]], None, 0, "boolean"),
    (np.array(5), [[0, 1]], None, None, "list or array"),
    ({1, 2}, [[0, 1], [1, 0]], None, None, "no order"),
    ({1: 0, 2: 0}, [[0, 1], [1, 0]], None, None, "not dict"),
    (np.ma.array([1, 2], mask=[0, 1]), [[0, 1], [1, 0]], None, 1, "masked"),
    ([1, 2], np.ma.array([[0, 1], [1, 0]], mask=[[0, 0], [1, 0]]), None, 1, "masked"),
    ([1, 2], [[0, 1], [1, 0]], np.ma.array([{}, {}], mask=[0, 1]), None, "must be a list of dicts"),
    ([], np.zeros((0, 2)), None, None, "empty"),
    (7, [[0, 1]], None, None, "list or array"),
]


@pytest.mark.parametrize(("points", "index", "words"), [(each[:3], *each[3:]) for each in BAD])
def test_bad_input_is_refused_before_anything_is_sent(cluster, points, index, words):
    client = client_with(cluster)
    with pytest.raises(InvalidArgument, match=words) as raised:
        client.upsert("c", *points)
    assert raised.value.details.index == index
    assert client.mock.sent == []


def test_a_large_upsert_of_the_wrong_dimension_is_refused_whole(cluster, small_messages):
    client = client_with(cluster)
    with pytest.raises(InvalidArgument, match="dimension 3, the collection has 2"):
        client.upsert("c", range(100), np.zeros((100, 3)))
    assert client.mock.requests(Upsert) == []


def test_a_zero_vector_under_cosine_refuses_a_large_upsert_whole(cluster, small_messages):
    client = client_with(cluster)
    client.create_collection("angles", dim=2, metric="cosine")
    vectors = np.ones((100, 2))
    vectors[93] = 0
    with pytest.raises(InvalidArgument, match=r"vectors\[93\] is zero") as raised:
        client.upsert("angles", range(100), vectors)
    assert raised.value.details.index == 93
    assert client.mock.requests(Upsert) == []


def test_an_index_named_by_a_router_is_given_in_the_callers_numbering(cluster, small_messages):
    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and 77 in request.points.ids.tolist():
            index = request.points.ids.tolist().index(77)
            raise InvalidArgument(f"vectors[{index}] is odd", ErrorDetails(field="vectors", index=index))
        return cluster(address, request, timeout_s)

    ids = [5, 5, *range(98)]
    with pytest.raises(InvalidArgument) as raised:
        client_with(answer).upsert("c", ids, np.zeros((100, 2)))
    assert raised.value.details.index == ids.index(77) == 79
    assert "vectors[79] is odd" in raised.value.message


def test_after_a_failure_no_further_message_is_sent_and_the_error_says_what_was_applied(cluster, small_messages, monkeypatch):
    monkeypatch.setattr("shoal.client.client.MESSAGES_AT_ONCE", 1)

    def answer(address, request, timeout_s):
        if isinstance(request, Upsert) and 20 in request.points.ids.tolist():
            raise NotFound("collection 'c' does not exist")
        return cluster(address, request, timeout_s)

    client = client_with(answer)
    with pytest.raises(NotFound, match="20 of 100 points were acknowledged") as raised:
        client.upsert("c", range(100), np.zeros((100, 2)))
    assert len(client.mock.requests(Upsert)) == 3
    assert raised.value.details.applied == {"c/0": "maybe", "c/1": "maybe"}


def test_a_single_message_keeps_what_the_router_said_of_each_shard():
    def answer(address, request, timeout_s):
        raise DeadlineExceeded("shard c/1 did not answer", ErrorDetails(applied={"c/0": "yes", "c/1": "maybe"}))

    with pytest.raises(DeadlineExceeded) as raised:
        client_with(answer, clock=PausingClock()).upsert("c", [1], [[0.0, 1.0]])
    assert raised.value.details.applied == {"c/0": "yes", "c/1": "maybe"}


def test_outcomes_of_messages_add_up_per_shard():
    def token(shard):
        return ShardToken("id", shard, 1)

    done = Written(tokens=(token(0), token(1)), affected=0)
    assert writes.applied_of("c", [done, done]) == {"c/0": "yes", "c/1": "yes"}
    assert writes.applied_of("c", [done, None]) == {"c/0": "maybe", "c/1": "maybe"}
    refused = InvalidArgument("bad")
    assert writes.applied_of("c", [refused, None]) == {}
    partly = Unavailable("gone", ErrorDetails(applied={"c/0": "yes", "c/1": "no"}))
    assert writes.applied_of("c", [done, partly]) == {"c/0": "yes", "c/1": "maybe"}
    assert writes.applied_of("c", [done, Unavailable("gone")]) == {"c/0": "maybe", "c/1": "maybe"}


def test_the_error_that_names_bad_input_wins_over_one_about_time(cluster):
    write = writes.Write(collection="c", pieces=((0, 1), (1, 2)), positions=None, make=lambda start, end: iter(()))
    with pytest.raises(InvalidArgument, match="bad"):
        write.settled([Unavailable("late"), InvalidArgument("bad")])


def test_progress_is_told_up_to_the_whole(cluster, small_messages):
    told = []
    client_with(cluster).upsert("c", range(45), np.zeros((45, 2)), progress=lambda rows, of: told.append((rows, of)))
    assert [of for _, of in told] == [45] * len(told)
    assert told[-1][0] == 45
    assert [rows for rows, _ in told] == sorted(rows for rows, _ in told)


def test_a_bar_is_drawn_on_stderr(cluster, capsys):
    client_with(cluster).upsert("c", range(5), np.zeros((5, 2)), progress=True)
    captured = capsys.readouterr()
    assert "5/5" in captured.err
    assert captured.out == ""


def test_a_defect_in_a_progress_function_is_not_swallowed(cluster, small_messages):
    def broken(rows, of):
        raise ZeroDivisionError("in the caller's function")

    with pytest.raises(ZeroDivisionError):
        client_with(cluster).upsert("c", range(45), np.zeros((45, 2)), progress=broken)


def test_delete_removes_each_id_once_and_counts(cluster):
    client = client_with(cluster)
    client.upsert("c", [1, 2, "a"], np.zeros((3, 2)))
    assert client.delete("c", [1, "a", 1, 99]) == 2
    assert client.mock.requests(Delete)[0].ids.tolist() == ["a", 1, 99]
    assert list(cluster.points["c"]) == [2]
