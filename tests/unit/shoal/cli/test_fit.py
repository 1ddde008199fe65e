"""`shoal collection fit`: what is read, what is saved, and what bad files are told."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shoal.cli.judged_queries import judged_queries
from shoal.core.errors import InvalidArgument
from shoal.core.fused_search import FusedSearch
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.requests import AlterCollection, Search
from tests.twins.router_answers import client_with

WORDS = [f"w{number}" for number in range(120)]


@pytest.fixture
def judged(shoal, tmp_path):
    """A collection in which texts tell what is relevant and vectors do not; the words of the command."""
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(150)]
    with client_with(shoal.cluster) as client:
        client.create_collection("c", 2, text={"t": "auto"}, search_defaults={"dense_weight": 4})
        client.upsert("c", range(150), rng.normal(size=(150, 2)), [{"t": text} for text in texts])
    wanted = rng.choice(150, 40, replace=False).tolist()
    queries = [{"id": at, "text": texts[point], "vector": rng.normal(size=2).tolist()} for at, point in enumerate(wanted)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, queries)))
    (tmp_path / "r.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{at}\t{point}\t1\n" for at, point in enumerate(wanted)))
    return ["collection", "fit", "c", "--queries", tmp_path / "q.jsonl", "--qrels", tmp_path / "r.tsv"]


def test_a_gain_is_printed_and_saved_only_with_save(shoal, judged):
    ended = shoal(*judged)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == ["WHAT", "NDCG@10", "HOW"]
    assert lines[1].startswith("now")
    assert lines[1].endswith("zscore; dense 0.8, text 0.2")
    assert lines[-2] == "40 queries with a relevant point"
    assert lines[-1].startswith("gain +0.")
    assert lines[-1].endswith("--save saves it in c")
    assert shoal.clients[-1].mock.requests(AlterCollection) == []
    saved = shoal(*judged, "--save", "--json").document
    assert (saved["saved"], saved["may_be_saved"], saved["queries"], len(saved["folds"])) == (True, True, 40, 5)
    assert 0 < saved["low"] <= saved["gain"] <= saved["high"]
    (request,) = shoal.clients[-1].mock.requests(AlterCollection)
    assert request.defaults == shoal.cluster.specs["c"].defaults
    assert request.defaults.text_weight > request.defaults.dense_weight
    assert saved["choice"]["text_weight"] == request.defaults.text_weight
    assert (request.text, request.index, request.recall) == (None, None, None)


def test_what_is_saved_leaves_nothing_to_gain(shoal, judged):
    shoal(*judged, "--save")
    chosen = shoal.cluster.specs["c"].defaults
    again = shoal(*judged, "--save")
    assert "saved in c" not in again.out
    assert shoal.cluster.specs["c"].defaults == chosen


def test_a_gain_that_may_be_none_is_never_saved(shoal, tmp_path):
    """Queries and relevant points at random: whatever is best on them is so by chance."""
    rng = np.random.default_rng(6)
    with client_with(shoal.cluster) as client:
        client.create_collection("c", 2, text={"t": "auto"})
        client.upsert("c", range(60), rng.normal(size=(60, 2)), [{"t": " ".join(rng.choice(WORDS[:20], 4))} for _ in range(60)])
    for seed in range(4):
        lines = [{"id": at, "text": " ".join(rng.choice(WORDS[:20], 2)), "vector": rng.normal(size=2).tolist()} for at in range(30)]
        (tmp_path / "q").write_text("\n".join(map(json.dumps, lines)))
        (tmp_path / "r").write_text("".join(f"{at} 0 {rng.integers(60)} 1\n" for at in range(30)))
        ended = shoal("collection", "fit", "c", "--queries", tmp_path / "q", "--qrels", tmp_path / "r", "--save", "--json", "--seed", seed)
        assert ended.document["saved"] == (ended.document["low"] > 0 and ended.document["changes"])
        assert not ended.document["saved"]
        assert shoal.cluster.specs["c"].defaults == SearchDefaults()


def test_legs_are_read_once_and_without_payloads(shoal, judged):
    shoal(*judged, "--candidates", 30)
    mock = shoal.clients[-1].mock
    (dense,) = mock.requests(Search)
    assert (dense.groups[0].k, len(dense.queries), dense.with_payload) == (30, 40, False)
    texts = mock.requests(FusedSearch)
    assert {(each.groups[0].k, each.candidates, len(each.legs), each.with_payload) for each in texts} == {(30, 30, 1, False)}
    assert [each.legs[0].asks[0].fields for each in texts] == [(("t", 1.0),)]


def test_without_vectors_only_boosts_are_chosen(shoal, judged, tmp_path):
    with client_with(shoal.cluster) as client:
        client.alter_collection("c", search_defaults={"fusion": "rrf", "dense_weight": 3})
    lines = [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps({"id": each["id"], "text": each["text"]}) for each in lines))
    document = shoal(*judged, "--save", "--json").document
    assert (document["choice"]["fusion"], document["choice"]["dense_weight"], document["choice"]["text_weight"]) == ("rrf", 3.0, 1.0)
    assert shoal.clients[-1].mock.requests(Search) == []
    assert document["saved"] is False


def test_queries_in_several_calls_are_the_same_queries(shoal, judged, monkeypatch):
    whole = shoal(*judged, "--json").document
    monkeypatch.setattr("shoal.cli.fit._HITS_A_CALL", 700)
    assert shoal(*judged, "--json").document == whole
    assert [len(each.queries) for each in shoal.clients[-1].mock.requests(Search)] == [7, 7, 7, 7, 7, 5]


def test_a_collection_without_text_has_nothing_to_choose(shoal, judged):
    with client_with(shoal.cluster) as client:
        client.alter_collection("c", text={})
    ended = shoal(*judged)
    assert (ended.code, ended.out) == (1, "")
    assert "collection 'c' has no text field" in ended.err


def test_judged_points_that_no_search_finds_are_told(shoal, judged, tmp_path):
    lines = (tmp_path / "r.tsv").read_text().splitlines()
    changed = [line.replace("\t", '\t"', 1).replace("\t1", '"\t1') for line in lines[1:]]
    (tmp_path / "r.tsv").write_text("\n".join(changed))
    ended = shoal(*judged, "--save")
    assert ended.code == 1
    assert "no search found a relevant point" in ended.err
    assert shoal.clients[-1].mock.requests(AlterCollection) == []


QUERY = '{"id": "q", "text": "red"}'


@pytest.mark.parametrize(
    ("queries", "qrels", "said"),
    [
        ("", "q 1 1", "q.jsonl has no queries, each line must be one"),
        ("{", "q 1 1", "q.jsonl line 1 is not JSON"),
        ("[1]", "q 1 1", "q.jsonl line 1 must be a JSON object, not list"),
        ('{"id": "q"}', "q 1 1", "q.jsonl line 1: text is None, it must be a string that is not empty"),
        ('{"id": "q", "text": " "}', "q 1 1", "text is ' '"),
        ('{"text": "red"}', "q 1 1", "q.jsonl line 1: id is None, it must be a string or an integer"),
        (
            '{"id": ' + "9" * 5_000 + ', "text": "red"}',
            "q 1 1",
            "id is an integer of 16,610 bits, it must be a string or an integer of 64 bits",
        ),
        ('{"id": true, "text": "red"}', "q 1 1", "id is True"),
        ('{"id": "q", "text": "red", "k": 3}', "q 1 1", "q.jsonl line 1 has 'k', allowed are id, text, vector"),
        (f"{QUERY}\n\n{QUERY}", "q 1 1", "q.jsonl line 3: the query 'q' was there before"),
        ('{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}', "1 1 1", "line 2: the query '1' was there before"),
        ('{"id": "q", "text": "red", "vector": ["x"]}', "q 1 1", "q.jsonl line 1: column 'vector' must be a list of numbers"),
        (f'{QUERY}\n{{"id": "r", "text": "a", "vector": [1, 2]}}', "q 1 1", "line 2 has a vector of 2 numbers, line 1 has no vector"),
        (QUERY, "q 1", "r.tsv line 1 has 2 columns: query id, point id and grade are needed"),
        (QUERY, "q 0 1 2 3", "r.tsv line 1 has 5 columns"),
        (QUERY, "q\t\t1", "r.tsv line 1 has 3 columns"),
        (QUERY, "q 1 1\nq 2 much", "r.tsv line 2: the grade is 'much', it must be a number"),
        (QUERY, "q 1 1\nq 2 nan", "r.tsv line 2: the grade is 'nan'"),
        (QUERY, "q 1 1\nq 0 1 2", "r.tsv line 2: point 1 of query 'q' was judged before"),
        (QUERY, "q 1 1", "1 query of"),
        (QUERY, "r 1 1", "0 queries of"),
        (QUERY, None, "r.tsv: No such file"),
    ],
)
def test_a_bad_line_is_one_line_that_names_it_and_nothing_is_read(shoal, tmp_path, queries, qrels, said):
    (tmp_path / "q.jsonl").write_text(queries)
    if qrels is not None:
        (tmp_path / "r.tsv").write_text(qrels)
    ended = shoal("collection", "fit", "c", "--queries", tmp_path / "q.jsonl", "--qrels", tmp_path / "r.tsv", "--save")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert said in ended.err
    assert shoal.connects == []


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--metric", "map"], "--metric is 'map'"), (["--candidates", 0], "--candidates is 0"), (["--seed", -1], "--seed is -1")],
)
def test_wrong_usage(shoal, judged, words, said):
    ended = shoal(*judged, *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_files_are_read_in_all_their_forms(tmp_path):
    (tmp_path / "q").write_text('\ufeff{"id": 7, "text": "红"}\n{"id": "x", "text": "b", "vector": null}\n{"id": "none", "text": "c"}\n')
    (tmp_path / "r").write_text('7 Q0 12 2\n7 Q0 "12" 0\nx\ta point\t.5\nelsewhere 1 1\nnone 3 0\n')
    found = judged_queries(tmp_path / "q", tmp_path / "r")
    assert [(each.id, each.text, each.vector, each.judged) for each in found.queries] == [
        ("7", "红", None, {12: 2.0, "12": 0.0}),
        ("x", "b", None, {"a point": 0.5}),
    ]
    assert (found.left_out, found.unknown, found.have_vectors) == (1, 1, False)
    with pytest.raises(InvalidArgument, match="absent"):
        judged_queries(tmp_path / "absent", tmp_path / "r")
