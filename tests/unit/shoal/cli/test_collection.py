import dataclasses
import threading

import pytest

from shoal.cli import collection
from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.health import ShardCondition
from shoal.core.replies import ShardInfo
from shoal.core.requests import AlterCollection, DescribeCollection


def test_a_collection_from_creation_to_drop(shoal):
    made = shoal("collection", "create", "c", "--dim", 4, "--metric", "cosine", "--shards", 2)
    assert (made.code, made.out, made.err) == (0, "created c: dim 4, cosine, 2 shards, index auto, recall 0.95\n", "")
    listed = shoal("collection", "list")
    assert listed.out.splitlines() == [
        "NAME  STATE   DIM  METRIC  SHARDS  REPLICAS  INDEX  RECALL",
        "c     active    4  cosine       2         1  auto     0.95",
    ]
    assert "points" in shoal("collection", "show", "c").out
    assert shoal("collection", "optimize", "c").out.startswith("optimized c in")
    dropped = shoal("collection", "drop", "c", "--yes")
    assert (dropped.code, dropped.out) == (0, "dropped c\n")
    assert shoal("collection", "list", "--json").document == []


def serving(*states):
    return tuple(
        ShardInfo(collection="c", shard=at, term=1, primary="w1", isr=("w1",), learners=(), state=state, detail="")
        for at, state in enumerate(states)
    )


def test_a_creation_that_takes_long_tells_how_many_shards_serve(shoal, monkeypatch):
    monkeypatch.setattr(collection, "_TELL_EVERY_S", 0.01)
    seen = [(), Unavailable("no router"), serving(ShardCondition.OK, ShardCondition.OPENING), serving(ShardCondition.OK, ShardCondition.OK)]
    told, kind, info = threading.Event(), type(shoal.cluster), shoal.cluster.info
    create = kind.CreateCollection

    def create_slowly(*call):
        assert told.wait(20.0)
        return create(*call)

    def describe(*_):
        state = seen.pop(0) if len(seen) > 1 else seen[0]
        if len(seen) == 1:
            told.set()
        if isinstance(state, Unavailable):
            raise state
        return dataclasses.replace(info, shards=state)

    monkeypatch.setattr(kind, "CreateCollection", create_slowly)
    monkeypatch.setattr(kind, "DescribeCluster", describe)
    made = shoal("collection", "create", "c", "--dim", 4, "--shards", 2)
    assert (made.code, made.out) == (0, "created c: dim 4, l2, 2 shards, index auto, recall 0.95\n")
    lines = made.err.splitlines()
    assert lines[0] == "c: waiting for the coordinator"
    assert "c: 1 of 2 shards serve" in lines
    assert shoal.connects[-1][1] == 600.0


def test_a_creation_that_runs_out_of_time_says_what_there_is(shoal, monkeypatch):
    def create(*_):
        raise DeadlineExceeded("collection 'c' exists, but only 1 of its 2 shards serve yet; the others follow: shard c/1: opening")

    monkeypatch.setattr(type(shoal.cluster), "CreateCollection", create)
    made = shoal("collection", "create", "c", "--dim", 4, "--shards", 2, "--timeout", 3)
    assert (made.code, made.out) == (1, "")
    assert made.err.startswith("error: collection 'c' exists, but only 1 of its 2 shards serve yet; the others follow: ")
    assert len(made.err.splitlines()) == 1


def test_json_for_programs(shoal):
    assert shoal("collection", "create", "c", "--dim", 4, "--json").document == {"created": "c"}
    described = {"name": "c", "id": "id-c", "state": "active", "dim": 4, "metric": "l2", "shards": 1, "replicas": 1, "min_isr": 1}
    described |= {"index": "auto", "recall": 0.95}
    assert shoal("collection", "list", "--json").document == [described]
    held = {"points": 0, "growing_rows": 0, "sealed_rows": 0, "segments": 0, "builds_pending": 0, "bytes": 2048, "memory_bytes": 512}
    held |= {"waiting": ""}
    assert shoal("collection", "show", "c", "--json").document == described | held
    assert shoal("collection", "optimize", "c", "--json").document["optimized"] == "c"
    assert shoal("collection", "drop", "c", "--yes", "--json").document == {"dropped": "c"}


def test_show_tells_sizes_in_units_people_read(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    reason = "; ".join(["10 MiB of memory are missing"] * 5)
    shoal.cluster.held_back = [(1, reason)]
    lines = shoal("collection", "show", "c").out.splitlines()
    shown = dict(line.split("  ", 1) for line in lines[1:])
    told = {name.strip(): value.strip() for name, value in shown.items()}
    assert (told["on disk"], told["in memory"]) == ("2.0 KiB", "512 B")
    assert (told["recall"], told["waiting"]) == ("0.95", reason)
    assert {"points", "growing rows", "sealed rows", "segments", "builds pending"} <= set(told)


def test_drop_asks_first(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    refused = shoal("collection", "drop", "c", typed="n\n")
    assert refused.code == 1
    assert "dropped c" not in refused.out
    assert "error: collection c was not dropped; answer y, or pass --yes" in refused.err
    nobody = shoal("collection", "drop", "c", typed="")
    assert nobody.code == 1
    assert "c" in shoal.cluster.specs
    assert shoal("collection", "drop", "c", typed="y\n").code == 0
    assert "c" not in shoal.cluster.specs


def test_errors_are_one_line_with_what_to_do_next(shoal):
    shoal("collection", "create", "c", "--dim", 4)
    twice = shoal("collection", "create", "c", "--dim", 4)
    assert (twice.code, twice.out) == (1, "")
    assert twice.err == "error: collection 'c' exists; choose another name, or drop the old one with `shoal collection drop`\n"
    unknown = shoal("collection", "show", "nope", "--json")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err == "error: collection 'nope' does not exist; `shoal collection list` shows what there is\n"
    bad = shoal("collection", "create", "a b", "--dim", 4)
    assert bad.code == 1
    assert len(bad.err.splitlines()) == 1


@pytest.fixture
def altering(shoal, monkeypatch):
    """Create the collection c, and let commands look at it without pauses."""
    monkeypatch.setattr(collection, "_LOOK_EVERY_S", 0.0)
    shoal("collection", "create", "c", "--dim", 4, "--index", "HNSW16,SQ8", "--recall", 0.8)
    return shoal


def test_index_and_recall_can_be_chosen_and_altered(altering):
    assert (altering.cluster.specs["c"].index, altering.cluster.specs["c"].recall) == ("HNSW16,SQ8", 0.8)
    assert altering("collection", "alter", "c", "--index", "flat").out == "altered c: index flat, recall 0.8\n"
    altering.cluster.held_back = [(2, "no memory")]
    document = altering("collection", "alter", "c", "--recall", 0.99, "--json").document
    copies = {"replicas": 1, "min_isr": 1}
    assert document == {"altered": "c", "index": "flat", "recall": 0.99, **copies, "builds_pending": 2, "waiting": "no memory"}
    assert altering.clients[-1].mock.requests(AlterCollection) == [AlterCollection(name="c", index=None, recall=0.99)]
    altering.cluster.held_back = [(1, "")]
    assert altering("collection", "alter", "c", "--recall", 0.5).out == "altered c: index flat, recall 0.5; 1 build pending\n"


def test_alter_waits_until_builds_begin_and_end(altering):
    altering.cluster.held_back = [(0, ""), (0, ""), (2, "no memory"), (2, "no memory"), (1, "")]
    ended = altering("collection", "alter", "c", "--index", "flat", "--wait")
    assert (ended.code, ended.out) == (0, "altered c: index flat, recall 0.8\n")
    assert ended.err.splitlines() == [
        "c: 0 builds pending",
        "c: 2 builds pending (waiting: no memory)",
        "c: 1 build pending",
        "c: 0 builds pending",
    ]
    assert len(altering.clients[-1].mock.requests(DescribeCollection)) == 8


def test_alter_gives_up_on_builds_that_stand_still(altering, monkeypatch):
    monkeypatch.setattr(collection, "_STUCK_S", -1.0)
    altering.cluster.held_back = [(1, "no memory")] * 9
    ended = altering("collection", "alter", "c", "--index", "flat", "--wait")
    assert (ended.code, ended.out) == (1, "")
    assert "error: nothing changed for" in ended.err
    assert "1 build pending (waiting: no memory)" in ended.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [([], 2, "give --index, --recall, --replicas or --min-isr"), (["--recall", 2], 1, "at most 1"), (["--recall", "much"], 2, "--recall")],
)
def test_alterations_that_cannot_be_are_one_line(altering, words, code, said):
    ended = altering("collection", "alter", "c", *words)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (code, "", 1)
    assert said in ended.err


def test_replicas_can_be_chosen_and_altered(shoal):
    made = shoal("collection", "create", "c", "--dim", 4, "--replicas", 3)
    assert made.out == "created c: dim 4, l2, 1 shard, 3 replicas, index auto, recall 0.95\n"
    assert shoal("collection", "show", "c", "--json").document["min_isr"] == 2
    altered = shoal("collection", "alter", "c", "--replicas", 4, "--min-isr", 2)
    assert altered.out == "altered c: index auto, recall 0.95, 4 replicas, writes reach 2\n"
    assert shoal("collection", "alter", "c", "--replicas", 1, "--min-isr", 0).out.endswith("1 replicas, writes reach 1\n")
    refused = shoal("collection", "alter", "c", "--replicas", 2, "--min-isr", 3)
    assert refused.code == 1
    assert "min_isr is 3, with 2 replicas" in refused.err


def test_alter_waits_until_all_replicas_are_in_sync(altering, monkeypatch):
    def shard(*isr, learners=()):
        return ShardInfo(collection="c", shard=0, term=1, primary="w1", isr=isr, learners=learners, state=ShardCondition.OK, detail="")

    seen = [(shard("w1"),), (shard("w1", learners=("w2",)),), (shard("w1", "w2"),)]
    info = altering.cluster.info
    monkeypatch.setattr(type(altering.cluster), "DescribeCluster", lambda *_: dataclasses.replace(info, shards=seen.pop(0)))
    ended = altering("collection", "alter", "c", "--replicas", 2, "--wait")
    assert (ended.code, ended.out) == (0, "altered c: index HNSW16,SQ8, recall 0.8, 2 replicas, writes reach 1\n")
    assert ended.err.splitlines()[0] == "c: 1 of 2 replicas in sync"
    assert seen == []
