import numpy as np
import pytest

from shoal.cli import matrix_files, point_files
from shoal.cli.matrix_files import matrix_of
from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, jsonl, refusal


def vecs(folder, rows, kind="fvecs"):
    """Write a TexMex file. rows: lists of numbers, or bytes that are written as they are."""
    file = folder / f"v.{kind}"
    component = {"fvecs": "<f4", "bvecs": "u1"}[kind]
    whole = (row if isinstance(row, bytes) else len(row).to_bytes(4, "little") + np.array(row, component).tobytes() for row in rows)
    file.write_bytes(b"".join(whole))
    return file


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


def test_float_rows_get_their_numbers_as_ids(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    ended = filled("import", vecs(tmp_path, [[at, 0.5] for at in range(7)]), "--collection", "c")
    assert ended.code == 0
    assert ended.out.startswith("imported 7 points into c in ")
    assert held(filled) == {at: ([at, 0.5], None) for at in range(7)}


def test_byte_rows_are_numbers_from_0_to_255(filled, tmp_path):
    assert filled("import", vecs(tmp_path, [[0, 255], [128, 1]], "bvecs"), "--collection", "c").code == 0
    assert held(filled) == {0: ([0, 255], None), 1: ([128, 1], None)}


def test_ids_and_payloads_of_their_own(filled, tmp_path):
    np.save(tmp_path / "ids.npy", np.array(["a", "b"]))
    payloads = jsonl(tmp_path, {"n": 1}, None)
    words = ("--collection", "c", "--ids", tmp_path / "ids.npy", "--payloads", payloads)
    assert filled("import", vecs(tmp_path, [[1, 2], [3, 4]]), *words).code == 0
    assert held(filled) == {"a": ([1, 2], {"n": 1}), "b": ([3, 4], None)}


def test_the_format_can_be_said(filled, tmp_path):
    file = vecs(tmp_path, [[1, 2]]).rename(tmp_path / "base.bin")
    assert ".bin" in refusal(filled, file)
    assert filled("import", file, "--format", "fvecs", "--collection", "c").code == 0
    unknown = filled("import", file, "--format", "xlsx", "--collection", "c")
    assert (unknown.code, len(unknown.err.splitlines())) == (2, 1)
    assert "must be one of npy, fvecs, bvecs, npz, parquet, jsonl" in unknown.err


@pytest.mark.parametrize(
    ("rows", "kind", "words"),
    [
        ([], "fvecs", "v.fvecs is empty, it holds no points"),
        ([b"\x02\x00"], "fvecs", "v.fvecs row 0 says no whole dimension"),
        ([b"\x00\x00\x00\x00"], "fvecs", "row 0 says dimension 0, from 1 to 65536 are allowed: this is no .fvecs"),
        ([b"\xff\xff\xff\xff" * 9], "bvecs", "row 0 says dimension -1"),
        ([b"PK\x03\x04" * 9], "fvecs", "row 0 says dimension 67324752"),
        ([[1, 2], [3, 4], b"\x02\x00\x00\x00\x00"], "fvecs", "v.fvecs row 2 is cut short: it has 5 of 12 bytes"),
        ([[1, 2], b"\x02\x00\x00\x00\x00"], "bvecs", "v.bvecs row 1 is cut short: it has 5 of 6 bytes"),
        ([b"\x02\x00\x00\x00\x00\x00"], "fvecs", "v.fvecs row 0 is cut short: it has 6 of 12 bytes"),
        ([[1, 2], [3, 4, 5], [6, 7]], "fvecs", "v.fvecs row 1 has dimension 3, row 0 has 2"),
        ([[1, 2], [3, 4, 5, 6, 7], [1, 2]], "fvecs", "v.fvecs row 1 has dimension 5, row 0 has 2"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(filled, tmp_path, rows, kind, words):
    file = vecs(tmp_path, rows, kind)
    assert words in refusal(filled, file)
    assert held(filled) == {}


def test_a_wrong_dimension_that_fits_in_size_is_found_at_its_row(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 4)
    rows = [[at, at] for at in range(10)]
    rows[9] = b"\x01\x00\x00\x00" + b"\x00" * 8
    said = refusal(filled, vecs(tmp_path, rows))
    assert "v.fvecs row 9 has dimension 1, row 0 has 2" in said
    assert "the first 8 rows are imported; run it again to go on" in said
    assert sorted(held(filled)) == list(range(8))


def test_a_bad_number_is_named_by_its_row(filled, tmp_path):
    assert "v.fvecs row 1: vectors[1] holds NaN" in refusal(filled, vecs(tmp_path, [[1, 2], [np.nan, 0]]))


def test_the_scan_for_a_bad_row_goes_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix_files, "_SCAN_BYTES", 24)
    with pytest.raises(InvalidArgument, match="row 7 has dimension 3, row 0 has 2"):
        matrix_of(vecs(tmp_path, [*([[1, 2]] * 7), [1, 2, 3]]))


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path):
    file = vecs(tmp_path, [[1, 2]] * 5)
    matrix = matrix_of(file)
    file.write_bytes(file.read_bytes()[:30])
    with pytest.raises(InvalidArgument, match="row 2 is cut short"):
        matrix.read(0, 5)


def test_queries_come_from_such_files_too(filled, tmp_path):
    filled("import", vecs(tmp_path, [[0, 0], [3, 4]]), "--collection", "c")
    assert filled("search", "c", "--vectors", tmp_path / "v.fvecs", "-k", 1, "--id-only").out == "0\n1\n"
