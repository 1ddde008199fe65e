"""Test codecs, keys and the map that a watch keeps: values are read as they were written, and a map made from changes
equals a map made from a listing.
"""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.errors import DataLoss, NotFound, Unavailable
from shoal.core.fusion_choice import SearchDefaults, search_defaults_from_input
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.map_tables import CollectionTable
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.shard_config import ShardConfig, ShardState
from shoal.core.slots import SlotRange
from shoal.core.text_fields import text_fields_from_input
from shoal.store.cluster_view import cluster_map_of, next_cluster_map
from shoal.store.codecs import decode_collection, decode_shard, decode_worker, encode_collection, encode_leader, encode_shard, encode_worker
from shoal.store.interface import Delta, Listed, Versioned
from shoal.store.keys import Keys

KEYS = Keys("test")
NAMES = st.text("abcdef-", min_size=1, max_size=6)

collections = st.builds(
    Collection,
    id=NAMES.map(CollectionId),
    spec=st.builds(
        CollectionSpec,
        name=NAMES,
        dim=st.integers(1, 70_000),
        metric=st.sampled_from(Metric),
        shards=st.integers(1, 1_024),
        replicas=st.integers(1, 7),
        index=st.sampled_from(["auto", "flat", "hnsw", "ivf"]),
        recall=st.floats(0, 1, exclude_min=True),
        min_isr_set=st.integers(0, 1),
    ),
    state=st.sampled_from(CollectionState),
    request_id=NAMES,
    revision=st.just(Revision(9)),
)
replicas = NAMES.map(ReplicaId)
configs = st.builds(
    ShardConfig,
    shard=st.just(ShardId(CollectionId("c"), 3)),
    term=st.integers(1, 99).map(Term),
    primary=replicas,
    primary_reg=st.integers(0, 99).map(Revision),
    isr=st.lists(replicas, max_size=3).map(tuple),
    elr=st.lists(replicas, max_size=3).map(tuple),
    learners=st.lists(replicas, max_size=3).map(tuple),
    worker_of=st.dictionaries(replicas, NAMES.map(WorkerId), max_size=3),
    min_isr=st.integers(1, 6),
    rf=st.integers(1, 7),
    state=st.sampled_from(ShardState),
    slots=st.lists(st.builds(SlotRange, st.integers(0, 50), st.integers(51, 99)), max_size=3).map(tuple),
)


@given(collections)
def test_collections_come_back(collection):
    assert decode_collection("k", encode_collection(collection), 9) == collection


@given(
    st.builds(
        WorkerEntry,
        id=NAMES.map(WorkerId),
        address=NAMES,
        incarnation=NAMES,
        pid=st.integers(1, 99),
        node=NAMES,
        zone=NAMES,
        memory_budget_bytes=st.integers(0, 1 << 50),
        file_budget=st.integers(0, 1 << 30),
        replica_files=st.integers(0, 99),
        registration=st.just(Revision(9)),
    )
)
def test_workers_come_back(worker):
    assert decode_worker("k", encode_worker(worker), 9) == worker


def without(text: bytes, name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != name}).encode()


def test_entries_from_before_recall_and_budgets_take_their_defaults():
    collection = _collection(CollectionSpec(name="x", dim=2, recall=0.5), CollectionState.ACTIVE)
    assert decode_collection("k", without(encode_collection(collection), "recall"), 9).spec.recall == 0.95
    worker = WorkerEntry(
        id=WorkerId("w"), address="a:1", incarnation="i", pid=1, node="n", zone="", memory_budget_bytes=5, registration=Revision(9)
    )
    assert decode_worker("k", without(encode_worker(worker), "memory_budget_bytes"), 9).memory_budget_bytes == 0
    older = decode_worker("k", without(without(encode_worker(worker), "file_budget"), "replica_files"), 9)
    assert (older.file_budget, older.replica_files) == (0, 0)
    over_http = dataclasses.replace(worker, http_port=70)
    assert (over_http.http_address, decode_worker("k", encode_worker(over_http), 9)) == ("a:70", over_http)
    older = decode_worker("k", without(encode_worker(over_http), "http_port"), 9)
    assert (older.http_port, older.http_address) == (0, "")


def test_text_fields_and_defaults_come_back_and_entries_from_before_have_none():
    text = text_fields_from_input(
        {"title": {"stem": "german", "stop_words": ["der"], "own_words": ["node.js"], "fold": False}, "a.b": "raw"}
    )
    defaults = search_defaults_from_input({"fusion": "rrf", "c": 20, "dense_weight": 0.3, "boosts": {"title": 2}}, ["title"])
    collection = _collection(CollectionSpec(name="x", dim=2, text=text, defaults=defaults), CollectionState.ACTIVE)
    assert decode_collection("k", encode_collection(collection), 9).spec == collection.spec
    older = decode_collection("k", without(without(encode_collection(collection), "text"), "defaults"), 9)
    assert (older.spec.text, older.spec.defaults) == ((), SearchDefaults())


def test_named_vectors_come_back_in_their_order_and_a_text_without_them_is_as_before():
    vectors = (NamedVector(name="text", dim=4, metric=Metric.COSINE), NamedVector(name="image", dim=512, index="hnsw"))
    named = _collection(CollectionSpec(name="x", dim=0, vectors=vectors), CollectionState.ACTIVE)
    assert decode_collection("k", encode_collection(named), 9).spec == named.spec
    lone = _collection(CollectionSpec(name="x", dim=2), CollectionState.ACTIVE)
    assert encode_collection(lone).decode() == (
        '{"defaults": {"boosts": {}, "c": 60.0, "dense_weight": 1.0, "fusion": "zscore", "text_weight": 1.0}, "dim": 2,'
        ' "id": "c", "index": "auto", "metric": "l2", "min_isr": 0, "name": "x", "recall": 0.95, "replicas": 1, "reques'
        't_id": "r", "shards": 1, "state": "active", "text": {}}'
    )


@pytest.mark.parametrize("port", ["7", -1, 65_536, None, True])
def test_a_port_that_is_none_is_named_and_not_guessed(port):
    text = {"id": "w", "address": "a:1", "incarnation": "i", "pid": 1, "node": "n", "zone": "", "http_port": port}
    with pytest.raises(DataLoss, match="/the/key"):
        decode_worker("/the/key", json.dumps(text).encode(), 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"index": "magic"},
        {"index": 3},
        {"index": "PQ3", "dim": 8},
        {"recall": 1.5},
        {"recall": "high"},
        {"text": {"body": "magic"}},
        {"text": 3},
        {"defaults": {"fusion": "magic"}},
        {"vectors": {"image": 3}},
        {"vectors": [{"name": "image", "dim": 3, "metric": "l2"}]},
        {"vectors": [{"name": "image", "dim": 0, "metric": "l2", "index": "auto"}]},
        {"vectors": [{"name": "", "dim": 3, "metric": "l2", "index": "auto"}]},
        {"vectors": [{"name": "image", "dim": 3, "metric": "l1", "index": "auto"}]},
        {"vectors": [{"name": "image", "dim": 3, "metric": "l2", "index": "magic"}]},
        {"defaults": {"boosts": {"body": 2}}},
    ],
)
def test_an_index_or_a_recall_that_is_none_is_named_and_not_guessed(changes):
    text = encode_collection(_collection(CollectionSpec(name="x", dim=2), CollectionState.ACTIVE))
    with pytest.raises(DataLoss, match="/the/key"):
        decode_collection("/the/key", json.dumps({**json.loads(text), **changes}).encode(), 1)


@given(configs)
def test_shard_configurations_come_back(config):
    assert decode_shard(config.shard, "k", encode_shard(config)) == config


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"id": 1}', b"null"])
def test_what_cannot_be_read_is_named_and_not_guessed(text):
    for decode in (
        lambda: decode_collection("/the/key", text, 1),
        lambda: decode_worker("/the/key", text, 1),
        lambda: decode_shard(ShardId(CollectionId("c"), 0), "/the/key", text),
    ):
        with pytest.raises(DataLoss, match="/the/key"):
            decode()


def versioned(key: str, value: bytes, revision: int) -> Versioned:
    return Versioned(key=key, value=value, create_revision=Revision(revision), mod_revision=Revision(revision), lease=None)


def entries() -> list[tuple[str, bytes]]:
    worker = WorkerEntry(id=WorkerId("w"), address="a:1", incarnation="i", pid=1, node="n", zone="", registration=Revision(0))
    spec = CollectionSpec(name="x", dim=2, shards=2)
    found = [
        (KEYS.cluster, b"cluster-id"),
        (KEYS.leader, encode_leader("l:1")),
        (KEYS.worker(WorkerId("w")), encode_worker(worker)),
        (KEYS.name("x"), b"c"),
        (KEYS.collection(CollectionId("c")), encode_collection(_collection(spec, CollectionState.ACTIVE))),
    ]
    for number in (0, 1):
        shard = ShardId(CollectionId("c"), number)
        found.append((KEYS.shard(shard), encode_shard(_config(shard))))
    return found


def _collection(spec: CollectionSpec, state: CollectionState) -> Collection:
    return Collection(id=CollectionId("c"), spec=spec, state=state, request_id="r")


def _config(shard: ShardId) -> ShardConfig:
    return ShardConfig(
        shard=shard,
        term=Term(1),
        primary=ReplicaId("r"),
        primary_reg=Revision(1),
        isr=(ReplicaId("r"),),
        elr=(),
        learners=(),
        worker_of={ReplicaId("r"): WorkerId("w")},
        min_isr=1,
        rf=1,
        state=ShardState.ACTIVE,
        slots=(SlotRange(0, 10),),
    )


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=30))
def test_deltas_lead_where_a_listing_leads(changes):
    known = entries()
    state: dict[str, Versioned] = {}
    folded = cluster_map_of(KEYS, Listed(revision=Revision(1), entries=()))
    for revision, (which, put) in enumerate(changes, start=2):
        key, value = known[which]
        if put:
            state[key] = versioned(key, value, revision)
            delta = Delta(revision=Revision(revision), changed=(state[key],), deleted=())
        else:
            state.pop(key, None)
            delta = Delta(revision=Revision(revision), changed=(), deleted=(key,))
        folded = next_cluster_map(KEYS, folded, delta)
        assert folded == cluster_map_of(KEYS, Listed(revision=Revision(revision), entries=tuple(state.values())))


def test_a_map_finds_collections_by_name_and_says_why_not():
    full = [versioned(key, value, 5) for key, value in entries()]
    found = cluster_map_of(KEYS, Listed(revision=Revision(5), entries=tuple(full)))
    assert found.collection("x").id == "c"
    assert [entry.config.shard.number for entry in found.shards_of(CollectionId("c"))] == [0, 1]
    assert found.workers[WorkerId("w")].registration == 5
    with pytest.raises(NotFound, match="'y' does not exist"):
        found.collection("y")
    creating = _collection(CollectionSpec(name="x", dim=2), CollectionState.CREATING)
    with pytest.raises(Unavailable, match="still being created"):
        ClusterMap(collections=CollectionTable([creating])).collection("x")
    dropping = _collection(CollectionSpec(name="x", dim=2), CollectionState.DROPPING)
    with pytest.raises(NotFound):
        ClusterMap(collections=CollectionTable([dropping])).collection("x")


def listing(*odd: tuple[str, bytes]) -> Listed:
    return Listed(revision=Revision(5), entries=tuple(versioned(key, value, 5) for key, value in (*entries(), *odd)))


@pytest.mark.parametrize("rest", ["shards/c/x", "shards/c/", "shards/c", "shards/c/-1", "shards/c/01", "shards/c/\u0661", "shards/c/0/1"])
def test_an_odd_key_is_named_and_may_be_taken_away_again(rest):
    key = KEYS.prefix + rest
    with pytest.raises(DataLoss, match=f"key {key} "):
        cluster_map_of(KEYS, listing((key, b"{}")))
    before = cluster_map_of(KEYS, listing())
    after = next_cluster_map(KEYS, before, Delta(revision=Revision(6), changed=(), deleted=(key,)))
    assert after.shards == before.shards


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (KEYS.shard(ShardId(CollectionId("c"), 0)), encode_shard(_config(ShardId(CollectionId("c"), 0))).replace(b'{"r": "w"}', b"[]")),
        (KEYS.cluster, b"\xff"),
    ],
)
def test_an_odd_value_is_named(key, value):
    with pytest.raises(DataLoss, match=f"key {key} "):
        cluster_map_of(KEYS, listing((key, value)))


def test_an_unknown_room_is_passed_over():
    assert cluster_map_of(KEYS, listing((KEYS.prefix + "attic/x", b"?"))) == cluster_map_of(KEYS, listing())
