import json

import numpy as np
import pytest

from shoal.cli import search
from shoal.client.calls import Search
from tests.mock_transport import client_with


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
    assert filled.clients[-1].mock.requests(Search)[0].exact


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
        (["--vector", '["a"]'], 1, "must be real numbers"),
        (["--vector", "[0, 0]", "-k", "0"], 1, "k is 0"),
        (["--vector", "[0, 0]", "-k", "many"], 2, "'-k'"),
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
