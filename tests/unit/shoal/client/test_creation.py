"""create_collection(exist_ok=True), collection_exists and clear."""

import pytest

from shoal.client.writes import EVERY_POINT
from shoal.core.errors import AlreadyExists, InvalidArgument, NotFound, Unavailable
from shoal.core.filter_check import check_filter, constant_truth
from shoal.core.filter_truth import matches
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.requests import CreateCollection, DeleteMatching, ListCollections
from tests.twins.router_answers import DictCluster, PausingClock, client_with


@pytest.fixture
def client():
    with client_with(DictCluster(), clock=PausingClock()) as made:
        made.create_collection("c", dim=2)
        made.upsert("c", [3, "b", 0], [[0, 0], [0, 2], [3, 0]], [{"t": "x"}, None, {}])
        yield made


def test_exist_ok_creates_what_is_missing_and_leaves_what_is_there(client):
    client.create_collection("new", 3, exist_ok=True)
    client.create_collection("c", 2, shards=7, index="flat", exist_ok=True)
    assert client.describe_collection("new").spec.dim == 3
    assert (client.describe_collection("c").spec.shards, client.count("c")) == (1, 3)
    assert len(client.mock.requests(CreateCollection)) == 2


@pytest.mark.parametrize(("options", "said"), [({"dim": 3}, "dim 2, not 3"), ({"dim": 2, "metric": "cosine"}, "metric l2, not cosine")])
def test_exist_ok_names_what_does_not_fit(client, options, said):
    with pytest.raises(AlreadyExists, match=f"'c' exists with {said}"):
        client.create_collection("c", **options, exist_ok=True)
    assert client.count("c") == 3


def test_without_exist_ok_a_name_that_is_taken_is_an_error(client):
    with pytest.raises(AlreadyExists):
        client.create_collection("c", 2)


class Racing:
    """A cluster in which somebody else creates "c" just before our creation. It is listed after `hidden` lists more."""

    def __init__(self, hidden):
        self.cluster, self.hidden = DictCluster(), hidden

    def __call__(self, address, request, timeout_s):
        if isinstance(request, CreateCollection) and not self.cluster.specs:
            self.cluster(address, request, timeout_s)
        if isinstance(request, ListCollections) and self.cluster.specs and self.hidden:
            self.hidden -= 1
            return ()
        return self.cluster(address, request, timeout_s)


@pytest.mark.parametrize("hidden", [0, 3])
def test_exist_ok_takes_a_collection_that_another_call_created_meanwhile(hidden):
    with client_with(Racing(hidden), clock=PausingClock()) as client:
        client.create_collection("c", 2, exist_ok=True)
        assert len(client.mock.requests(CreateCollection)) == 1 + hidden


def test_exist_ok_ends_with_its_timeout():
    clock = PausingClock()
    with client_with(Racing(10**9), clock=clock) as client, pytest.raises(AlreadyExists):
        client.create_collection("c", 2, exist_ok=True, timeout=2)
    assert 1.9 < sum(clock.pauses) < 2.2


def test_collection_exists_tells_by_name(client):
    assert client.collection_exists("c") is True
    assert client.collection_exists("C") is False
    client.drop_collection("c")
    assert client.collection_exists("c") is False
    with pytest.raises(InvalidArgument, match="name is 3"):
        client.collection_exists(3)


def test_clear_deletes_every_point_and_nothing_else(client):
    client.create_collection("other", 2)
    client.upsert("other", [1], [[1, 1]])
    assert client.clear("c") == 3
    assert (client.count("c"), client.count("other"), client.clear("c")) == (0, 1, 0)
    client.upsert("c", [1], [[1, 1]])
    assert client.count("c") == 1
    with pytest.raises(NotFound):
        client.clear("none")


def test_a_retried_clear_keeps_its_request_id():
    cluster, lost = DictCluster(), ["lost"]

    def answer(address, request, timeout_s):
        told = cluster(address, request, timeout_s)
        if isinstance(request, DeleteMatching) and lost:
            raise Unavailable(lost.pop())
        return told

    with client_with(answer, clock=PausingClock()) as client:
        client.create_collection("c", 2)
        client.upsert("c", [1, "a"], [[1, 1], [2, 2]])
        client.clear("c")
        assert client.count("c") == 0
        assert len({request.request_id for request in client.mock.requests(DeleteMatching)}) == 1


@pytest.mark.parametrize("point_id", [0, 1, -5, "0", "x"])
@pytest.mark.parametrize("payload", [None, {}, {"a": 1}])
def test_the_filter_of_clear_matches_every_point_and_is_one_that_servers_take(point_id, payload):
    check_filter(EVERY_POINT, DEFAULT_LIMITS)
    assert constant_truth(EVERY_POINT) is None
    assert matches(EVERY_POINT, payload, point_id)
