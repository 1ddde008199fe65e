import json

import pytest

from shoal.core.requests import Count, Update
from tests.twins.router_answers import client_with


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
        client.upsert("c", [1, 2, "b"], [[0, 1], [2, 3], [4, 5]], [{"n": 1, "in": {"x": 1, "y": 2}}, {"n": 2}, None])
    return shoal


def payloads(shoal):
    return {key: None if text is None else json.loads(text) for key, (_, text) in shoal.cluster.points["c"].items()}


def test_set_payload_tells_how_many_points_there_are_and_asks(filled):
    before = payloads(filled)
    refused = filled("set-payload", "c", '{"color": "red"}', "--filter", "n!=9", typed="n\n")
    assert refused.code == 1
    assert "change 3 points of collection c?" in refused.err
    assert "error: nothing of c was changed; answer y, or pass --yes" in refused.err
    assert filled("set-payload", "c", '{"color": "red"}', "--filter", "n!=9", typed="").code == 1
    assert payloads(filled) == before
    assert filled("set-payload", "c", '{"color": "red"}', "--filter", "n!=9", typed="y\n").out.endswith("changed 3 points of c\n")
    assert [payload["color"] for payload in payloads(filled).values()] == ["red"] * 3


def test_ids_know_integers_from_texts_and_may_have_a_filter_beside_them(filled):
    asked = filled("replace-payload", "c", '{"m": [1]}', "--id", 1, "--id", "b", "--id", '"2"', typed="y\n")
    assert "change 2 points of collection c?" in asked.err
    assert payloads(filled) == {1: {"m": [1]}, 2: {"n": 2}, "b": {"m": [1]}}
    asked = filled("set-payload", "c", '{"late": null}', "--id", 1, "--id", 2, "--filter", "n=2", typed="y\n")
    assert "change 1 point of collection c?" in asked.err
    assert payloads(filled)[2] == {"n": 2, "late": None}
    ended = filled("set-payload", "c", '{"m": 2}', "--id", "2", "--id", "7", "--yes", "--json")
    assert ended.document == {"collection": "c", "updated": 1}
    assert filled.clients[-1].mock.requests(Count) == []


def test_delete_payload_removes_fields(filled):
    assert filled("delete-payload", "c", "--key", "in.x", "--key", "none", "--id", "1", "--yes").out == "changed 1 point of c\n"
    assert payloads(filled)[1] == {"n": 1, "in": {"y": 2}}
    assert filled("delete-payload", "c", "--id", "1", "--yes").code == 2


@pytest.mark.parametrize("words", [["set-payload", "c", '{"a": 1}'], ["replace-payload", "c", "{}"], ["delete-payload", "c", "--key", "n"]])
def test_where_nothing_matches_nothing_is_asked(filled, words):
    ended = filled(*words, "--filter", "n=77")
    assert (ended.code, ended.out, ended.err) == (0, "changed 0 points of c\n", "")
    assert filled.clients[-1].mock.requests(Update) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["set-payload", "c", '{"a": 1}'], 2, "give --id, --filter or both"),
        (["set-payload", "c", '{"a": 1}', "--filter", "{}", "--yes"], 1, "would change every point"),
        (["set-payload", "c", '{"a": 1', "--id", "1"], 1, "is not JSON"),
        (["set-payload", "c", "[1]", "--id", "1"], 1, "is not a JSON object"),
        (["set-payload", "c", '{"a": 1, "a": 2}', "--id", "1"], 1, "would lose a value"),
        (["replace-payload", "c", '{"a": NaN}', "--id", "1"], 1, "nan"),
        (["replace-payload", "c", '{"a": 1e999}', "--id", "1"], 1, "inf"),
        (["delete-payload", "c", "--key", "a..b", "--id", "1"], 1, "keys[0] is 'a..b'"),
        (["delete-payload", "c", "--key", "a", "--filter", "n>3"], 1, "is no filter: write 'field=value'"),
        (["set-payload", "nope", '{"a": 1}', "--id", "1", "--yes"], 1, "does not exist"),
    ],
)
def test_what_is_not_clear_is_one_line_and_changes_nothing(filled, words, code, said):
    before = payloads(filled)
    ended = filled(*words)
    assert (ended.code, payloads(filled)) == (code, before)
    assert said.lower() in ended.err.lower()
    assert len(ended.err.splitlines()) == 1
