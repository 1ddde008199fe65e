import json

import numpy as np
import pytest

from shoal.cli import search
from shoal.core.requests import Search
from shoal.core.shard_calls import Breadth, Exact, RecallTarget
from tests.twins.router_answers import EXPLAINED, client_with


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
        client.upsert("c", [7, "b"], [[0, 0], [3, 4]], [{"t": "x"}, None])
    return shoal


def test_one_vector(filled):
    found = filled("search", "c", "--vector", "[0, 0]", "-k", 5)
    assert found.code == 0
    assert found.out.splitlines() == ["RANK  ID  SCORE  PAYLOAD", '   1  7       0  {"t": "x"}', "   2  b      25"]
    hits = filled("search", "c", "--vector", "[0, 0]", "--json", "--exact").document
    assert hits == [{"id": 7, "score": 0.0, "payload": {"t": "x"}}, {"id": "b", "score": 25.0, "payload": None}]
    assert filled.clients[-1].mock.requests(Search)[0].accuracy == Exact()


def test_ids_only(filled):
    found = filled("search", "c", "--vector", "[0, 0]", "--id-only")
    assert found.out == "7\nb\n"
    assert not filled.clients[-1].mock.requests(Search)[0].with_payload
    assert filled("search", "c", "--vector", "[0, 0]", "--id-only", "--json").document == [7, "b"]


def test_many_vectors_in_bounded_calls(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_QUERIES_A_CALL", 2)
    file = tmp_path / "q.npy"
    np.save(file, np.array([[0, 0], [3, 4], [3, 3]], dtype=np.float64))
    found = filled("search", "c", "--vectors", file, "--k", 1)
    assert [line.split()[:3] for line in found.out.splitlines()] == [
        ["QUERY", "RANK", "ID"],
        ["0", "1", "7"],
        ["1", "1", "b"],
        ["2", "1", "b"],
    ]
    assert [len(request.queries) for request in filled.clients[-1].mock.requests(Search)] == [2, 1]
    answers = filled("search", "c", "--vectors", file, "-k", 1, "--json", "--id-only").document
    assert answers == [{"query": 0, "hits": [7]}, {"query": 1, "hits": ["b"]}, {"query": 2, "hits": ["b"]}]
    assert filled("search", "c", "--vectors", file, "--id-only").out == "7\tb\nb\t7\nb\t7\n"


def test_filters_are_anded(filled):
    hits = filled("search", "c", "--vector", "[0, 0]", "--filter", "t=x", "--filter", '{"$id": [7, 8]}', "--json").document
    assert [hit["id"] for hit in hits] == [7]
    assert filled("search", "c", "--vector", "[0, 0]", "--filter", "t!=x", "--id-only").out == "b\n"


def test_how_exact_a_search_is_to_be_reaches_the_router(filled):
    for words, accuracy in (
        ([], None),
        (["--exact"], Exact()),
        (["--recall", 0.8], RecallTarget(0.8)),
        (["--ef", 64], Breadth(ef=64)),
        (["--nprobe", 8], Breadth(nprobe=8)),
    ):
        assert filled("search", "c", "--vector", "[0, 0]", *words).code == 0
        assert filled.clients[-1].mock.requests(Search)[0].accuracy == accuracy


def test_a_radius_says_when_k_cut_hits_off(filled, tmp_path):
    whole = filled("search", "c", "--vector", "[0, 0]", "--radius", 25, "--id-only")
    assert (whole.out, whole.err) == ("7\nb\n", "")
    cut = filled("search", "c", "--vector", "[0, 0]", "--radius", 25, "-k", 1, "--json")
    assert len(cut.document) == 1
    assert cut.err == "1 hit found, as many as -k allows: there may be more within the radius\n"
    np.save(tmp_path / "q.npy", np.array([[9, 9], [0, 0], [3, 4]]))
    many = filled("search", "c", "--vectors", tmp_path / "q.npy", "--radius", 1, "-k", 1, "--id-only")
    assert many.out == "\n7\nb\n"
    assert many.err == "2 queries (the first is 1) may have more hits within the radius than -k allows\n"


def test_without_k_a_radius_asks_for_all_in_calls_of_bounded_size(filled, tmp_path):
    np.save(tmp_path / "q.npy", np.zeros((8, 2)))
    assert filled("search", "c", "--vectors", tmp_path / "q.npy", "--radius", 30).code == 0
    requests = filled.clients[-1].mock.requests(Search)
    assert [(len(request.queries), request.groups[0].k) for request in requests] == [(6, 16_384), (2, 16_384)]


def test_explain_is_a_table_behind_the_hits_or_part_of_the_document(filled):
    lines = filled("search", "c", "--vector", "[0, 0]", "--explain").out.splitlines()
    behind = lines[lines.index("") + 1 :]
    assert behind[0].split()[:6] == ["SHARD", "SEGMENT", "STATE", "INDEX", "ROWS", "PLAN"]
    told = [
        "0",
        "s1",
        "sealed",
        "HNSW16,Flat",
        "30000",
        "index, then filter",
        "10.00%",
        "12.50%",
        "512",
        "ef 64",
        "0",
        "12 (known)",
        "180",
        "9",
    ]
    assert [cell.strip() for cell in behind[1].split("  ") if cell.strip()] == told
    document = filled("search", "c", "--vector", "[0, 0]", "--explain", "--json").document
    assert [hit["id"] for hit in document["hits"]] == [7, "b"]
    assert document["explain"][0]["plan"] == EXPLAINED.plan
    filled.cluster.explained = ()
    assert filled("search", "c", "--vector", "[0, 0]", "--explain", "--json").document["explain"] == []


def test_a_hit_that_is_printed_cannot_move_the_cursor(filled):
    with client_with(filled.cluster) as client:
        client.upsert("c", ["\x1b[2J\n"], [[0, 0]])
    assert "\x1b" not in filled("search", "c", "--vector", "[0, 0]").out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "give either --vector or --vectors; try `shoal search --help`"),
        (["--vector", "[1]", "--vectors", "x.npy"], 2, "give either"),
        (["--vector", "[1"], 1, "--vector is not JSON"),
        (["--vector", "7"], 1, "--vector must be a list of numbers, not int"),
        (["--vector", '["a"]'], 1, "holds a text at position 0: it must be a list of real numbers"),
        (["--vector", "[0, 0]", "-k", "0"], 1, "k is 0"),
        (["--vector", "[0, 0]", "-k", "many"], 2, "'-k'"),
        (["--vectors", "absent.npy", "--explain"], 2, "--explain goes with --vector"),
        (["--vector", "[0, 0]", "--exact", "--ef", "5"], 1, "exact and params contradict each other"),
        (["--vector", "[0, 0]", "--ef", "5", "--nprobe", "5"], 1, "params has 2 keys"),
        (["--vector", "[0, 0]", "--recall", "0"], 1, "recall is 0"),
        (["--vector", "[0, 0]", "--radius", "nan"], 1, "radius is nan"),
        (["--vector", "[0, 0]", "--filter", "t"], 1, "is no filter"),
        (["--vectors", "absent.npy"], 1, "absent.npy: No such file or directory"),
    ],
)
def test_bad_queries_are_one_line(filled, words, code, said):
    ended = filled("search", "c", *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert ended.err.startswith("error: ")
    assert len(ended.err.splitlines()) == 1


def test_a_file_of_too_many_queries_is_refused(filled, tmp_path):
    np.save(tmp_path / "q.npy", np.zeros((10_001, 2), dtype=np.float32))
    ended = filled("search", "c", "--vectors", tmp_path / "q.npy")
    assert ended.code == 1
    assert "10001 rows, at most 10000" in ended.err


def test_a_json_array_without_queries_left_is_still_json(capsys):
    from shoal.cli import output

    output.array([])
    output.array([1])
    assert capsys.readouterr().out == "[]\n[\n1\n]\n"
    assert json.loads("[\n1\n]") == [1]


def test_a_vector_too_deep_to_read_is_one_line(filled):
    ended = filled("search", "c", "--vector", "[" * 100_000)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert "--vector is not JSON" in ended.err
