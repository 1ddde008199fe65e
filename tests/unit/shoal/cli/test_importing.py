import gzip
import tracemalloc

import numpy as np
import pytest

from shoal.cli import point_files
from shoal.cli.matrix_files import matrix_of
from shoal.core.errors import Unavailable
from shoal.core.requests import Upsert
from tests.twins.router_answers import client_with
from tests.unit.shoal.cli.files import held, jsonl, npy, refusal


@pytest.fixture
def filled(shoal):
    with client_with(shoal.cluster) as client:
        client.create_collection("c", dim=2)
    return shoal


def test_a_matrix_gets_its_row_numbers_as_ids(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 3)
    file = npy(tmp_path, np.arange(14, dtype=np.uint8).reshape(7, 2))
    ended = filled("import", file, "--collection", "c")
    assert ended.code == 0
    assert ended.out.startswith("imported 7 points into c in ")
    assert held(filled) == {at: ([2.0 * at, 2.0 * at + 1], None) for at in range(7)}
    # Two batches are under way at a time, so their order is not told.
    assert sorted(len(request.points) for request in filled.clients[-1].mock.requests(Upsert)) == [1, 3, 3]


def test_running_again_changes_nothing(filled, tmp_path):
    file = npy(tmp_path, np.ones((5, 2)))
    filled("import", file, "--collection", "c")
    before = held(filled)
    document = filled("import", file, "--collection", "c", "--json").document
    assert (document["collection"], document["points"]) == ("c", 5)
    assert {"seconds", "rows_per_s"} <= set(document)
    assert held(filled) == before


def test_a_matrix_with_ids_and_payloads_of_its_own(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 2)
    file, ids = npy(tmp_path, np.ones((3, 2))), npy(tmp_path, np.array(["a", "b", "c"]), "ids.npy")
    payloads = jsonl(tmp_path, {"n": 1}, None, {"n": 3})
    assert filled("import", file, "--collection", "c", "--ids", ids, "--payloads", payloads).code == 0
    assert held(filled) == {"a": ([1, 1], {"n": 1}), "b": ([1, 1], None), "c": ([1, 1], {"n": 3})}


def test_json_lines_with_default_and_named_columns(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "vector": [0, 1], "payload": {"t": "x"}}, "", {"id": "a", "vector": [2, 3], "payload": None})
    assert filled("import", file, "--collection", "c").code == 0
    assert held(filled) == {1: ([0, 1], {"t": "x"}), "a": ([2, 3], None)}
    named = jsonl(tmp_path, {"key": 9, "embedding": [4, 5], "meta": {"t": "y"}})
    assert filled("import", named, "--collection", "c", "--id", "key", "--vector", "embedding", "--payload", "meta").code == 0
    assert held(filled)[9] == ([4, 5], {"t": "y"})


def test_lines_of_json_may_be_compressed_and_have_another_ending(filled, tmp_path):
    file = jsonl(tmp_path, *[{"id": at, "vector": [at, 1], "t": "é"} for at in range(50)])
    names = {"p.ndjson": file.read_bytes(), "p.jsonl.gz": gzip.compress(file.read_bytes()), "P.NDJSON.GZ": gzip.compress(file.read_bytes())}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
        with client_with(filled.cluster) as client:
            client.clear("c")
        assert filled("import", tmp_path / name, "--collection", "c").code == 0
        assert held(filled) == {at: ([at, 1], {"t": "é"}) for at in range(50)}


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"no gzip", lambda data: data[:-8] + bytes(8)])
def test_a_damaged_compressed_file_is_named(filled, tmp_path, damage):
    (tmp_path / "p.jsonl.gz").write_bytes(damage(gzip.compress(jsonl(tmp_path, {"id": 1, "vector": [0, 1]}).read_bytes() * 9)))
    assert "is not a whole gzip file" in refusal(filled, tmp_path / "p.jsonl.gz")


def test_other_compressed_files_are_refused(filled, tmp_path):
    (tmp_path / "p.npy.gz").write_bytes(gzip.compress(b"x"))
    assert "imports .jsonl.gz, .ndjson.gz, .json.gz, .csv.gz; uncompress it first" in refusal(filled, tmp_path / "p.npy.gz")


def test_lines_of_payloads_are_counted_before_anything_is_written(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 2)
    file = npy(tmp_path, np.zeros((6, 2)))
    for lines in (5, 7):
        assert f"lines than {file} has rows (6): {lines}" in refusal(filled, file, "--payloads", jsonl(tmp_path, *[None] * lines))
        assert held(filled) == {}
    (tmp_path / "six.jsonl.gz").write_bytes(gzip.compress(b'{"a":1}\n' * 6))
    assert filled("import", file, "--collection", "c", "--payloads", tmp_path / "six.jsonl.gz").code == 0
    assert held(filled)[5] == ([0, 0], {"a": 1})


def test_without_a_payload_column_the_other_columns_are_the_payload(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 1, "vector": [0, 1], "title": "x", "year": 1999}, {"id": 2, "vector": [0, 1]})
    assert filled("import", file, "--collection", "c").code == 0
    assert held(filled) == {1: ([0, 1], {"title": "x", "year": 1999}), 2: ([0, 1], None)}
    both = jsonl(tmp_path, {"id": 3, "vector": [0, 1], "payload": "text", "year": 1999})
    assert filled("import", both, "--collection", "c", "--payload", "").code == 0
    assert held(filled)[3] == ([0, 1], {"payload": "text", "year": 1999})


def test_a_missing_collection_can_be_created(shoal, tmp_path):
    file = npy(tmp_path, np.ones((3, 4)))
    assert "does not exist" in shoal("import", file, "--collection", "new").err
    assert shoal("import", file, "--collection", "new", "--create", "--metric", "ip", "--shards", 2).code == 0
    spec = shoal.cluster.specs["new"]
    assert (spec.dim, spec.metric, spec.shards) == (4, "ip", 2)
    again = shoal("import", file, "--collection", "new", "--create")
    assert again.code == 0
    assert "collection new exists" in again.err


def test_a_collection_that_is_created_may_have_text_fields(shoal, tmp_path):
    file = npy(tmp_path, np.ones((3, 4)))
    ended = shoal("import", file, "--collection", "new", "--text", "body")
    assert (ended.code, shoal.cluster.specs) == (2, {})
    assert "--text goes with --create" in ended.err
    assert shoal("import", file, "--collection", "new", "--create", "--text", "body=cjk", "--text", "title").code == 0
    assert [(each.name, each.analyzer.kind) for each in shoal.cluster.specs["new"].text] == [("body", "cjk"), ("title", "auto")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 must be a JSON object, not list"),
        ({"vector": [0, 1]}, "line 2 has no column 'id' (it has: vector)"),
        ({"id": 1, "vec": [0, 1]}, "line 2 has no column 'vector'"),
        ({"id": 1, "vector": "0,1"}, "line 2: column 'vector' must be a list of numbers"),
        ({"id": 1, "vector": [0, None]}, "line 2: column 'vector' must be a list of numbers"),
        ({"id": 1, "vector": [[0, 1]]}, "line 2: column 'vector' must be a list of numbers"),
        ({"id": 1, "vector": [True, False]}, "line 2: column 'vector' must be a list of numbers"),
        ({"id": 1, "vector": [0, 1, 2]}, "line 2: its vector has 3 numbers, the one before has 2"),
        ({"id": 1, "vector": [0, 1], "payload": 5}, "line 2: column 'payload' must be an object or null"),
        ({"id": 1, "vector": [0, 1], "payload": {}, "year": 1}, "line 2 has column 'year' beside 'payload'"),
        ({"id": 1.5, "vector": [0, 1]}, "line 2: ids[1] must be an int or a string"),
        ('{"id": 1, "vector": [0, NaN]}', "line 2: vectors[1] holds NaN"),
        ({"id": 1, "vector": [0, 1e39]}, "line 2: vectors[1] holds NaN or infinity"),
        ({"id": 1, "vector": [0, 1], "payload": {"a": "\ud800"}}, "line 2: payloads[1].a is not valid Unicode"),
        ('{"id": 1, "vector": [0, 1], "payload": {"a": {"b": 1e400}}}', "line 2: payloads[1].a.b is inf"),
        ('{"id": 1, "vector": [0, 1], "payload": {"a": {"b": NaN}}}', "line 2: payloads[1].a.b is nan"),
        ('{"id": 1, "vector": [0, 1], "payload": {"a": 1, "b": 2, "a": 3}}', "line 2: the key 'a' is given twice in one object"),
        ('{"id": 1, "vector": [0, 1], "id": 2}', "line 2: the key 'id' is given twice in one object"),
        (
            '{"id": 1, "vector": [0, 1], "a": ' + "[" * 100 + "]" * 100 + "}",
            "line 2: payloads[1].a[0][0][0][0][0][0][0]... is deeper than the 100",
        ),
        (
            '{"id": 1, "vector": [0, 1], "a": ' + '{"a":' * 9_000 + "1" + "}" * 9_000 + "}",
            "line 2: payloads[1].a.a.a.a.a.a.a.a... is deeper than the 100",
        ),
        ('{"id": 1, "vector": [0, 1], "a": ' + "9" * 5_000 + "}", "line 2: payloads[1].a is an integer of 16610 bits, at most 8192"),
        ('{"id": ' + "9" * 5_000 + ', "vector": [0, 1]}', "line 2: ids[1]: an integer of 16610 bits does not fit"),
        ({"id": 1, "vector": [True, 0.5]}, "line 2: column 'vector' must be a list of numbers: it holds the boolean True at position 0"),
        ({"id": 1, "vector": [0.5, None]}, "line 2: column 'vector' must be a list of numbers: it holds None at position 1"),
        ({"id": 1, "vector": [2**70, 1]}, "line 2: column 'vector' must be a list of numbers: it holds an integer of more than 64 bits"),
    ],
)
def test_a_bad_line_is_named_and_nothing_of_its_batch_is_written(filled, tmp_path, line, words):
    file = jsonl(tmp_path, {"id": 0, "vector": [0, 0]}, line)
    assert f"{file} {words}" in refusal(filled, file)
    assert held(filled) == {}


def test_a_bad_row_is_named_in_the_numbering_of_the_file(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 4)
    vectors = np.zeros((10, 2))
    vectors[9, 1] = np.nan
    said = refusal(filled, npy(tmp_path, vectors))
    assert "v.npy row 9: vectors[1] holds NaN" in said
    assert "the first 8 rows are imported; run it again to go on" in said
    assert len(held(filled)) == 8


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent.npy", "absent.npy: No such file or directory"),
        (lambda folder: folder / "absent.jsonl", "absent.jsonl: No such file or directory"),
        (lambda folder: jsonl(folder, "text", name="x.npy"), "is not a whole .npy file"),
        (lambda folder: npy(folder, np.zeros(3)), "must hold a matrix"),
        (lambda folder: npy(folder, np.zeros((3, 0))), "must hold a matrix"),
        (lambda folder: npy(folder, np.array([["a"]])), "must hold a matrix"),
        (lambda folder: npy(folder, np.array([[{}]], dtype=object)), "is not a whole .npy file"),
        (jsonl, "the file holds no points"),
        (lambda folder: jsonl(folder, name="x.xlsx"), "imports npy, fvecs, bvecs, npz, parquet, jsonl, ndjson, json, csv, not .xlsx"),
        (lambda folder: jsonl(folder, name="x"), "files without an ending"),
        (lambda folder: folder, "files without an ending"),
    ],
)
def test_bad_files_are_one_line(filled, tmp_path, make, words):
    assert words in refusal(filled, make(tmp_path))


def test_a_truncated_matrix_is_refused(filled, tmp_path):
    file = npy(tmp_path, np.zeros((100, 2)))
    file.write_bytes(file.read_bytes()[:-1])
    assert "is not a whole .npy file" in refusal(filled, file)
    assert held(filled) == {}


def test_text_that_is_not_utf8_is_refused(filled, tmp_path):
    file = jsonl(tmp_path, {"id": 0, "vector": [0, 0]})
    file.write_bytes(file.read_bytes() + b'{"id": "\xff"}\n')
    assert "is not UTF-8" in refusal(filled, file)


def test_files_beside_a_matrix_must_have_as_many_rows(filled, tmp_path):
    file = npy(tmp_path, np.zeros((3, 2)))
    for shape in ((), (3, 1)):
        assert f"ids.npy must hold a list of ids (n,), not an array of shape {shape}" in refusal(
            filled, file, "--ids", npy(tmp_path, np.ones(shape, dtype=int), "ids.npy")
        )
    assert "ids.npy has 2 rows" in refusal(filled, file, "--ids", npy(tmp_path, np.arange(2), "ids.npy"))
    assert "has fewer lines than" in refusal(filled, file, "--payloads", jsonl(tmp_path, None, None))
    assert "has more lines than" in refusal(filled, file, "--payloads", jsonl(tmp_path, *[None] * 4))
    assert "--ids and --payloads belong to matrices" in refusal(filled, jsonl(tmp_path, None), "--ids", file)


@pytest.mark.parametrize("door", ["file", "stdin", "payloads", "put together"])
def test_a_byte_order_mark_is_no_part_of_a_line(filled, tmp_path, door):
    mark = b"\xef\xbb\xbf"
    points = [b'{"id": %d, "vector": [%d, 1], "t": "\xef\xbb\xbfx"}\n' % (at, at) for at in range(2)]
    expected = {at: ([at, 1], {"t": "\ufeffx"}) for at in range(2)}
    if door == "payloads":
        (tmp_path / "p.jsonl").write_bytes(mark + b'{"t": "\xef\xbb\xbfx"}\n' * 2)
        ended = filled("import", npy(tmp_path, np.array([[0, 1], [1, 1]])), "--payloads", tmp_path / "p.jsonl", "--collection", "c")
    elif door == "stdin":
        ended = filled("import", "-", "--format", "jsonl", "--collection", "c", typed=mark + b"".join(points))
    else:
        (tmp_path / "p.jsonl").write_bytes(mark + (mark if door == "put together" else b"").join(points))
        ended = filled("import", tmp_path / "p.jsonl", "--collection", "c")
    assert (ended.code, ended.err) == (0, "")
    assert held(filled) == expected


def test_an_unavailable_cluster_in_the_middle_says_how_far_it_came(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 4)
    real = filled.cluster

    def failing(address, request, timeout_s):
        if isinstance(request, Upsert) and 9 in request.points.ids.tolist():
            raise Unavailable("shard c/0 has no primary")
        return real(address, request, timeout_s)

    monkeypatch.setattr(filled, "answer", failing)
    ended = filled("import", npy(tmp_path, np.zeros((12, 2))), "--collection", "c")
    assert ended.code == 1
    assert "the first 8 rows are imported; run it again to go on" in ended.err
    assert len(held(filled)) == 8


def test_memory_stays_bounded_while_a_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_BYTES", 64 * 1024)
    file = npy(tmp_path, np.zeros((40_000, 32), dtype=np.float32))
    tracemalloc.start()
    rows = sum(len(batch.places) for batch in point_files.matrix_batches(file, matrix_of(file), None, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 40_000
    assert peak < file.stat().st_size / 4


def test_a_total_is_estimated_for_json_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(point_files, "BATCH_POINTS", 10)
    file = jsonl(tmp_path, *({"id": at, "vector": [0, 1]} for at in range(100, 130)))
    batches = list(point_files.jsonl_batches(file, point_files.Columns()))
    assert [batch.total for batch in batches] == [30, 30, 30]
    assert batches[1].places[0] == 11
