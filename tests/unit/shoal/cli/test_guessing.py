"""Test the guess of columns: by name and first value; what was guessed is said, and what is said is not guessed."""

import json

import numpy as np
import pytest

from shoal.cli.guessing import Columns, GivenColumns, guessed_columns
from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, jsonl, refusal

V = [0.5, 1.0]


@pytest.mark.parametrize(
    ("first", "found"),
    [
        ({"id": 1, "vector": V, "payload": {}}, Columns()),
        ({"id": 1, "vector": None, "a": V}, Columns()),
        ({"key": 1, "Embedding": V, "n": 2}, Columns(id="key", vector="Embedding")),
        ({"uuid": "a", "pk": 7, "emb": np.zeros(2), "values": V}, Columns(id="uuid", vector="emb")),
        ({"_id": "a", "features": "[0.5, 1]", "n": "[1"}, Columns(id="_id", vector="features")),
        ({"id": 1, "vector": V, "metadata": {"a": 1}}, Columns(payload="metadata")),
        ({"id": 1, "vector": V, "metadata": '{"a": 1}'}, Columns(payload="metadata")),
        ({"id": 1, "vector": V, "metadata": {"a": 1}, "n": 1}, Columns()),
        ({"id": 1, "vector": V, "metadata": "text"}, Columns()),
        ({"key": None, "vector": V}, Columns()),
        ({"id": 1, "tags": ["a", "b"], "flags": [True, False], "one": [1]}, Columns()),
    ],
)
def test_columns_are_found_by_name_and_type(first, found):
    assert guessed_columns(GivenColumns(), first, "f")[0] == found


def test_what_was_guessed_is_said():
    _, said = guessed_columns(GivenColumns(), {"key": 1, "emb": V, "meta": {}}, "f.csv")
    assert said == (
        "f.csv: taking column 'key' as ids (--id names another one) and 'emb' as vectors (--vector names another one)"
        " and 'meta' as payloads (--payload names another one)"
    )
    assert guessed_columns(GivenColumns(), {"id": 1, "vector": V}, "f")[1] == ""


def test_what_the_user_says_is_not_guessed():
    wanted = GivenColumns(id="b", vector="y", payload="")
    assert guessed_columns(wanted, {"id": 1, "b": 2, "vector": V, "y": V, "meta": {}}, "f") == (Columns(id="b", vector="y", payload=""), "")
    assert guessed_columns(GivenColumns(id="emb"), {"emb": V, "other": V}, "f")[0].vector == "other"


def test_several_that_may_be_the_vectors_are_an_error():
    with pytest.raises(InvalidArgument, match="f: columns 'a', 'b' may hold the vectors: --vector names the one"):
        guessed_columns(GivenColumns(), {"id": 1, "a": V, "b": V}, "f")


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


ROWS = [{"key": 7, "embedding": [0, 1], "year": 1999}, {"key": 8, "embedding": [2, 3], "year": 2000}]
POINTS = {7: ([0, 1], {"year": 1999}), 8: ([2, 3], {"year": 2000})}


def written(folder, kind):
    if kind == "jsonl":
        return jsonl(folder, *ROWS)
    file = folder / f"p.{kind}"
    if kind == "parquet":
        arrow = pytest.importorskip("pyarrow.parquet")
        import pyarrow

        arrow.write_table(pyarrow.Table.from_pylist(ROWS), file)
    elif kind == "csv":
        file.write_text('key,embedding,year\n7,"[0, 1]",1999\n8,"[2, 3]",2000\n')
    else:
        file.write_text(json.dumps(ROWS))
    return file


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_every_kind_of_file_is_guessed_and_a_note_says_so(filled, tmp_path, kind):
    file = written(tmp_path, kind)
    ended = filled("import", file, "--collection", "c")
    assert (ended.code, held(filled)) == (0, POINTS)
    note = f"{file}: taking column 'key' as ids (--id names another one) and 'embedding' as vectors (--vector names another one)"
    assert ended.err.splitlines() == [note]
    said = filled("import", file, "--collection", "c", "--id", "key", "--vector", "embedding")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_a_named_column_that_is_missing_is_an_error(filled, tmp_path, kind):
    assert "has no column 'vec' (it has: " in refusal(filled, written(tmp_path, kind), "--vector", "vec", "--id", "key")
