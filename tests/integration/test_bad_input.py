"""Bad input through the SDK, as a user meets it: a typed error that names the value, and nothing applied."""

import math

import numpy as np
import pytest

import shoal


@pytest.fixture(scope="module")
def ready(shared_cluster):
    with shoal.connect(shared_cluster.address) as client:
        client.create_collection("plain", dim=3)
        client.create_collection("turned", dim=3, metric="cosine")
        yield client


@pytest.fixture
def client(ready):
    yield ready
    assert ready.count("plain") == 0
    assert ready.count("turned") == 0


GOOD = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_wrong_dimension(client):
    with pytest.raises(shoal.InvalidArgument, match=r"dimension 2.*3"):
        client.upsert("plain", [1, 2], [[1, 2], [3, 4]])
    with pytest.raises(shoal.InvalidArgument, match=r"dimension 4.*3"):
        client.search("plain", [1, 2, 3, 4])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_not_finite_names_the_point(client, bad):
    with pytest.raises(shoal.InvalidArgument, match=r"vectors\[1\]") as caught:
        client.upsert("plain", [1, 2], [[1, 2, 3], [1, bad, 3]])
    assert caught.value.details.index == 1
    with pytest.raises(shoal.InvalidArgument, match="NaN or infinity"):
        client.search("plain", [bad, 0, 0])


def test_duplicate_ids_keep_the_last_one(ready):
    ready.create_collection("twice", dim=3)
    ready.upsert("twice", [7, 8, 7], [[1, 0, 0], [2, 0, 0], [3, 0, 0]], [{"n": 1}, {"n": 2}, {"n": 3}])
    assert [(point.id, point.payload) for point in ready.get("twice", [7, 8])] == [(7, {"n": 3}), (8, {"n": 2})]


def test_empty_batches(client):
    with pytest.raises(shoal.InvalidArgument, match=r"empty|at least one|no points"):
        client.upsert("plain", [], np.empty((0, 3)))
    with pytest.raises(shoal.InvalidArgument, match=r"empty|at least one|no queries"):
        client.search_many("plain", np.empty((0, 3)))


def test_unknown_existing_and_ill_named_collections(client):
    for verb in (
        lambda: client.upsert("nowhere", [1], [[1, 2, 3]]),
        lambda: client.search("nowhere", [1, 2, 3]),
        lambda: client.get("nowhere", [1]),
        lambda: client.delete("nowhere", [1]),
        lambda: client.count("nowhere"),
        lambda: list(client.scroll("nowhere")),
        lambda: client.describe_collection("nowhere"),
        lambda: client.optimize("nowhere"),
        lambda: client.drop_collection("nowhere"),
    ):
        with pytest.raises(shoal.NotFound, match="nowhere"):
            verb()
    with pytest.raises(shoal.AlreadyExists, match="plain"):
        client.create_collection("plain", dim=3)
    for name in ("", "a b", "ä", "x" * 129, "../etc"):
        with pytest.raises(shoal.InvalidArgument, match="must match"):
            client.create_collection(name, dim=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dim", 0),
        ("dim", 65_537),
        ("shards", 0),
        ("shards", 1_025),
        ("replicas", 0),
        ("replicas", 8),
        ("replicas", 3),
        ("metric", "hamming"),
        ("index", "ivf"),
    ],
)
def test_collections_that_cannot_be(client, field, value):
    with pytest.raises(shoal.InvalidArgument, match=field):
        client.create_collection("never", **{"dim": 3, field: value})
    with pytest.raises(shoal.NotFound):
        client.describe_collection("never")


@pytest.mark.parametrize("k", [0, -1, 16_385, 2.5, "ten"])
def test_k_out_of_range(client, k):
    with pytest.raises(shoal.InvalidArgument, match="k"):
        client.search("plain", [1, 2, 3], k=k)


def test_a_batch_that_asks_for_too_many_hits(client):
    with pytest.raises(shoal.InvalidArgument, match=r"1000000|1,000,000"):
        client.search_many("plain", np.ones((4_000, 3)), k=1_000)


@pytest.mark.parametrize("payload", [{"x": math.nan}, {"x": {1, 2}}, {"x": b"bytes"}, {1: "x"}, "text", ["list"], {"x": "\ud800"}])
def test_payload_that_is_not_json_names_the_point(client, payload):
    with pytest.raises(shoal.InvalidArgument, match=r"payloads\[1\]"):
        client.upsert("plain", [1, 2], GOOD, [{"fine": 1}, payload])


def test_too_large_a_payload_and_id(client):
    with pytest.raises(shoal.InvalidArgument, match=r"payloads\[0\].*1048576"):
        client.upsert("plain", [1], GOOD[:1], [{"x": "y" * 1_100_000}])
    with pytest.raises(shoal.InvalidArgument, match=r"ids\[0\].*512"):
        client.upsert("plain", ["x" * 513], GOOD[:1])


def test_too_large_a_message_either_way(ready):
    ready.create_collection("wide", dim=4_096)
    with pytest.raises((shoal.InvalidArgument, shoal.ResourceExhausted), match=r"large|bytes"):
        ready.search_many("wide", np.ones((4_096, 4_096), dtype=np.float32))
    ready.upsert("wide", range(40), np.ones((40, 4_096), dtype=np.float32), [{"x": "y" * 1_000_000}] * 40)
    with pytest.raises(shoal.ResourceExhausted, match=r"large|bytes"):
        ready.search("wide", np.ones(4_096), k=40)
    assert len(ready.search("wide", np.ones(4_096), k=20)) == 20
    assert len(list(ready.scroll("wide"))) == 40


@pytest.mark.parametrize("bad", [np.ones((2, 3), dtype=complex), np.ones((2, 3), dtype=bool), np.full((2, 3), "x"), [[1, 2, 3], [1, 2]]])
def test_wrong_dtypes(client, bad):
    with pytest.raises(shoal.InvalidArgument, match="vectors"):
        client.upsert("plain", [1, 2], bad)


@pytest.mark.parametrize("ids", [[1.5, 2], [True, 2], [None, 2], [2**63, 2], ["", 2], [b"x", 2]])
def test_wrong_ids_name_the_first(client, ids):
    with pytest.raises(shoal.InvalidArgument, match=r"ids\[0\]"):
        client.upsert("plain", ids, GOOD)


def test_a_zero_vector_has_no_direction_under_cosine(client):
    with pytest.raises(shoal.InvalidArgument, match=r"vectors\[1\] is zero"):
        client.upsert("turned", [1, 2], [[1, 0, 0], [0, 0, 0]])
    with pytest.raises(shoal.InvalidArgument, match="zero"):
        client.search("turned", [0, 0, 0])


@pytest.mark.parametrize("option", [{"filter": {"label": 3}}, {"recall": 0.9}, {"params": {"ef": 100}}, {"radius": 1.0}, {"explain": True}])
def test_what_comes_later_is_refused_by_name(client, option):
    with pytest.raises(shoal.InvalidArgument, match=next(iter(option))):
        client.search("plain", [1, 2, 3], **option)


def test_a_write_with_one_bad_point_applies_none(client):
    vectors = np.ones((20_000, 3), dtype=np.float32)
    vectors[19_999, 1] = np.nan
    with pytest.raises(shoal.InvalidArgument, match=r"vectors\[19999\]"):
        client.upsert("plain", range(20_000), vectors)


def test_nobody_listens():
    with shoal.connect("127.0.0.1:9", timeout=1) as client, pytest.raises(shoal.Unavailable, match=r"127\.0\.0\.1:9"):
        client.list_collections()
