import json

import pytest

from shoal.core.requests import Count, DeleteMatching, Get, Scroll
from tests.twins.router_answers import client_with


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
        client.upsert("c", [1, 2, "b"], [[0, 1], [2, 3], [4, 5]], [{"n": 1}, {"n": 2}, None])
    return shoal


def test_get_prints_points_in_the_order_asked_for_and_notes_what_does_not_exist(filled):
    shown = filled("get", "c", "--id", "b", "--id", 1, "--id", '"1"', "--consistency", "primary")
    assert shown.out == '{"id": "b", "payload": null}\n{"id": 1, "payload": {"n": 1}}\n'
    assert "1 of 3 points asked for do not exist" in shown.err
    assert filled.clients[-1].mock.requests(Get)[0].read.consistency == "primary"
    alone = filled("get", "c", "--id", 2, "--with-vectors")
    assert (alone.out, alone.err) == ('{"id": 2, "vector": [2.0, 3.0], "payload": {"n": 2}}\n', "")
    assert filled("get", "c").code == 2


@pytest.mark.parametrize("verb", [["get", "--id", "1"], ["count"], ["scroll"], ["search", "--vector", "[0, 1]"]])
def test_a_consistency_that_does_not_exist_is_refused_by_every_read(filled, verb):
    head, *rest = verb
    ended = filled(head, "c", *rest, "--consistency", "strong")
    assert ended.code == 1
    assert "consistency is 'strong', it must be one of any, session, primary" in ended.err


def test_count(filled):
    assert filled("count", "c").out == "3\n"
    assert filled("count", "c", "--filter", "n=1").out == "1\n"
    assert filled("count", "c", "--filter", '{"n": {"$exists": true}}', "--filter", "n!=1", "--json").document == {
        "collection": "c",
        "count": 1,
    }
    filled("count", "c", "--consistency", "any")
    assert filled.clients[-1].mock.requests(Count)[0].read.consistency == "any"


def test_scroll_prints_lines_that_can_be_imported(filled, tmp_path):
    lines = [json.loads(line) for line in filled("scroll", "c", "--with-vectors").out.splitlines()]
    assert lines == [
        {"id": 1, "vector": [0.0, 1.0], "payload": {"n": 1}},
        {"id": 2, "vector": [2.0, 3.0], "payload": {"n": 2}},
        {"id": "b", "vector": [4.0, 5.0], "payload": None},
    ]
    assert filled("scroll", "c", "--filter", "n=2").out == '{"id": 2, "payload": {"n": 2}}\n'
    file = tmp_path / "points.jsonl"
    file.write_text(filled("scroll", "c", "--with-vectors").out)
    assert filled("import", file, "--collection", "d", "--create").code == 0
    copied, held = filled.cluster.points["d"], filled.cluster.points["c"]
    assert {key: (row.tolist(), payload) for key, (row, payload) in copied.items()} == {
        key: (row.tolist(), payload) for key, (row, payload) in held.items()
    }


def test_scroll_stops_at_the_limit(filled):
    assert len(filled("scroll", "c", "--limit", 2).out.splitlines()) == 2
    assert len(filled.clients[-1].mock.requests(Scroll)) == 1
    assert filled("scroll", "c", "--limit", 0).code == 2


def test_delete_by_filter_tells_how_many_match_and_asks(filled):
    refused = filled("delete", "c", "--filter", "n!=1", typed="n\n")
    assert refused.code == 1
    assert "delete 2 points of collection c?" in refused.err
    assert "error: nothing of c was deleted; answer y, or pass --yes" in refused.err
    assert filled("delete", "c", "--filter", "n!=1", typed="").code == 1
    assert len(filled.cluster.points["c"]) == 3
    assert filled("delete", "c", "--filter", "n!=1", typed="y\n").out.endswith("deleted 2 points of c\n")
    assert list(filled.cluster.points["c"]) == [1]


def test_delete_by_id_knows_integers_from_texts(filled):
    asked = filled("delete", "c", "--id", 1, "--id", "b", "--id", '"2"', typed="y\n")
    assert "delete 2 points of collection c?" in asked.err
    assert asked.out.endswith("deleted 2 points of c\n")
    assert list(filled.cluster.points["c"]) == [2]
    assert filled("delete", "c", "--id", "2", "--yes", "--json").document == {"collection": "c", "deleted": 1}
    assert filled.clients[-1].mock.requests(Count) == []


def test_where_nothing_matches_nothing_is_asked(filled):
    ended = filled("delete", "c", "--filter", "n=77")
    assert (ended.code, ended.out, ended.err) == (0, "deleted 0 points of c\n", "")
    assert filled.clients[-1].mock.requests(DeleteMatching) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["delete", "c"], 2, "give either --id or --filter"),
        (["delete", "c", "--id", "1", "--filter", "n=1"], 2, "give either --id or --filter"),
        (["delete", "c", "--filter", "{}", "--yes"], 1, "would delete every point"),
        (["delete", "c", "--id", "1.5", "--yes"], 0, ""),
        (["count", "c", "--filter", "n>3"], 1, "is no filter: write 'field=value'"),
        (["count", "c", "--filter", "n>=3"], 1, "no comparison with = or !="),
        (["count", "c", "--filter", '{"n": {"$near": 3}}'], 1, "unknown operator '$near'"),
        (["count", "nope"], 1, "does not exist"),
        (["scroll", "c", "--filter", "{"], 1, "is not JSON"),
    ],
)
def test_what_is_not_clear_is_one_line(filled, words, code, said):
    ended = filled(*words)
    assert (ended.code, len(filled.cluster.points["c"])) == (code, 3)
    assert said in ended.err
    assert len(ended.err.splitlines()) == min(code, 1)
