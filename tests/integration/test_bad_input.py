"""Test bad input to the SDK, as a user meets it: the error is typed and names the value, and nothing is applied."""

import math
import re

import grpc
import numpy as np
import pytest

import shoal
from shoal.core.points import id_array
from shoal.v1 import collections_pb2, collections_pb2_grpc, common_pb2, filter_pb2, points_pb2, points_pb2_grpc, search_pb2, search_pb2_grpc
from shoal.wire.columns import ids_to_message, vectors_to_message
from shoal.wire.status import error_from_exception


@pytest.fixture(scope="module")
def ready(shared_cluster):
    with shoal.connect(shared_cluster.address) as client:
        client.create_collection("plain", dim=3)
        client.create_collection("turned", dim=3, metric="cosine")
        yield client


@pytest.fixture(scope="module")
def filled(ready):
    """Return a client of a collection "kept", which has three points in two shards."""
    ready.create_collection("kept", dim=3, shards=2)
    ready.upsert("kept", [1, 2, "x"], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [{"n": 1}, {"n": 2}, None])
    return ready


@pytest.fixture
def kept(filled):
    """Return the client of `filled`. After the test, check that all points are still there."""
    yield filled
    assert [(point.id, point.payload) for point in filled.scroll("kept")] == [(1, {"n": 1}), (2, {"n": 2}), ("x", None)]


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
        lambda: client.alter_collection("nowhere", index="flat"),
        lambda: client.tune("nowhere"),
        lambda: client.measure_recall("nowhere"),
        lambda: client.delete("nowhere", filter={"n": 1}),
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
        ("min_isr", 2),
        ("metric", "hamming"),
        ("index", "annoy"),
        ("index", "PQ2"),
        ("index", "HNSW16,PQ2"),
        ("index", "IVF0,Flat"),
        ("index", "IVF16,Flat,Flat"),
        ("index", "SQ4"),
        ("index", " "),
        ("index", 16),
        ("recall", 0),
        ("recall", 1.01),
        ("recall", math.nan),
        ("recall", "high"),
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


def test_a_batch_that_asks_for_more_hits_than_one_call_gives_is_cut(client):
    assert len(client.search_many("plain", np.ones((4_000, 3)), k=1_000)) == 4_000


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
        ready.tune("wide", queries=np.ones((4_096, 4_096), dtype=np.float32))
    assert len(ready.search_many("wide", np.ones((4_096, 4_096), dtype=np.float32))) == 4_096
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


DEEP: dict = {"n": 1}
for _ in range(16):
    DEEP = {"$not": DEEP}

BAD_FILTERS = [
    ({"n": {"$foo": 1}}, r"n\.\$foo"),
    ({"$or": [{"n": 1}, {"m": {"$gt": None}}]}, r"\$or\[1\]\.m"),
    ({"$nor": []}, r"\$nor"),
    ({"n": {"$in": 3}}, r"n\.\$in"),
    ({"n": {"$in": [[1]]}}, r"n\.\$in"),
    ({"n": {"$gt": True}}, r"n\.\$gt"),
    ({"n": math.nan}, "n: nan"),
    ({"n": b"x"}, "n"),
    ({"a..b": 1}, r"a\.\.b"),
    ({"": 1}, "empty key"),
    ({"n": {"$exists": 1}}, r"n\.\$exists"),
    ({"n": {"$prefix": 3}}, r"n\.\$prefix"),
    ({"$id": 1.5}, r"\$id"),
    ({"$id": {"$gt": 1}}, r"\$id"),
    ({"$and": {"n": 1}}, r"\$and"),
    ({3: 1}, "key"),
    ("n=3", "dict"),
    ([{"n": 1}], "dict"),
    (DEEP, "16"),
    ({"$or": [{"n": number} for number in range(1_025)]}, r"1024|1,024"),
    ({"n": {"$in": list(range(65_537))}}, r"65536|65,536"),
]


@pytest.mark.parametrize(("filter", "place"), BAD_FILTERS)
def test_a_filter_that_is_none_is_refused_by_every_verb_naming_the_place(kept, filter, place):
    for verb in (
        lambda: kept.search("kept", [1, 2, 3], filter=filter),
        lambda: kept.search_many("kept", GOOD, filter=[None, filter]),
        lambda: kept.count("kept", filter),
        lambda: kept.scroll("kept", filter),
        lambda: kept.delete("kept", filter=filter),
    ):
        with pytest.raises(shoal.InvalidArgument) as caught:
            verb()
        assert caught.value.details.field == "filter"
    with pytest.raises(shoal.InvalidArgument, match=place):
        kept.count("kept", filter)


@pytest.mark.parametrize("filter", [{}, {"$and": [{}]}, {"$and": [{}, {"$and": [{}, {}]}]}])
def test_a_delete_of_everything_is_refused(kept, filter):
    with pytest.raises(shoal.InvalidArgument, match=r"would delete every point") as caught:
        kept.delete("kept", filter=filter)
    assert caught.value.details.field == "filter"


def test_a_delete_names_points_in_one_way(kept):
    for which in ({}, {"ids": [1], "filter": {"n": 1}}):
        with pytest.raises(shoal.InvalidArgument, match="either ids or a filter"):
            kept.delete("kept", **which)


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"recall": 0}, "recall", "above 0"),
        ({"recall": 1.5}, "recall", "at most 1"),
        ({"recall": math.nan}, "recall", "nan"),
        ({"recall": "0.9"}, "recall", "0.9"),
        ({"recall": True}, "recall", "True"),
        ({"params": {}}, "params", "0 keys"),
        ({"params": {"ef": 10, "nprobe": 2}}, "params", "2 keys"),
        ({"params": {"efSearch": 10}}, "params", "efSearch"),
        ({"params": {"ef": 0}}, "params.ef", "0"),
        ({"params": {"ef": 65_537}}, "params", "65537.*65536"),
        ({"params": {"nprobe": 1.5}}, "params.nprobe", "1.5"),
        ({"params": 64}, "params", "dict"),
        ({"exact": True, "recall": 0.9}, "recall", "contradict"),
        ({"exact": True, "params": {"ef": 9}}, "params", "contradict"),
        ({"recall": 0.9, "params": {"ef": 9}}, "params", "contradict"),
        ({"radius": math.nan}, "radius", "finite"),
        ({"radius": math.inf}, "radius", "finite"),
        ({"radius": "near"}, "radius", "near"),
        ({"consistency": "strong"}, "consistency", "strong"),
    ],
)
def test_options_of_a_search_that_mean_nothing(kept, options, field, said):
    for verb in (lambda: kept.search("kept", [1, 2, 3], **options), lambda: kept.search_many("kept", GOOD, **options)):
        with pytest.raises(shoal.InvalidArgument, match=said) as caught:
            verb()
        assert caught.value.details.field == field


@pytest.mark.parametrize(
    ("options", "field", "index", "said"),
    [
        ({"k": [1]}, "k", None, "list of 1 for 2"),
        ({"k": [1, 2, 3]}, "k", None, "list of 3 for 2"),
        ({"k": [1, 0]}, "k", 1, "0"),
        ({"k": [1, "two"]}, "k", 1, "two"),
        ({"k": [16_385, 1]}, "k", None, "16384"),
        ({"k": np.array([1, -1])}, "k", 1, "-1"),
        ({"filter": [None]}, "filter", None, "list of 1 for 2"),
        ({"filter": [None, {"n": {"$foo": 1}}]}, "filter", 1, r"n\.\$foo"),
        ({"filter": ["n", None]}, "filter", 0, "dict"),
    ],
)
def test_lists_of_k_and_filter_name_the_query(kept, options, field, index, said):
    with pytest.raises(shoal.InvalidArgument, match=said) as caught:
        kept.search_many("kept", GOOD, **options)
    assert caught.value.details.field == field
    assert index is None or caught.value.details.index == index


# Plain gRPC, as any language speaks it: the router is the first to check the input


def field_test(**test) -> filter_pb2.Filter:
    return filter_pb2.Filter(field=filter_pb2.FieldTest(path=["n"], **test))


def nested(depth: int) -> filter_pb2.Filter:
    made = field_test(exists=True)
    for _ in range(depth):
        made = filter_pb2.Filter(**{"not": made})
    return made


def searching(**request) -> search_pb2.SearchRequest:
    leg = search_pb2.SearchLeg(vectors=vectors_to_message(np.array(GOOD, dtype=np.float32)))
    return search_pb2.SearchRequest(collection="kept", legs=[leg], **request)


def searching_deeply(depth: int) -> search_pb2.SearchRequest:
    """Return a search whose filter is built in place. A copy would have to be parsed, and protobuf parses only 100
    nested messages.
    """
    request = searching(k=1)
    inner = request.filter
    for _ in range(depth):
        inner = getattr(inner, "not")
    inner.CopyFrom(field_test(exists=True))
    return request


def group(k: int, *queries: int, **more) -> search_pb2.QueryGroup:
    return search_pb2.QueryGroup(k=k, queries=queries, **more)


RAW_SEARCHES = [
    (searching(k=0), "k is 0"),
    (searching(k=1, recall=0.0), "recall"),
    (searching(k=1, recall=math.nan), "recall"),
    (searching(k=1, radius=math.nan), "radius"),
    (searching(k=1, params={"ef": 1.5}), "ef"),
    (searching(k=1, params={"ef": math.inf}), "ef"),
    (searching(k=1, params={"ef": 1, "nprobe": 1}), "ef.*nprobe|2"),
    (searching(k=1, params={"m": 1}), "m"),
    (searching(k=1, exact=True, recall=0.5), "exact"),
    (searching(k=1, groups=[group(1)]), "groups"),
    (searching(groups=[group(1, 0)]), "query 1 stands in 0 groups"),
    (searching(groups=[group(1, 0, 1), group(1, 1)]), "query 1 stands in 2 groups"),
    (searching(groups=[group(1, 0, 2)]), "query 2"),
    (searching(groups=[group(0, 0, 1)]), "k is 0"),
    (searching(k=1, filter=nested(16)), "16"),
    (searching(k=1, filter=nested(60)), "16|nested|deep"),
    (searching_deeply(90), "deep"),
    (searching_deeply(110), "cannot read its request.*nested too deeply"),
    (searching_deeply(5_000), "cannot read its request.*nested too deeply"),
    (searching(k=1, filter=field_test()), "test"),
    (searching(k=1, filter=field_test(range=filter_pb2.FieldRange())), "at n: a range needs"),
    (searching(k=1, filter=field_test(range=filter_pb2.FieldRange(gt={"integer": 1}, lt={"text": "x"}))), "bounds"),
    (searching(k=1, filter=field_test(contains=filter_pb2.Scalar(big_integer="ten"))), "at n: big_integer"),
    (searching(k=1, filter=field_test(contains=filter_pb2.Scalar(number=math.inf))), "inf"),
    (searching(groups=[group(1, 0), group(1, 1, filter=field_test(contains=filter_pb2.Scalar()))]), "value"),
    (searching(k=1, filter=filter_pb2.Filter(field=filter_pb2.FieldTest(exists=True))), "path"),
]


def refusal(address, call):
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        call(channel)
    return error_from_exception(caught.value)


@pytest.mark.parametrize(("request_", "said"), RAW_SEARCHES)
def test_a_raw_search_that_means_nothing(kept, shared_cluster, request_, said):
    error = refusal(shared_cluster.address, lambda channel: search_pb2_grpc.SearchStub(channel).Search(request_, timeout=10))
    assert isinstance(error, shoal.InvalidArgument), error
    assert re.search(said, error.message), error.message


@pytest.mark.parametrize(
    "method", ["/shoal.v1.Search/Search", "/shoal.v1.Points/Upsert", "/shoal.v1.Points/Scroll", "/shoal.v1.Collections/Create"]
)
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x02\xc3\x28"])
def test_bytes_that_are_no_message(kept, shared_cluster, method, data):
    error = refusal(shared_cluster.address, lambda channel: channel.unary_unary(method)(data, timeout=10))
    assert isinstance(error, shoal.InvalidArgument), error
    assert f"{method} cannot read its request" in error.message


@pytest.mark.parametrize(
    "which",
    [
        {"filter": filter_pb2.Filter()},
        {"filter": {"all": {}}},
        {"filter": {"all": {"filters": [{}, {"all": {}}]}}},
        {},
        {"ids": ids_to_message(id_array([1])), "filter": field_test(exists=True)},
    ],
)
def test_a_raw_delete_of_everything_or_of_nothing(kept, shared_cluster, which):
    request = points_pb2.DeleteRequest(collection="kept", **which)
    error = refusal(shared_cluster.address, lambda channel: points_pb2_grpc.PointsStub(channel).Delete(request, timeout=10))
    assert isinstance(error, shoal.InvalidArgument), error
    assert re.search("filter|ids", error.message), error.message


def _tune_with(dim: int, values: list[float]) -> collections_pb2.TuneCollectionRequest:
    return collections_pb2.TuneCollectionRequest(name="kept", queries=common_pb2.Vectors(dim=dim, values=values))


def test_raw_administration_that_cannot_be(kept, shared_cluster):
    def refused(verb, request):
        return refusal(
            shared_cluster.address, lambda channel: getattr(collections_pb2_grpc.CollectionsStub(channel), verb)(request, timeout=10)
        )

    for verb, request, kind, said in (
        ("Alter", collections_pb2.AlterCollectionRequest(name="kept"), shoal.InvalidArgument, "nothing to alter"),
        ("Alter", collections_pb2.AlterCollectionRequest(name="kept", index="annoy"), shoal.InvalidArgument, "annoy"),
        ("Alter", collections_pb2.AlterCollectionRequest(name="kept", recall=math.nan), shoal.InvalidArgument, "recall"),
        ("Alter", collections_pb2.AlterCollectionRequest(name="nowhere", recall=0.9), shoal.NotFound, "nowhere"),
        ("Tune", collections_pb2.TuneCollectionRequest(name="kept", k=16_385), shoal.InvalidArgument, "k is 16385"),
        ("Tune", collections_pb2.TuneCollectionRequest(name="nowhere"), shoal.NotFound, "nowhere"),
        ("Tune", _tune_with(999, [0.0] * 999), shoal.InvalidArgument, "queries have dimension 999"),
        ("Tune", _tune_with(2, [0.0] * 3), shoal.InvalidArgument, "queries"),
        ("Tune", _tune_with(2, []), shoal.InvalidArgument, "queries are empty"),
        ("MeasureRecall", collections_pb2.MeasureRecallRequest(name="kept", recall=2.0), shoal.InvalidArgument, "recall"),
        ("MeasureRecall", collections_pb2.MeasureRecallRequest(name="kept", sample=1_000_000), shoal.InvalidArgument, "sample"),
        ("MeasureRecall", collections_pb2.MeasureRecallRequest(name="nowhere"), shoal.NotFound, "nowhere"),
    ):
        error = refused(verb, request)
        assert isinstance(error, kind), (verb, error)
        assert said in error.message
    assert kept.describe_collection("kept").spec.index == "auto"


def test_a_write_with_one_bad_point_applies_none(client):
    vectors = np.ones((20_000, 3), dtype=np.float32)
    vectors[19_999, 1] = np.nan
    with pytest.raises(shoal.InvalidArgument, match=r"vectors\[19999\]"):
        client.upsert("plain", range(20_000), vectors)


def test_nobody_listens():
    with shoal.connect("127.0.0.1:9", timeout=1) as client, pytest.raises(shoal.Unavailable, match=r"127\.0\.0\.1:9"):
        client.list_collections()
