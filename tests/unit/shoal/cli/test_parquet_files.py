"""Test Parquet files: the decisions about columns without pyarrow, and reading with pyarrow."""

import builtins
import datetime
from pathlib import Path

import numpy as np
import pytest

from shoal.cli import parquet_files, point_files
from shoal.cli.parquet_files import batch_of_columns, check_columns
from shoal.cli.point_files import Columns
from shoal.core.errors import InvalidArgument
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, refusal

FILE = Path("p.parquet")


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


@pytest.fixture
def parquet(tmp_path):
    """Return a function that writes a parquet file with these columns."""
    pyarrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")

    def write(name="p.parquet", **columns):
        writer.write_table(pyarrow.table(columns), tmp_path / name)
        return tmp_path / name

    return write


def batch(columns=Columns(), **given):
    return batch_of_columns(given, columns, FILE, 100, 1000)


def test_columns_become_points_with_row_numbers():
    made = batch(id=[1, "a"], vector=[[0, 1], [2.5, 3]])
    assert (made.ids, made.vectors.tolist(), made.payloads) == ([1, "a"], [[0, 1], [2.5, 3]], None)
    assert (made.places, made.total) == (range(100, 102), 1000)


def test_a_payload_column_holds_structs_or_json():
    assert batch(id=[1, 2, 3], vector=[[0]] * 3, payload=[{"a": [1]}, None, '{"b": null}']).payloads == [{"a": [1]}, None, {"b": None}]


def test_other_columns_are_the_payload():
    day, moment = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30)
    made = batch(id=[1], vector=[[0]], title=["x"], day=[day], seen=[[{"at": moment}]], none=[None])
    assert made.payloads == [{"title": "x", "day": "2024-02-29", "seen": [{"at": "2024-02-29T12:30:00.000000Z"}], "none": None}]
    every = batch(Columns(payload=""), id=[1], vector=[[0]], payload=["text"], year=[1999])
    assert every.payloads == [{"payload": "text", "year": 1999}]


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[0, 1], [0, 1, 2]], "row 101: its vector has 3 numbers, row 100 has 2"),
        ([[0, 1], None], "row 101: column 'vector' must be a list of numbers"),
        ([[0, 1], [0, None]], "row 101: column 'vector' must be"),
        ([[0, 1], []], "row 101: column 'vector' must be"),
        ([[0, 1], ["a", "b"]], "row 101: column 'vector' must be"),
        ([[0, 1], [[0], [1]]], "row 101: column 'vector' must be"),
        ([7, [0, 1]], "row 100: column 'vector' must be"),
    ],
)
def test_a_row_that_is_no_vector_is_named(vectors, words):
    with pytest.raises(InvalidArgument, match=f"p.parquet {words}"):
        batch(id=[1, 2], vector=vectors)


@pytest.mark.parametrize(("payload", "words"), [("{", "is not JSON"), ("[1]", "must hold objects or null, not list"), (7, "not int")])
def test_a_row_that_is_no_payload_is_named(payload, words):
    with pytest.raises(InvalidArgument, match=rf"p\.parquet row 101: column 'payload' {words}|row 101: .*{words}"):
        batch(id=[1, 2], vector=[[0], [0]], payload=[None, payload])


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["vector"], r"no column 'id' \(it has: vector\)"),
        (["id", "embedding"], "no column 'vector'"),
        (["id", "id", "vector"], "several columns 'id'"),
        (["id", "vector", "payload", "year"], "column 'year' beside 'payload': --payload ''"),
    ],
)
def test_columns_that_are_not_as_asked_for(names, words):
    with pytest.raises(InvalidArgument, match=words):
        check_columns(names, Columns(), FILE)


def test_without_pyarrow_the_error_says_what_to_install(filled, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "p.parquet").touch()
    assert "needs pyarrow, which is not installed: pip install 'shoal[parquet]'; then try again" in refusal(filled, tmp_path / "p.parquet")


def test_a_file_is_imported_in_batches(filled, parquet, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    file = parquet(id=list(range(10)), vector=[[float(at), 0.5] for at in range(10)], n=[f"n{at}" for at in range(10)])
    assert filled("import", file, "--collection", "c").code == 0
    assert held(filled) == {at: ([at, 0.5], {"n": f"n{at}"}) for at in range(10)}
    assert [each.places for each in parquet_files.parquet_batches(file, Columns())] == [range(0, 3), range(3, 6), range(6, 9), range(9, 10)]


def test_named_columns_string_ids_and_structs(filled, parquet):
    file = parquet(key=["a", "b"], emb=[[1.0, 2.0], [3.0, 4.0]], meta=[{"t": "x"}, None])
    assert filled("import", file, "--collection", "c", "--id", "key", "--vector", "emb", "--payload", "meta").code == 0
    assert held(filled) == {"a": ([1, 2], {"t": "x"}), "b": ([3, 4], None)}


def test_a_bad_row_in_the_middle_is_named(filled, parquet, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    said = refusal(filled, parquet(id=list(range(8)), vector=[[0.0, 1.0]] * 7 + [[0.0]]))
    assert "p.parquet row 7: its vector has 1 numbers, row 6 has 2" in said
    assert "the first 6 rows are imported" in said


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_file_that_is_cut_short_is_refused(filled, parquet, keep):
    file = parquet(id=list(range(100)), vector=[[0.0, 1.0]] * 100)
    file.write_bytes(file.read_bytes()[:keep])
    assert "p.parquet: rows from 0 on cannot be read, the file is damaged" in refusal(filled, file)
    assert held(filled) == {}


def test_a_damaged_page_with_a_checksum_is_noticed(filled, tmp_path):
    pyarrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "p.parquet"
    table = pyarrow.table({"id": range(1000), "vector": [[float(at), 1.0] for at in range(1000)]})
    writer.write_table(table, file, write_page_checksum=True, compression="none")
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x01
    file.write_bytes(content)
    assert "p.parquet: rows from 0 on cannot be read, the file is damaged" in refusal(filled, file)
    assert held(filled) == {}


@pytest.mark.parametrize("kind", ["list", "large_list", "fixed", "half", "whole"])
def test_every_kind_of_list_is_a_vector(filled, parquet, kind):
    import pyarrow

    types = {
        "list": pyarrow.list_(pyarrow.float64()),
        "large_list": pyarrow.large_list(pyarrow.float32()),
        "fixed": pyarrow.list_(pyarrow.float32(), 2),
        "half": pyarrow.list_(pyarrow.float16()),
        "whole": pyarrow.list_(pyarrow.uint8()),
    }
    rows = [[0, 1], [2, 3], [4, 5]] if kind == "whole" else [[np.float16(at), np.float16(at + 1)] for at in (0, 2, 4)]
    file = parquet(id=[1, 2, 3], vector=pyarrow.array(rows, types[kind]))
    assert filled("import", file, "--collection", "c").code == 0
    assert held(filled) == {1: ([0, 1], None), 2: ([2, 3], None), 3: ([4, 5], None)}


@pytest.mark.parametrize("rows", [[[0.0, 1.0], None], [[0.0, 1.0], [None, 1.0]], [[0.0, 1.0], []], [None, None], [[], []]])
def test_a_missing_vector_is_named(filled, parquet, rows):
    import pyarrow

    file = parquet(id=[1, 2], vector=pyarrow.array(rows, pyarrow.list_(pyarrow.float32())))
    row = 1 if rows[0] else 0
    assert f"p.parquet row {row}: column 'vector' must be a list of numbers" in refusal(filled, file)


def test_times_finer_than_python_has_and_values_that_json_has_not(filled, parquet):
    import pyarrow

    nanoseconds = pyarrow.array([1_500_000_123], pyarrow.timestamp("ns", "UTC"))
    assert filled("import", parquet(id=[1], vector=[[0.0, 1.0]], at=nanoseconds), "--collection", "c").code == 0
    assert held(filled)[1] == ([0, 1], {"at": "1970-01-01T00:00:01.500000Z"})
    said = refusal(filled, parquet(id=[1, 2], vector=[[0.0, 1.0]] * 2, blob=[None, b"\xff"]))
    assert "p.parquet row 1: payloads[1].blob is a bytes, which JSON does not have" in said


def typed_columns():
    """Return columns that hold times, and the payload value of each. Nanoseconds are cut to microseconds at every
    depth.
    """
    import pyarrow as pa

    at, lasts = 1_704_164_645_000_000_001, 93_784_000_005_678
    stamp, time_, span = pa.timestamp("ns"), pa.time64("ns"), pa.duration("ns")
    iso, clock_, iso_span = "2024-01-02T03:04:05.000000Z", "00:00:00.123456", "P1DT2H3M4.000005S"
    return {
        "plain": (pa.array([at], stamp), iso),
        "zone": (pa.array([at], pa.timestamp("ns", "+02:00")), iso),
        "struct": (pa.array([{"t": at, "n": 1}], pa.struct([("t", stamp), ("n", pa.int8())])), {"t": iso, "n": 1}),
        "list": (pa.array([[at, None]], pa.list_(stamp)), [iso, None]),
        "large list": (pa.array([[at]], pa.large_list(stamp)), [iso]),
        "fixed list": (pa.array([[at]], pa.list_(stamp, 1)), [iso]),
        "deep": (
            pa.array([[{"a": [{"t": 123_456_789}]}]], pa.list_(pa.struct([("a", pa.list_(pa.struct([("t", time_)])))]))),
            [{"a": [{"t": clock_}]}],
        ),
        "map": (pa.array([[("k", at)]], pa.map_(pa.string(), stamp)), [["k", iso]]),
        "words": (pa.array([at], stamp).dictionary_encode(), iso),
        "time": (pa.array([123_456_789], time_), clock_),
        "span": (pa.array([lasts], span), iso_span),
        "spans": (pa.array([{"d": [-lasts]}], pa.struct([("d", pa.list_(span))])), {"d": ["-" + iso_span]}),
        "seconds": (pa.array([5], pa.duration("s")), "PT0H0M5S"),
        "day": (pa.array([[19_724]], pa.list_(pa.date32())), ["2024-01-02"]),
        "nothing": (pa.array([None], stamp), None),
    }


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        "zone",
        "struct",
        "list",
        "large list",
        "fixed list",
        "deep",
        "map",
        "words",
        "time",
        "span",
        "spans",
        "seconds",
        "day",
        "nothing",
    ],
)
def test_times_and_durations_become_iso_texts_at_every_depth(filled, parquet, name):
    pytest.importorskip("pyarrow")
    column, expected = typed_columns()[name]
    ended = filled("import", parquet(id=[1], vector=[[0.0, 1.0]], x=column), "--collection", "c")
    assert (ended.code, ended.err) == (0, "")
    assert held(filled)[1] == ([0, 1], {"x": expected})


def test_what_python_has_no_date_for_is_refused_by_column(filled, parquet):
    import pyarrow

    for kind in (pyarrow.timestamp("us"), pyarrow.duration("s")):
        said = refusal(filled, parquet(id=[1], vector=[[0.0, 1.0]], x=pyarrow.array([2**60], kind)))
        assert f"p.parquet: rows from 0 on: column 'x' ({kind}) holds values that JSON lacks" in said


def test_two_columns_of_one_name_are_refused_by_name(filled, tmp_path):
    pyarrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = [pyarrow.array([1]), pyarrow.array([[0.0, 1.0]]), pyarrow.array(["p"]), pyarrow.array(["q"])]
    for names, twice in ((["id", "vector", "x", "x"], "x"), (["id", "vector", "id", "x"], "id")):
        writer.write_table(pyarrow.Table.from_arrays(columns, names=names), tmp_path / "p.parquet")
        assert f"p.parquet has several columns {twice!r}: one of them would be lost" in refusal(filled, tmp_path / "p.parquet")
    assert held(filled) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "row 0: column 'payload' is not JSON: the key 'a' is given twice"),
        ('{"a": 1e400}', "row 0: payloads[0].a is inf"),
        ('{"a": "\\ud800"}', "row 0: payloads[0].a is not valid Unicode"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "row 0: payloads[0].a.a.a.a.a.a.a.a... is deeper than the 100 levels"),
    ],
)
def test_a_column_of_json_texts_is_held_to_what_a_payload_may_be(filled, parquet, text, said):
    assert said in refusal(filled, parquet(id=[1], vector=[[0.0, 1.0]], payload=[text]))


def test_a_missing_file_and_a_folder(filled, parquet, tmp_path):
    assert "absent.parquet: No such file or directory" in refusal(filled, tmp_path / "absent.parquet")
    (tmp_path / "d.parquet").mkdir()
    assert "d.parquet: Is a directory" in refusal(filled, tmp_path / "d.parquet")
