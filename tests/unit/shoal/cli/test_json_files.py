"""Test .json files: an array of objects, cut anywhere, equals what json reads."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.cli import point_files
from shoal.cli.json_files import elements_of
from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, refusal


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\{}[],:\n é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('b"\\{}[]', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text('c"\\', max_size=3), values, max_size=3), max_size=5), st.sampled_from((None, 1)), st.integers(1, 9)
)
def test_elements_are_those_of_json_wherever_the_text_is_cut(objects, indent, step):
    text = json.dumps(objects, indent=indent)
    chunks = [text[at : at + step] for at in range(0, len(text), step)]
    found = list(elements_of(chunks, "f"))
    assert [json.loads(element) for _, element in found] == objects
    starts = [line for line, _ in found]
    if indent is None:
        assert set(starts) <= {1}
    else:
        lines = text.split("\n")
        assert all(lines[line - 1].lstrip().startswith("{") for line in starts)
        assert len(set(starts)) == len(starts)


POINTS = [{"id": 1, "vector": [0, 1], "payload": {"a": ["}", {"b": 1}]}}, {"id": "x", "vector": [2.5, 3], "payload": None}]


@pytest.mark.parametrize("name", ["p.json", "p.json.gz", "P.JSON"])
def test_an_array_of_objects_is_imported(filled, tmp_path, monkeypatch, name):
    monkeypatch.setattr(point_files, "CHUNK_CHARS", 3)
    text = ("\ufeff" + json.dumps(POINTS, indent=2)).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert filled("import", tmp_path / name, "--collection", "c").code == 0
    assert held(filled) == {1: ([0, 1], POINTS[0]["payload"]), "x": ([2.5, 3], None)}
    assert filled("import", "-", "--format", "json", "--collection", "c", typed=json.dumps(POINTS)).code == 0


ONE = '{"id": 1, "vector": [0, 1]}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file holds no points"),
        ("[]", "the file holds no points"),
        (ONE, "is no array of objects: --format jsonl reads one object a line"),
        ("7", "is no array of objects"),
        (f"[{ONE}", "line 1: the array does not end, the file is cut short"),
        (f"[{ONE},\n{ONE[:-3]}", "line 2: the array does not end, the file is cut short"),
        (f"[{ONE},]", "line 1: there must be objects with one comma between each two, in one array"),
        (f"[{ONE}\n{ONE}]", "line 2: there must be objects with one comma"),
        (f"[{ONE},,{ONE}]", "line 1: there must be objects with one comma"),
        (f"[\n{ONE}, 7]", "line 2: there must be objects with one comma"),
        (f'[{ONE}, "a"]', "line 1: there must be objects with one comma"),
        (f"[{ONE}] x", "line 1: there must be objects with one comma"),
        (f"[{ONE}][{ONE}]", "is no array of objects"),
        ("]", "line 1: there must be objects with one comma"),
        (f"[{ONE},\n[1]]", "line 2 must be a JSON object, not list"),
        (f'[{ONE},\n\n{{"id": 2, "id": 3}}]', "line 3: "),
        (f'[{ONE},\n{{"id": 2}}]', "line 2 has no column 'vector' (it has: id)"),
        (f'[{ONE},\n{{"id": 2, "vector": [1]}}]', "line 2: its vector has 1 numbers"),
    ],
)
def test_anything_else_is_refused_with_its_line(filled, tmp_path, text, said):
    (tmp_path / "p.json").write_text(text)
    assert said in refusal(filled, tmp_path / "p.json")
    assert held(filled) == {}


def test_an_object_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr("shoal.cli.json_files._MOST_CHARS", 100)
    with pytest.raises(InvalidArgument, match="f line 1: an object of more than 100 characters"):
        list(elements_of(('[{"a": "' if at == 0 else "x" * 30 for at in range(1_000_000)), "f"))
