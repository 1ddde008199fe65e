"""Files with several vectors of each point, as batches: text files, .parquet and .npz."""

import json

import numpy as np
import pytest

from shoal.cli import point_files
from shoal.cli.csv_files import csv_batches
from shoal.cli.guessing import GivenColumns
from shoal.cli.json_files import json_batches
from shoal.cli.matrix_files import matrix_of
from shoal.cli.npz_files import npz_batches
from shoal.cli.parquet_files import parquet_batches
from shoal.core.errors import InvalidArgument
from tests.unit.shoal.cli.files import jsonl, npy

GIVEN = GivenColumns(dims={"image": 2, "text": 3})
POINTS = [
    {"id": 1, "image": [0.5, 1], "text": [1, 2, 3], "payload": {"n": 1}},
    {"id": 2, "image": None, "text": [4, 5, 6], "payload": None},
    {"id": 3, "image": [2, 3], "text": None, "payload": None},
    {"id": 4, "image": None, "text": None, "payload": {"n": 4}},
]


def points_of(batches):
    """Return the points of batches in the form of POINTS."""
    found = []
    for batch in batches:
        for at, point_id in enumerate(list(batch.ids)):
            vectors = {name: None if rows[at] is None else np.asarray(rows[at]).tolist() for name, rows in batch.vectors.items()}
            found.append({"id": int(point_id), **vectors, "payload": batch.payloads and batch.payloads[at]})
    return found


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)


@pytest.fixture
def parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")

    def write(columns, kind=None):
        lists = kind or arrow.list_(arrow.float32())
        kinds = {"id": arrow.int64(), "payload": arrow.string()}
        writer.write_table(
            arrow.table({name: arrow.array(values, kinds.get(name, lists)) for name, values in columns.items()}), tmp_path / "p.parquet"
        )
        return tmp_path / "p.parquet"

    return write


def test_null_and_an_absent_key_of_json_say_that_a_point_lacks_a_vector(tmp_path):
    assert points_of(point_files.jsonl_batches(jsonl(tmp_path, *POINTS), GIVEN)) == POINTS
    without = [{key: value for key, value in point.items() if value is not None} for point in POINTS]
    assert points_of(point_files.jsonl_batches(jsonl(tmp_path, *without), GIVEN)) == POINTS
    (tmp_path / "p.json").write_text(json.dumps(POINTS))
    assert points_of(json_batches(tmp_path / "p.json", GIVEN)) == POINTS


def test_an_empty_cell_of_csv_says_that_a_point_lacks_a_vector(tmp_path):
    lines = ['1,"[0.5, 1]","[1, 2, 3]",7', '2,,"[4, 5, 6]",', '3,"[2, 3]",null,', "4,,,"]
    (tmp_path / "p.csv").write_text("id,image,text,year\n" + "\n".join(lines))
    found = points_of(csv_batches(tmp_path / "p.csv", GIVEN))
    assert [(each["image"], each["text"]) for each in found] == [(each["image"], each["text"]) for each in POINTS]
    assert [each["payload"] for each in found] == [{"year": 7}, None, None, None]


@pytest.mark.parametrize("fixed", [False, True])
def test_a_null_of_parquet_says_that_a_point_lacks_a_vector(parquet, fixed):
    arrow = pytest.importorskip("pyarrow")
    payloads = [point["payload"] and json.dumps(point["payload"]) for point in POINTS]
    columns = {"id": [1, 2, 3, 4], **{name: [point[name] for point in POINTS] for name in ("image", "text")}, "payload": payloads}
    if fixed:
        # All of one length: the text has a column of another width.
        columns.pop("text")
        file = parquet(columns, arrow.list_(arrow.float32(), 2))
        assert points_of(parquet_batches(file, GIVEN)) == [
            {key: value for key, value in point.items() if key != "text"} for point in POINTS
        ]
        return
    assert points_of(parquet_batches(parquet(columns), GIVEN)) == POINTS


def test_a_column_of_parquet_that_is_absent_is_told(parquet, capsys):
    file = parquet({"id": [1, 2], "image": [[0, 1], [2, 3]]})
    assert points_of(parquet_batches(file, GIVEN)) == [
        {"id": 1, "image": [0, 1], "payload": None},
        {"id": 2, "image": [2, 3], "payload": None},
    ]
    assert "has no column for the vector 'text'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ([[0, 1], None, [2]], "row 2: its vector has 1 numbers, row 0 has 2"),
        ([[0, 1], None, [2, None]], "row 2: column 'image' must be a list of numbers"),
        ([[], None, [2, 3]], "row 0: column 'image' must be a list of numbers"),
    ],
)
def test_a_row_of_parquet_beside_nulls_that_is_no_vector_is_named(parquet, image, words):
    file = parquet({"id": [0, 1, 2], "image": image, "text": [[1, 2, 3]] * 3})
    with pytest.raises(InvalidArgument, match=words):
        points_of(parquet_batches(file, GIVEN))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"id": 9, "image": [1], "text": None}, "line 5: its vector in column 'image' has 1 numbers, the one before has 2"),
        ({"id": 9, "image": [1, None]}, "line 5: column 'image' must be a list of numbers"),
        ({"id": 9, "image": []}, "line 5: column 'image' must be a list of numbers"),
        ({"image": [1, 2]}, "line 5 has no column 'id'"),
    ],
)
def test_a_line_that_is_no_point_is_named(tmp_path, line, words):
    with pytest.raises(InvalidArgument, match=words):
        points_of(point_files.jsonl_batches(jsonl(tmp_path, *POINTS, line), GIVEN))


def test_the_rows_of_a_matrix_are_vectors_of_one_name(tmp_path):
    file = npy(tmp_path, np.arange(8, dtype=np.float32).reshape(4, 2))
    batches = list(point_files.matrix_batches(file, matrix_of(file), None, None, "image"))
    assert [list(batch.vectors) for batch in batches] == [["image"], ["image"]]
    assert batches[0].vectors["image"].tolist() == [[0, 1], [2, 3], [4, 5]]


IMAGE = np.array([[0.5, 1], [np.nan, np.nan], [2, 3], [np.nan, np.nan]], dtype=np.float32)
TEXT = np.array([[1, 2, 3], [4, 5, 6], [np.nan] * 3, [np.nan] * 3])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_of_nan_of_npz_says_that_a_point_lacks_a_vector(tmp_path, save, order):
    save(tmp_path / "p.npz", id=np.array([1, 2, 3, 4]), image=np.array(IMAGE, order=order), text=np.array(TEXT, order=order))
    payloads = jsonl(tmp_path, *[point["payload"] for point in POINTS], name="payloads.jsonl")
    assert points_of(npz_batches(tmp_path / "p.npz", GIVEN, None, payloads)) == POINTS


def test_npz_has_row_numbers_or_ids_of_a_file_and_other_arrays_are_the_payload(tmp_path):
    np.savez(tmp_path / "p.npz", image=np.ones((4, 2)), text=np.ones((4, 3)), year=np.arange(4), name=np.array(["a", "b", "c", "é"]))
    found = points_of(npz_batches(tmp_path / "p.npz", GIVEN, None, None))
    assert [(each["id"], each["payload"]) for each in found] == [(at, {"year": at, "name": "abcé"[at]}) for at in range(4)]
    ids = npy(tmp_path, np.array([7, 8, 9, 10]), "ids.npy")
    assert [each["id"] for each in points_of(npz_batches(tmp_path / "p.npz", GIVEN, ids, None))] == [7, 8, 9, 10]


def test_npz_of_one_vector_without_a_name(tmp_path):
    np.savez(tmp_path / "p.npz", key=np.array(["a", "b"]), emb=np.array([[0, 1], [2, 3]], np.uint8))
    (batch,) = npz_batches(tmp_path / "p.npz", GivenColumns(), None, None)
    assert (list(batch.ids), batch.vectors.tolist(), batch.payloads) == (["a", "b"], [[0, 1], [2, 3]], None)


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    middle = len(data) // 4
    return data[:middle] + bytes(each ^ 0xFF for each in data[middle : middle + 8]) + data[middle + 8 :]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"id": np.arange(3), "image": np.ones((2, 2))}, "array 'image' has 2 rows, 'id' has 3"),
        ({"image": np.ones((2, 2, 2))}, "array 'image' must hold numbers or texts in the shape"),
        ({"image": np.ones((2, 0))}, "array 'image' must hold"),
        ({"image": np.array([[1j]])}, "array 'image' must hold"),
        ({"year": np.ones(2)}, "no column for any of the vectors image, text"),
        ({}, "holds no arrays"),
    ],
)
def test_an_array_that_does_not_fit_is_named(tmp_path, arrays, words):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(InvalidArgument, match=words):
        list(npz_batches(tmp_path / "p.npz", GIVEN, None, None))


def test_npz_refuses_two_sources_of_ids_or_payloads(tmp_path):
    np.savez(tmp_path / "p.npz", id=np.arange(2), image=np.ones((2, 2)), year=np.arange(2))
    with pytest.raises(InvalidArgument, match="one of them holds the ids"):
        list(npz_batches(tmp_path / "p.npz", GIVEN, npy(tmp_path, np.arange(2), "ids.npy"), None))
    with pytest.raises(InvalidArgument, match="one of them is the payload"):
        list(npz_batches(tmp_path / "p.npz", GIVEN, None, jsonl(tmp_path, None, None)))
    np.savez(tmp_path / "q.npz", image=np.ones((2, 2)))
    with pytest.raises(InvalidArgument, match="must hold a list of 2 ids"):
        list(npz_batches(tmp_path / "q.npz", GIVEN, npy(tmp_path, np.arange(3), "ids.npy"), None))


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"no zip"])
def test_a_damaged_npz_is_an_error(tmp_path, damage):
    np.savez(tmp_path / "p.npz", image=np.random.default_rng(1).normal(size=(400, 2)))
    (tmp_path / "p.npz").write_bytes(damage((tmp_path / "p.npz").read_bytes()))
    with pytest.raises(InvalidArgument, match=r"p\.npz"):
        list(npz_batches(tmp_path / "p.npz", GIVEN, None, None))
    with pytest.raises(InvalidArgument, match="No such file"):
        list(npz_batches(tmp_path / "none.npz", GIVEN, None, None))
