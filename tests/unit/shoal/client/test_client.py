import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

import shoal
from shoal.client.identity import RequestIds, Session
from shoal.client.routers import addresses_from_input
from shoal.core.collection import CollectionSpec
from shoal.core.errors import BY_STATUS, AlreadyExists, ErrorDetails, InvalidArgument, NotFound, PreconditionFailed, Unavailable
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.metric import Metric
from shoal.core.requests import Count, CreateCollection, Delete, DropCollection, Get, Scroll, Search, ShardToken, Upsert
from shoal.core.shard_calls import Consistency, Exact
from tests.twins.router_answers import DictCluster, PausingClock, client_with
from tests.twins.router_bytes import bytes_client_with


@pytest.fixture(params=[client_with, bytes_client_with])
def client(request):
    with request.param(DictCluster()) as made:
        made.create_collection("c", dim=2)
        made.upsert("c", [3, "b", 1], [[0, 0], [0, 2], [3, 0]], [{"t": "x", "n": {"deep": [1, None]}}, None, {}])
        yield made


def test_search_gives_hits_best_first_as_they_were_put_in(client):
    hits = client.search("c", [0, 0], k=2)
    assert hits == [shoal.Hit(3, 0.0, {"t": "x", "n": {"deep": [1, None]}}, None), shoal.Hit("b", 4.0, None, None)]
    assert isinstance(hits, list)
    assert hits.missing_shards == ()


def test_search_many_answers_each_query_in_one_call(client):
    answers = client.search_many("c", np.array([[0, 0], [3, 0], [0, 2]], dtype=np.int16), k=1)
    assert [[hit.id for hit in hits] for hits in answers] == [[3], [1], ["b"]]
    assert len(client.mock.requests(Search)) == 1


def test_search_can_bring_vectors_and_leave_payloads(client):
    hit = client.search("c", [3, 0], k=1, with_vectors=True, with_payload=False)[0]
    assert hit.vector.tolist() == [3, 0]
    assert hit.vector.dtype == np.float32
    assert hit.payload is None
    assert hash(hit) == hash(client.search("c", [3, 0], k=1)[0])


def test_a_partial_answer_names_the_missing_shards(client):
    assert client.search("c", [0, 0], allow_partial=True).missing_shards == ("c/1",)


def test_options_of_a_search_reach_the_router(client):
    client.search("c", [0, 0], k=np.int64(7), exact=True, consistency="primary", timeout=3)
    address, request, timeout_s = client.mock.sent[-1]
    (group,) = request.groups
    assert (address, timeout_s, group.k, group.filter, group.queries) == ("one:1", 3.0, 7, None, None)
    assert (request.accuracy, request.radius, request.explain) == (Exact(), None, False)
    assert request.read.consistency is Consistency.PRIMARY
    assert request.queries.dtype == np.float32


@pytest.mark.parametrize(
    ("vector", "options", "words"),
    [
        ([[0, 0]], {}, "search_many"),
        ([], {}, "shape"),
        ([0, float("inf")], {}, "NaN or infinity"),
        (["a", "b"], {}, "holds a text"),
        ([0, 0], {"k": 0}, "from 1 to 16384"),
        ([0, 0], {"k": -1}, "from 1 to 16384"),
        ([0, 0], {"k": 2**40}, "from 1 to 16384"),
        ([0, 0], {"k": 1.5}, "from 1 to 16384"),
        ([0, 0], {"k": True}, "from 1 to 16384"),
        ([0, 0], {"consistency": "strong"}, "any, session, primary"),
        ([0, 0], {"timeout": 0}, "positive"),
        ([0, 0], {"timeout": float("nan")}, "positive"),
        ([0, 0], {"k": [1]}, "from 1 to 16384"),
        ([0, 0], {"filter": {"a": {"$foo": 1}}}, "foo"),
        ([0, 0], {"filter": [{"a": 1}]}, "dict"),
        ([0, 0], {"recall": 0}, "above 0"),
        ([0, 0], {"radius": float("inf")}, "finite"),
        ([0, 0], {"exact": True, "recall": 0.9}, "exact and recall contradict"),
    ],
)
def test_bad_searches_are_refused_at_once(client, vector, options, words):
    sent = len(client.mock.sent)
    with pytest.raises(InvalidArgument, match=words):
        client.search("c", vector, **options)
    assert len(client.mock.sent) == sent


def test_an_empty_batch_is_refused(client):
    with pytest.raises(InvalidArgument, match="empty"):
        client.search_many("c", np.zeros((0, 2)))
    with pytest.raises(InvalidArgument, match="empty"):
        client.get("c", [])


def test_get_returns_what_exists_in_the_order_asked_for(client):
    points = client.get("c", ["b", 99, 3])
    assert [point.id for point in points] == ["b", 3]
    assert points[1].vector.tolist() == [0, 0]
    assert points[0].payload is None
    assert client.get("c", [1], with_vectors=False) == [shoal.Point(1, {}, None)]


def test_a_large_get_is_cut(client):
    client.upsert("c", np.arange(3_000), np.zeros((3_000, 2)))
    assert [point.id for point in client.get("c", np.arange(2_999, -1, -1))] == list(range(2_999, -1, -1))
    assert [len(request.ids) for request in client.mock.requests(Get)] == [1_024, 1_024, 952]


def test_scroll_gives_every_point_in_id_order_page_by_page(client):
    client.upsert("c", range(10, 35), np.zeros((25, 2)))
    points = list(client.scroll("c", batch=10, with_vectors=True))
    assert [point.id for point in points] == [1, 3, *range(10, 35), "b"]
    assert [request.after for request in client.mock.requests(Scroll)] == [None, 17, 27]
    assert points[0].vector.tolist() == [3, 0]


def test_a_scroll_ends_with_an_error_when_its_collection_is_made_anew(client):
    client.upsert("c", range(10, 35), np.zeros((25, 2)))
    points = client.scroll("c", batch=10)
    assert next(points).id == 1
    client.drop_collection("c")
    client.create_collection("c", 2)
    client.upsert("c", range(50, 90), np.zeros((40, 2)))
    with pytest.raises(NotFound, match="dropped, and made anew, while it was scrolled"):
        list(points)
    assert [request.collection_id for request in client.mock.requests(Scroll)] == ["", "id-c"]
    assert len(list(client.scroll("c", batch=10))) == 40


@pytest.mark.parametrize("at_most", [0, 1, 3, 100])
def test_a_get_goes_on_where_a_router_has_answered_a_part(client, at_most):
    client.mock.answer.get_at_most = at_most
    asked = [3, "none", "b", 1, 3]
    assert [point.id for point in client.get("c", asked)] == [3, "b", 1, 3]
    assert sum(len(request.ids) for request in client.mock.requests(Get)) >= len(asked)


def test_scroll_refuses_bad_arguments_at_the_call(client):
    with pytest.raises(InvalidArgument, match="batch"):
        client.scroll("c", batch=0)
    with pytest.raises(InvalidArgument, match="filter"):
        client.scroll("c", filter={"$a": 1})


def test_count_and_delete(client):
    assert client.count("c") == 3
    assert client.delete("c", ["b"]) == 1
    assert client.count("c") == 2


def test_collections_are_created_listed_described_and_dropped(client):
    client.create_collection("a", 3, "cosine", 2)
    assert [(each.name, each.spec.metric, each.state) for each in client.list_collections()] == [
        ("a", Metric.COSINE, "active"),
        ("c", Metric.L2, "active"),
    ]
    info = client.describe_collection("c")
    assert (info.points, info.growing_rows, info.sealed_rows, info.builds_pending, info.bytes, info.memory_bytes) == (3, 3, 0, 0, 2048, 512)
    client.optimize("c")
    with pytest.raises(AlreadyExists):
        client.create_collection("c", 2)
    client.drop_collection("a")
    with pytest.raises(NotFound):
        client.describe_collection("a")


def test_a_retried_creation_carries_one_request_id():
    outcomes = [Unavailable("no leader"), Unavailable("no leader"), None]

    def answer(address, request, timeout_s):
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return "id"

    client = client_with(answer, clock=PausingClock())
    client.create_collection("c", 2)
    assert len({request.request_id for request in client.mock.requests(CreateCollection)}) == 1
    assert len(client.mock.sent) == 3


@pytest.mark.parametrize(
    "options", [{"dim": 0}, {"dim": "2"}, {"dim": 2, "shards": 0}, {"dim": 2, "replicas": -1}, {"dim": 2, "metric": None}]
)
def test_bad_specifications_are_refused_at_once(client, options):
    with pytest.raises(InvalidArgument):
        client.create_collection("x", **options)


@pytest.mark.parametrize("name", [None, 7, b"c", "a\nb", "\ud800"])
def test_a_name_must_be_text(client, name):
    with pytest.raises(InvalidArgument, match="name of a collection"):
        client.count(name)


def test_timeouts_default_to_10_and_60_and_600_seconds(client):
    client.count("c")
    client.upsert("c", [1], [[0, 1]])
    client.optimize("c")
    assert [timeout_s for _, _, timeout_s in client.mock.sent[-3:]] == [10.0, 60.0, 600.0]
    own = client_with(DictCluster(), timeout=4.0)
    own.create_collection("c", 2)
    own.count("c", timeout=2)
    assert [timeout_s for _, _, timeout_s in own.mock.sent] == [4.0, 2.0]


def test_a_session_read_names_the_writes_of_this_client_only(client):
    client.create_collection("other", 2)
    client.count("other")
    client.count("c")
    client.count("c", consistency="any")
    client.count("c", consistency="primary")
    other, session, anything, primary = (request.read for request in client.mock.requests(Count))
    assert other.tokens == anything.tokens == primary.tokens == ()
    assert session.tokens == (ShardToken("id-c", 0, 1), ShardToken("id-c", 1, 1))
    assert session.consistency is Consistency.SESSION


READS = {
    Search: lambda client: client.search("c", [0, 1]),
    Get: lambda client: client.get("c", [8]),
    Count: lambda client: client.count("c"),
    Scroll: lambda client: list(client.scroll("c")),
}


@pytest.mark.parametrize(("kind", "read"), READS.items())
def test_every_read_of_a_session_names_its_writes_also_those_that_outlived_a_failover(kind, read):
    cluster, failing = DictCluster(), [Unavailable("shard c/0: worker w1 is down")] * 3

    def answer(address, request, timeout_s):
        if isinstance(request, (Upsert, kind)) and failing:
            raise failing.pop()
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=PausingClock())
    client.create_collection("c", 2)
    client.upsert("c", [8], [[0, 1]])
    failing += [Unavailable("shard c/0: worker w1 is down")] * 3
    read(client)
    asked = client.mock.requests(kind)
    assert len(asked) >= 4
    assert {each.read.tokens for each in asked} == {(ShardToken("id-c", 0, 1), ShardToken("id-c", 1, 1))}
    assert len({each.request_id for each in client.mock.requests(Upsert)}) == 1


@pytest.mark.parametrize(("kind", "read"), READS.items())
def test_a_failover_that_outlasts_the_deadline_is_a_typed_error(kind, read):
    error = Unavailable("shard c/0 has no primary", ErrorDetails(shard="c/0", applied={"c/0": "maybe"}))

    def answer(address, request, timeout_s):
        raise error

    client = client_with(answer, clock=PausingClock())
    with pytest.raises(Unavailable, match="shard c/0 has no primary"):
        read(client)
    with pytest.raises(Unavailable, match="may have been applied") as caught:
        client.upsert("c", [8], [[0, 1]])
    assert caught.value.details.applied == {"c/0": "maybe"}


def test_a_session_keeps_the_highest_position_and_forgets_dropped_collections(client):
    client.upsert("c", [8], [[0, 1]])
    client.delete("c", [8])
    client.count("c")
    assert {token.seq for token in client.mock.requests(Count)[-1].read.tokens} == {3}
    client.drop_collection("c")
    client.create_collection("c", 2)
    client.count("c")
    assert client.mock.requests(Count)[-1].read.tokens == ()


def test_late_and_foreign_positions_in_a_session():
    session = Session()
    session.acknowledge("c", [ShardToken("old", 0, 9), ShardToken("old", 1, 4)])
    session.acknowledge("c", [ShardToken("old", 0, 5)])
    assert session.read_as("c", "session").tokens == (ShardToken("old", 0, 9), ShardToken("old", 1, 4))
    session.acknowledge("c", [ShardToken("new", 1, 1)])
    assert session.read_as("c", "session").tokens == (ShardToken("new", 1, 1),)


def _draw_in_child(ids, queue):
    queue.put([ids.next() for _ in range(3)])


def test_a_forked_process_takes_another_identity():
    ids, context = RequestIds(), multiprocessing.get_context("fork")
    before, queue = ids.next(), context.SimpleQueue()
    child = context.Process(target=_draw_in_child, args=(ids, queue))
    child.start()
    drawn = queue.get()
    child.join()
    assert before.client not in {each.client for each in drawn}
    assert ids.next().client == before.client
    assert [each.number for each in drawn] == [1, 2, 3]
    assert os.getpid() != child.pid


def test_a_closed_client_refuses(client):
    client.close()
    assert client.mock.closed
    with pytest.raises(PreconditionFailed, match="closed"):
        client.count("c")


def test_addresses():
    assert addresses_from_input("host") == ("host:7600",)
    assert addresses_from_input("a:1, b:2,a:1") == ("a:1", "b:2")
    assert addresses_from_input(["[::1]:9", "10.0.0.1"]) == ("[::1]:9", "10.0.0.1:7600")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "https://a:1",
        "http://",
        "http://a:1/b",
        "http://a:b",
        "ftp://a:1",
        "a:1/",
        "a:b",
        "a:0",
        "a:70000",
        [],
        [7],
        "a b:1",
        7600,
        None,
        7.5,
        b"a:1",
        [b"a:1"],
        object(),
    ],
)
def test_bad_addresses_are_refused_by_connect(bad):
    with pytest.raises(InvalidArgument, match="address"):
        shoal.connect(bad)


@pytest.mark.parametrize("bare", ["::1", "fd00::7", "::1:7600", "10.0.0.1,::1"])
def test_an_ipv6_address_without_brackets_is_told_how_to_write_it(bare):
    address = bare.rpartition(",")[2]
    for connect in (shoal.connect, shoal.connect_async):
        with pytest.raises(InvalidArgument, match=rf"stands in brackets: \[{address}\]:7600"):
            connect(bare)


def test_every_error_class_can_be_imported_from_shoal():
    assert all(getattr(shoal, kind.__name__) is kind for kind in BY_STATUS.values())
    assert issubclass(shoal.InvalidArgument, shoal.ShoalError)
    assert set(shoal.__all__) <= set(dir(shoal))


def test_import_shoal_is_light():
    heavy = ("ray", "faiss", "rich", "typer", "uvloop", "router", "shard_worker", "coordinator", "deploy", "shoal.store", "shoal.runtime")
    code = f"import sys, shoal; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


class Flaky:
    """A cluster whose calls fail by a script. faults: for each class of request, what happens to each call. None: it
    works. "refused": it fails without effect. "lost": it takes effect and then fails. A function: as "lost", and it is
    called with the cluster in between.
    """

    def __init__(self, **faults):
        self.cluster, self.faults = DictCluster(), {kind: list(script) for kind, script in faults.items()}

    def __call__(self, address, request, timeout_s):
        fault = (self.faults.get(type(request).__name__) or [None]).pop(0)
        if fault != "refused":
            answer = self.cluster(address, request, timeout_s)
        if fault is not None:
            if callable(fault):
                fault(self.cluster)
            raise Unavailable("connection reset")
        return answer


def recreate(cluster):
    request = CreateCollection(name="c", dim=3, metric="l2", shards=1, replicas=1, index="auto", recall=0.95, request_id="theirs")
    cluster.CreateCollection(request)


def test_a_retried_drop_spares_what_somebody_else_made_under_the_name():
    flaky = Flaky(DropCollection=[recreate])
    client = client_with(flaky, clock=PausingClock())
    client.create_collection("c", 2)
    client.drop_collection("c")
    assert [each.spec.dim for each in client.list_collections()] == [3]
    assert [request.collection_id for request in client.mock.requests(DropCollection)] == ["id-c", "id-c"]


def test_a_drop_whose_answer_was_lost_is_done():
    client = client_with(Flaky(DropCollection=["lost"]), clock=PausingClock())
    client.create_collection("c", 2)
    client.drop_collection("c")
    assert client.list_collections() == []


def test_dropping_what_does_not_exist_is_not_found_also_after_a_refused_connection():
    client = client_with(Flaky(ListCollections=["refused", "refused"]), clock=PausingClock())
    with pytest.raises(NotFound, match="'typo'"):
        client.drop_collection("typo")
    assert client.mock.requests(DropCollection) == []


def test_dropping_what_is_being_dropped_is_not_found():
    summary = shoal.CollectionSummary(id="i", spec=CollectionSpec(name="c", dim=2), state="dropping")
    client = client_with(lambda address, request, timeout_s: (summary,))
    with pytest.raises(NotFound):
        client.drop_collection("c")


def test_a_drop_keeps_to_its_timeout_over_both_calls():
    clock = PausingClock()
    cluster = DictCluster()

    def answer(address, request, timeout_s):
        clock.now += 1.0
        return cluster(address, request, timeout_s)

    client = client_with(answer, clock=clock)
    client.create_collection("c", 2)
    client.drop_collection("c", timeout=5.0)
    assert [timeout_s for _, _, timeout_s in client.mock.sent[-2:]] == [5.0, 4.0]


def test_large_gets_and_deletes_travel_in_messages_that_a_router_takes(client):
    ids = np.arange(2 * DEFAULT_LIMITS.upsert_points + 1)
    client.get("c", ids)
    client.delete("c", ids)
    for kind in (Get, Delete):
        lengths = [len(request.ids) for request in client.mock.requests(kind)]
        assert sum(lengths) == len(ids)
        assert max(lengths) <= DEFAULT_LIMITS.upsert_points


def _use_in_child(ids, session, queue):
    session.acknowledge("c", [ShardToken("i", 0, 1)])
    session.forget("c")
    queue.put(ids.next().number)


def test_a_process_forked_while_another_thread_held_the_locks_goes_on():
    ids, session, context = RequestIds(), Session(), multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    with ids._lock, session._lock:
        child = context.Process(target=_use_in_child, args=(ids, session, queue), daemon=True)
        child.start()
    child.join(20.0)
    stuck = child.is_alive()
    child.kill()
    child.join()
    assert not stuck
    assert queue.get() == 1
    assert ids.next().number == 1


def test_a_scroll_begins_behind_an_id(client):
    client.upsert("c", range(10, 35), np.zeros((25, 2)))
    assert [point.id for point in client.scroll("c", batch=10, after=30)] == [31, 32, 33, 34, "b"]
    assert [point.id for point in client.scroll("c", after="a")] == ["b"]
    for bad in (1.5, "", [3]):
        with pytest.raises(InvalidArgument, match="after"):
            client.scroll("c", after=bad)
