"""Imports into collections with several named vectors, and exports of them."""

import gzip

import numpy as np
import pytest

from shoal.cli import point_files
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import jsonl, npy, refusal

NUMBERS = np.random.default_rng(5)
POINTS = {
    at: (
        {
            name: NUMBERS.normal(size=dim).astype(np.float32)
            for number, (name, dim) in enumerate({"image": 4, "text": 3, "id": 2}.items())
            if at & 1 << number
        },
        {"n": at, "é": [None, at / 3]} if at % 3 else None,
    )
    for at in range(2_100)
}


def plain(point):
    return {name: vector.tolist() for name, vector in point.items()}


def held(shoal, name="c"):
    return {key: plain(vectors) for key, (vectors, _) in shoal.cluster.points[name].items()}


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", vectors={"image": 2, "text": 3})
    return shoal


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson.gz", "p.parquet"])
def test_what_is_exported_is_imported_bit_for_bit(shoal, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with client_with(shoal.cluster) as client:
        for each in ("c", "d"):
            client.create_collection(each, vectors={"image": 4, "text": 3, "id": 2})
        vectors = {each: [point.get(each) for point, _ in POINTS.values()] for each in ("image", "text", "id")}
        client.upsert("c", list(POINTS), vectors, [payload for _, payload in POINTS.values()])
    assert shoal("export", "c", tmp_path / name, "--json").document["points"] == len(POINTS)
    ended = shoal("import", tmp_path / name, "--collection", "d")
    assert (ended.code, ended.err) == (0, "")
    assert held(shoal, "d") == {at: plain(point) for at, (point, _) in POINTS.items()}
    assert {at: payload for at, (_, payload) in shoal.cluster.points["d"].items()} == {
        at: payload for at, (_, payload) in shoal.cluster.points["c"].items()
    }


def test_an_export_without_points_is_a_whole_file(filled, tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("p.jsonl.gz", "p.parquet"):
        assert "exported 0 points" in filled("export", "c", tmp_path / name).out
        assert "holds no points" in filled("import", tmp_path / name, "--collection", "c").err


def test_columns_are_named_or_guessed_and_what_was_guessed_is_told(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "img_emb": [0, 1], "words": [1, 2, 3], "year": 7})
    ended = filled("import", file, "--collection", "c", "--vector-column", "image=img_emb")
    assert (ended.code, held(filled)) == (0, {1: {"image": [0, 1], "text": [1, 2, 3]}})
    assert "'words' as vector 'text' (--vector-column names another one)" in ended.err
    assert filled("import", file, "--collection", "c", "--vector-column", "image=", "--payload", "").code == 0
    assert held(filled) == {1: {"text": [1, 2, 3]}}


def test_a_matrix_holds_one_of_the_vectors(filled, tmp_path):
    file = npy(tmp_path, np.array([[0, 1], [2, 3]], dtype=np.float32))
    assert filled("import", file, "--collection", "c", "--using", "image").code == 0
    assert held(filled) == {0: {"image": [0, 1]}, 1: {"image": [2, 3]}}
    # An upsert is the whole point; --update-vectors keeps the rest of it.
    text = npy(tmp_path, np.ones((3, 3), dtype=np.float32), "text.npy")
    ended = filled("import", text, "--collection", "c", "--using", "text", "--update-vectors")
    assert ended.out.startswith("changed vectors of 2 of 3 points of c in ")
    assert held(filled) == {0: {"image": [0, 1], "text": [1, 1, 1]}, 1: {"image": [2, 3], "text": [1, 1, 1]}}
    assert filled("import", text, "--collection", "c", "--using", "text").code == 0
    assert held(filled)[0] == {"text": [1, 1, 1]}


def test_arrays_of_npz_are_vectors(filled, tmp_path):
    np.savez(tmp_path / "p.npz", id=np.array(["a", "b"]), image=np.array([[0, 1], [np.nan, np.nan]], np.float32), text=np.ones((2, 3)))
    assert filled("import", tmp_path / "p.npz", "--collection", "c").code == 0
    assert held(filled) == {"a": {"image": [0, 1], "text": [1, 1, 1]}, "b": {"text": [1, 1, 1]}}


def test_only_given_vectors_of_points_that_exist_are_replaced(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 2)
    with client_with(filled.cluster) as client:
        client.upsert("c", [1, 2, 3], {"image": np.ones((3, 2)), "text": np.ones((3, 3))}, [{"n": 1}, None, None])
    lines = [{"id": 1, "image": [5, 5]}, {"id": 2, "image": None, "text": [6, 6, 6]}, {"id": 3}, {"id": 4}, {"id": 9, "image": [7, 7]}]
    document = filled("import", jsonl(tmp_path, *lines), "--collection", "c", "--update-vectors", "--json").document
    assert (document["points"], document["updated"]) == (5, 2)
    ones = {"image": [1, 1], "text": [1, 1, 1]}
    assert held(filled) == {1: ones | {"image": [5, 5]}, 2: ones | {"text": [6, 6, 6]}, 3: ones}
    assert filled.cluster.points["c"][1][1] == b'{"n":1}'


def test_a_missing_collection_is_created_with_the_vectors_that_are_named(shoal, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "a": None, "b": [1, 2, 3]}, {"id": 2, "a": [0, 1], "b": None})
    columns = ("--vector-column", "image=a", "--vector-column", "text=b")
    ended = shoal("import", file, "--collection", "new", "--create", "--metric", "cosine", *columns)
    assert (ended.code, held(shoal, "new")) == (0, {1: {"text": [1, 2, 3]}, 2: {"image": [0, 1]}})
    assert [(each.name, each.dim, each.metric) for each in shoal.cluster.specs["new"].vectors] == [
        ("image", 2, "cosine"),
        ("text", 3, "cosine"),
    ]
    assert "collection new exists" in shoal("import", file, "--collection", "new", "--create", *columns).err
    matrix = npy(tmp_path, np.ones((2, 5)))
    assert shoal("import", matrix, "--collection", "m", "--create", "--using", "image").code == 0
    assert [(each.name, each.dim) for each in shoal.cluster.specs["m"].vectors] == [("image", 5)]
    without = jsonl(tmp_path, {"id": 1, "a": None, "b": [1, 2, 3]})
    ended = shoal("import", without, "--collection", "x", "--create", *columns)
    assert "none of the first 1 points has the vector 'image', so its dimension is not known" in ended.err
    assert "x" not in shoal.cluster.specs


@pytest.mark.parametrize(
    ("line", "words", "said"),
    [
        ({"id": 1, "image": [0, 1]}, ("--vector", "image"), "has several vectors, image, text: --vector-column NAME=COLUMN"),
        ({"id": 1, "image": [0, 1]}, ("--vector-column", "pic=image"), "names the vector 'pic', the collection has image, text"),
        ({"id": 1, "image": [0, 1]}, ("--vector-column", "image"), "--vector-column is 'image': write NAME=COLUMN"),
        ({"id": 1, "image": [0, 1]}, ("--using", "image"), "--using belongs to matrices"),
        ({"id": 1, "image": [0, 1]}, ("--vector-column", "text=emb"), "has no column 'emb' for the vector 'text'"),
        ({"id": 1, "n": 1}, (), "has no column for any of the vectors image, text"),
        ({"id": 1, "image": [0, 1, 2]}, (), "line 1: vectors['image'] have dimension 3, vector 'image' has 2"),
        ({"id": 1, "image": [0, 1e39]}, (), "line 1: vectors['image'][0] holds NaN or infinity"),
        ({"id": 1, "image": {"a": 1}}, (), "line 1: column 'image' must be a list of numbers"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_anything_is_written(filled, tmp_path, line, words, said):
    assert said in refusal(filled, jsonl(tmp_path, line), *words)
    assert held(filled) == {}


def test_a_line_beside_gaps_is_named(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "image": None, "text": [1, 2, 3]}, "", {"id": 2, "image": [0, 1e39]})
    assert "p.jsonl line 3: vectors['image'][1] holds NaN or infinity" in refusal(filled, file)
    assert held(filled) == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--using says which the rows of"),
        (("--using", "pic"), "--using names the vector 'pic', collection 'c' has image, text"),
        (("--vector-column", "image=a"), "a .npy has none: --using names"),
        (("--using", "text"), "row 0: vectors['text'] have dimension 2, vector 'text' has 3"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(filled, tmp_path, words, said):
    assert said in refusal(filled, npy(tmp_path, np.ones((3, 2))), *words)
    assert held(filled) == {}


def test_a_collection_with_one_vector_has_no_names(shoal, tmp_path):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    assert "has one vector without a name" in refusal(shoal, npy(tmp_path, np.ones((3, 2))), "--using", "image")
    file = jsonl(tmp_path, {"id": 1, "image": [0, 1]})
    assert "has one vector without a name" in refusal(shoal, file, "--vector-column", "image=image")
    update = shoal("import", npy(tmp_path, np.ones((3, 2))), "--collection", "c", "--update-vectors", "--create")
    assert (update.code, shoal.cluster.points["c"]) == (2, {})


def test_compressed_lines_have_vectors_too(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "image": [0, 1]})
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    assert filled("import", tmp_path / "p.jsonl.gz", "--collection", "c").code == 0
    assert held(filled) == {1: {"image": [0, 1]}}
