"""The commands for collections with several named vectors."""

import dataclasses
import json

import numpy as np
import pytest

from shoal.core.requests import AlterCollection, MeasureRecall, TuneCollection
from tests.twins.router_answers import CURVE, EXPLAINED, client_with
from tests.unit.shoal.cli.files import npy

POINTS = {
    1: {"image": [1, 0], "text": [1, 0, 0]},
    2: {"image": [0, 1]},
    3: {"text": [0, 1, 0]},
    4: {},
}


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", vectors={"image": 2, "text": {"dim": 3, "metric": "ip"}}, text={"body": "auto"})
        vectors = {name: [point.get(name) for point in POINTS.values()] for name in ("image", "text")}
        client.upsert("c", list(POINTS), vectors, [{"n": at, "body": f"word{at}"} for at in POINTS])
    return shoal


def test_a_collection_with_several_vectors_is_created_listed_and_shown(shoal):
    made = shoal("collection", "create", "c", "--vector", "image=512", "--vector", "text=384,cosine,hnsw", "--shards", 2)
    assert (made.code, made.err) == (0, "")
    assert made.out == "created c: image=512,l2,auto  text=384,cosine,hnsw; 2 shards, recall 0.95\n"
    spec = shoal.cluster.specs["c"]
    assert [(each.name, each.dim, each.metric, each.index) for each in spec.vectors] == [
        ("image", 512, "l2", "auto"),
        ("text", 384, "cosine", "hnsw"),
    ]
    shoal("collection", "create", "d", "--vector", "a=8", "--vector", "b=8", "--metric", "ip", "--index", "flat")
    shoal("collection", "create", "e", "--dim", 4)
    assert shoal("collection", "list").out.splitlines() == [
        "NAME  STATE   DIM                 METRIC                SHARDS  REPLICAS  INDEX                 RECALL",
        "c     active  image=512 text=384  image=l2 text=cosine       2         1  image=auto text=hnsw    0.95",
        "d     active  a=8 b=8             ip                         1         1  flat                    0.95",
        "e     active  4                   l2                         1         1  auto                    0.95",
    ]
    documents = {each["name"]: each for each in shoal("collection", "list", "--json").document}
    text = {"dim": 384, "metric": "cosine", "index": "hnsw"}
    assert documents["c"]["vectors"] == {"image": {"dim": 512, "metric": "l2", "index": "auto"}, "text": text}
    assert {"dim", "metric", "index"}.isdisjoint(documents["c"])
    assert "vectors" not in documents["e"]
    shown = shoal("collection", "show", "c").out
    assert "image=512,l2,auto  text=384,cosine,hnsw" in shown
    assert "dim" not in shown.split()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "give --dim for one vector without a name, or --vector NAME=DIM"),
        (("--dim", 4, "--vector", "a=4"), 2, "give --dim for one vector without a name"),
        (("--vector", "a"), 1, "--vector is 'a': write NAME=DIM"),
        (("--vector", "a=0"), 1, "dim of vector 'a' is 0"),
        (("--vector", "a b=4"), 1, "the name of a vector is 'a b'"),
        (("--vector", "a=4,hsnw"), 1, "'hsnw'"),
        (("--vector", "a=4", "--metric", "l3"), 1, "l3"),
        (tuple(word for at in range(17) for word in ("--vector", f"v{at}=4")), 1, "17 vectors are named, at most 16"),
    ],
)
def test_a_creation_that_cannot_be_is_refused(shoal, words, code, said):
    ended = shoal("collection", "create", "c", *words)
    assert (ended.code, shoal.cluster.specs) == (code, {})
    assert said in " ".join(ended.err.split())


def test_indexes_are_altered_by_name(filled):
    ended = filled("collection", "alter", "c", "--index", "image=hnsw", "--index", "text=flat")
    assert (ended.code, ended.out) == (0, "altered c: index image=hnsw text=flat, recall 0.95\n")
    assert [each.index for each in filled.cluster.specs["c"].vectors] == ["hnsw", "flat"]
    ended = filled("collection", "alter", "c", "--index", "text=hnsw", "--json")
    assert ended.document["index"] == {"image": "hnsw", "text": "hnsw"}
    assert len(filled.clients[-1].mock.requests(AlterCollection)) == 1
    before = filled.cluster.specs["c"]
    for wrong, said in (("pic=flat", "image, text"), ("flat", "image"), ("image=flut", "flut")):
        ended = filled("collection", "alter", "c", "--index", wrong)
        assert (ended.code, filled.cluster.specs["c"]) == (1, before)
        assert said in ended.err


def test_tune_and_recall_name_a_vector(filled, tmp_path):
    filled.cluster.curves = tuple(dataclasses.replace(CURVE, vector=name) for name in ("image", "text"))
    ended = filled("collection", "tune", "c", "--using", "image", "--queries", npy(tmp_path, np.ones((3, 2))))
    assert ended.code == 0
    assert ended.out.splitlines()[0].split()[:3] == ["SHARD", "VECTOR", "SEGMENT"]
    assert {"image", "text"} <= set(ended.out.split())
    assert [each.vector for each in filled.clients[-1].mock.requests(TuneCollection)] == ["image"]
    assert filled("collection", "recall", "c", "--using", "text", "--json").document["using"] == "text"
    assert [each.vector for each in filled.clients[-1].mock.requests(MeasureRecall)] == ["text"]
    for words in (("tune", "c", "--using", "pic"), ("recall", "c"), ("recall", "c", "--using", "pic")):
        ended = filled("collection", *words)
        assert ended.code == 1
        assert "image, text" in ended.err


def test_a_search_names_a_vector(filled, tmp_path):
    found = filled("search", "c", "--vector", "[1, 0]", "--using", "image", "--json").document
    assert [(hit["id"], hit["score"]) for hit in found] == [(1, 0.0), (2, 2.0)]
    assert filled("search", "c", "--vector", "[0, 1, 0]", "--using", "text", "--id-only").out.split() == ["3", "1"]
    file = npy(tmp_path, np.eye(2, dtype=np.float32))
    assert filled("search", "c", "--vectors", file, "--using", "image", "--id-only").out == "1\t2\n2\t1\n"
    filled.cluster.explained = (dataclasses.replace(EXPLAINED, vector="image"),)
    explained = filled("search", "c", "--vector", "[1, 0]", "--using", "image", "--explain").out
    assert "SHARD  VECTOR  SEGMENT" in explained


def test_several_vectors_and_words_are_fused(filled):
    words = ("--vector", "[1, 0]", "--using", "image", "--vector", "[1, 0, 0]", "--using", "text")
    found = filled("search", "c", *words, "--json").document
    assert found[0]["id"] == 1
    assert {name: leg["rank"] for name, leg in found[0]["legs"].items()} == {"image": 1, "text": 1}
    table = filled("search", "c", *words, "--weight", "image=2", "--weight", "text=1").out
    assert table.splitlines()[0].split() == ["RANK", "ID", "SCORE", "IMAGE", "TEXT", "PAYLOAD"]
    both = filled("search", "c", "--vector", "[0, 1]", "--using", "image", "--text", "word2", "--json").document
    assert (both[0]["id"], set(both[0]["legs"])) == (2, {"image", "text"})
    beside = ("--vector", "[0, 1, 0]", "--using", "text", "--text", "word2", "--weight", "words=3", "--weight", "text=1")
    assert [set(hit["legs"]) for hit in filled("search", "c", *beside, "--json").document[:2]] == [{"words"}, {"text"}]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--vector", "[1, 0]"), 1, "image, text"),
        (("--vector", "[1, 0]", "--using", "pic"), 1, "image, text"),
        (("--vector", "[1, 0, 0]", "--using", "image"), 1, "dimension 3"),
        (("--vector", "[1, 0]", "--vector", "[1, 0, 0]"), 2, "with several vectors, --using names each"),
        (("--vector", "[1, 0]", "--vector", "[1, 0, 0]", "--using", "image"), 2, "2 vectors have 1 names"),
        (("--text", "word1", "--using", "image"), 2, "--using names the vector of --vector or --vectors, and there is none"),
        (("--vector", "[1, 0]", "--using", "image", "--vector", "[1, 0]", "--using", "image"), 1, "--using names the vector 'image' twice"),
        (("--vector", "[1, 0]", "--using", "image", "--weight", "dense=1"), 1, "names the leg 'dense', the search has image"),
        (("--vector", "7", "--using", "image"), 1, "--vector must be a list of numbers"),
    ],
)
def test_a_search_that_cannot_be_is_refused(filled, words, code, said):
    ended = filled("search", "c", *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in " ".join(ended.err.replace("│", " ").split())


def test_points_are_printed_with_the_vectors_they_have_and_are_read_back(filled, tmp_path):
    lines = filled("scroll", "c", "--with-vectors").out.splitlines()
    assert [{key: value for key, value in json.loads(line).items() if key not in ("id", "payload")} for line in lines] == list(
        POINTS.values()
    )
    assert json.loads(filled("get", "c", "--id", 2, "--with-vectors").out) == {
        "id": 2,
        "image": [0, 1],
        "payload": {"n": 2, "body": "word2"},
    }
    assert json.loads(filled("get", "c", "--id", 2).out) == {"id": 2, "payload": {"n": 2, "body": "word2"}}
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    before = filled.cluster.points["c"]
    with client_with(filled.cluster) as client:
        client.clear("c")
    assert filled("import", tmp_path / "p.jsonl", "--collection", "c").code == 0
    assert str(filled.cluster.points["c"]) == str(before)


def test_a_vector_of_a_point_is_replaced_and_the_others_stay(filled):
    ended = filled("update-vectors", "c", "--id", 1, "--vector", "[5, 6]", "--using", "image")
    assert (ended.code, ended.out) == (0, "changed 1 point of c\n")
    (row, payload) = filled.cluster.points["c"][1]
    assert {name: vector.tolist() for name, vector in row.items()} == {"image": [5, 6], "text": [1, 0, 0]}
    assert json.loads(payload) == {"n": 1, "body": "word1"}
    words = ("--vector", "[7, 7]", "--using", "image", "--vector", "[8, 8, 8]", "--using", "text")
    assert filled("update-vectors", "c", "--id", 4, *words, "--json").document == {"collection": "c", "updated": 1}
    assert {name: vector.tolist() for name, vector in filled.cluster.points["c"][4][0].items()} == {"image": [7, 7], "text": [8, 8, 8]}
    assert filled("update-vectors", "c", "--id", 99, "--vector", "[5, 6]", "--using", "image").out == "changed 0 points of c\n"
    for wrong, code, said in (
        (("--vector", "[5, 6]"), 1, "image, text"),
        (("--vector", "[5]", "--using", "image"), 1, "dimension 1"),
        (("--vector", "[5, 6]", "--using", "pic"), 1, "image, text"),
        (("--vector", "[5, 6]", "--vector", "[5, 6]", "--using", "image", "--using", "image"), 2, "names a vector twice"),
    ):
        ended = filled("update-vectors", "c", "--id", 1, *wrong)
        assert (ended.code, ended.out) == (code, "")
        assert said in " ".join(ended.err.split())


def test_a_vector_without_a_name_is_replaced_without_one(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("u", dim=2)
        client.upsert("u", [1], [[0, 1]], [{"a": 1}])
    assert shoal("update-vectors", "u", "--id", 1, "--vector", "[5, 6]").out == "changed 1 point of u\n"
    assert shoal.cluster.points["u"][1][0].tolist() == [5, 6]
    refused = shoal("update-vectors", "u", "--id", 1, "--vector", "[5, 6]", "--using", "image")
    assert (refused.code, shoal.cluster.points["u"][1][0].tolist()) == (1, [5, 6])
