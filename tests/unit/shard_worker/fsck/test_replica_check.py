"""Test the check of one replica: it finds nothing in a good one, and it tells each kind of damage and its place."""

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from shoal.core.filter import Exists
from shoal.core.ids import Seq
from shoal.core.index_spec import index_from_input
from shoal.core.metric import Metric
from shoal.core.point_change import PointUpdate, SetPayload, UpdateVectors
from shoal.core.points import id_array
from shoal.shard_worker.fsck.finding import Severity, Verdict
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.storage.checksum import values_crc
from shoal.shard_worker.storage.folders.segment_files import SegmentFiles
from shoal.shard_worker.storage.sealed_json import read_sealed, write_sealed
from shoal.shard_worker.storage.store.small_tables import SegmentEntry
from shoal.wire.records import update_body
from tests.support.worker.engine_driver import Driven
from tests.support.worker.replica_bench import SPEC
from tests.support.worker.replica_on_disk import change, checked, flip, forge, found_in, make_worker
from tests.support.worker.storage_parts import files_under

MORE = 300
"""Number of points for which an index is trained."""


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    make_worker(folder)
    return folder


@pytest.fixture
def path(template, tmp_path):
    """Return the folder of a good replica, which the test may damage."""
    shutil.copytree(template, tmp_path / "worker")
    return tmp_path / "worker" / "collection" / "0" / "replica"


def segment_file(path, ending):
    return next((path / "segments").glob(f"*{ending}"))


def first_log(path):
    return sorted((path / "log").glob("*.log"))[0]


def test_a_good_replica_is_clean_and_its_figures_are_right(path):
    report = checked(path)
    figures = report.figures
    assert (report.verdict, report.findings) == (Verdict.CLEAN, ())
    assert (figures.points, figures.sealed_rows, figures.growing_rows) == (18, 12, 6)
    assert figures.segments >= 1
    assert figures.applied_seq == figures.log_last == 7
    assert figures.log_records == figures.log_last - figures.log_first + 1
    assert figures.known_term == 1
    assert len(figures.digest) == 32
    assert report.replica == "collection/0/replica"


@pytest.mark.parametrize("clean", [True, False])
def test_nothing_is_changed_by_a_check(tmp_path, clean):
    path = make_worker(tmp_path / "worker", clean=clean)
    before = files_under(tmp_path)
    assert (path / "store.db-wal").exists() is not clean
    assert checked(path).verdict is Verdict.CLEAN
    assert files_under(tmp_path) == before


def test_the_state_behind_a_write_ahead_log_is_what_is_checked(tmp_path):
    clean, killed = checked(make_worker(tmp_path / "a")), checked(make_worker(tmp_path / "b", clean=False))
    assert killed.figures.points == clean.figures.points
    assert killed.figures.digest == clean.figures.digest


def test_traces_of_a_crash_are_warnings(path):
    for name in ("log/00000000000000000009.log.tmp", "segments/0001.faiss", "segments/0001.rows.tmp"):
        (path / name).write_bytes(b"half")
    with sorted((path / "log").glob("*.log"))[-1].open("ab") as stream:
        stream.write(b"torn")
    report = checked(path)
    assert report.verdict is Verdict.CLEAN
    assert {finding.severity for finding in report.findings} == {Severity.WARNING}
    assert len(report.findings) == 4
    (torn,) = [finding for finding in report.findings if finding.position]
    assert "4 bytes of a write that a crash interrupted" in torn.meaning
    Driven(path).close()
    assert checked(path).findings == ()


@pytest.mark.parametrize("name", ["replica.json", "watermark.json", "store.db"])
def test_a_file_that_is_missing_is_damage(path, name):
    (path / name).unlink()
    report = checked(path)
    assert report.verdict is Verdict.DAMAGED
    assert any("is missing" in finding.meaning for finding in found_in(report, name))


def test_a_missing_log_is_damage(path):
    shutil.rmtree(path / "log")
    report = checked(path)
    assert report.verdict is Verdict.DAMAGED
    assert found_in(report, "log")


@pytest.mark.parametrize("name", ["replica.json", "watermark.json"])
def test_a_flipped_bit_in_a_small_file_is_damage(path, name):
    flip(path / name, 40)
    assert found_in(checked(path), name)[0].severity is Severity.DAMAGE


def test_a_flipped_bit_in_the_log_names_file_offset_and_seq(path):
    log = first_log(path)
    flip(log, log.stat().st_size - 3)
    (finding,) = found_in(checked(path), "log")
    assert finding.severity is Severity.DAMAGE
    assert log.name in finding.meaning
    assert "at offset" in finding.meaning
    assert "seq" in finding.meaning


def test_updates_in_the_log_are_read_and_one_that_cannot_be_applied_is_damage(path):
    driven = Driven(path)
    driven.update([1, 2], SetPayload(b'{"n":7}'), Exists(("n",)))
    driven.update([1], UpdateVectors(np.zeros((1, 4), dtype=np.float32)))
    driven.close()
    assert checked(path).findings == ()
    driven = Driven(path)
    bodies = [b"no update", update_body(PointUpdate(ids=id_array([1]), change=UpdateVectors(np.zeros((1, 3), dtype=np.float32))))]
    driven.engine.append([driven._record(RecordKind.UPDATE, bodies[0])])
    driven.engine.append([replace(driven._record(RecordKind.UPDATE, bodies[1]), seq=Seq(driven.seq + 2))])
    driven.engine._log.close()
    found = [finding.meaning for finding in found_in(checked(path), "log")]
    assert [any(what in meaning for meaning in found) for what in ("InvalidArgument", "dimension 3, the collection has 4")] == [True, True]


def test_a_log_of_a_newer_version_is_left_alone(path):
    driven = Driven(path)
    driven.engine.append([replace(driven._record(RecordKind.NOOP, b""), kind=99)])
    driven.engine._log.close()
    (finding,) = found_in(checked(path), "log")
    assert finding.severity is not Severity.DAMAGE
    assert "which this version of Shoal does not know" in finding.meaning


def test_a_missing_log_file_is_damage(path):
    sorted((path / "log").glob("*.log"))[-1].unlink()
    assert checked(path).verdict is Verdict.DAMAGED


def test_a_term_that_went_back_is_damage(path):
    fields = {"cluster_id": str, "collection": str, "shard": int, "replica_id": str, "known_term": int}
    document = read_sealed(path / "replica.json", fields)
    write_sealed(path / "replica.json", {**{name: document[name] for name in fields}, "known_term": 0})
    (finding,) = checked(path).findings
    assert (finding.position, finding.severity) == ("known_term", Severity.DAMAGE)
    assert "term 0 is the highest seen, but the log has records of term 1" in finding.meaning


def test_a_folder_in_another_place_is_damage(path):
    path.rename(path.with_name("other"))
    (finding,) = checked(path.with_name("other")).findings
    assert "belongs to replica collection/0/replica" in finding.meaning


@pytest.mark.parametrize("ending", [".faiss", ".rows", ".payload"])
@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_damage_of_a_segment_file_is_found_by_its_hash(path, ending, damage):
    file = segment_file(path, ending)
    if damage == "flip":
        flip(file, file.stat().st_size // 2)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    report = checked(path)
    (finding,) = report.findings
    assert (finding.file, finding.severity) == (str(file), Severity.DAMAGE)
    assert {"flip": "sha256", "cut": "bytes", "missing": "is missing"}[damage] in finding.meaning
    assert ("makes the segment's payload index again" if ending == ".payload" else "builds the segment again") in finding.advice
    assert len(report.figures.digest) == 32, "the store is whole"


@pytest.mark.parametrize(
    ("statement", "position", "meaning"),
    [
        ("UPDATE points SET payload = x'7b7d' WHERE row = 6", "row 6", "the crc of its payload"),
        ("UPDATE points SET vector = zeroblob(16) WHERE row = 6", "row 6", "the crc of its vector"),
        ("UPDATE points SET seq = seq + 1 WHERE row = 6", "row 6", "the crc of its head"),
        ("UPDATE points SET id = 1.5 WHERE row = 6", "row 6", "another type"),
        ("DELETE FROM points WHERE row = 6", "table points", "its 17 rows are not the"),
        ("UPDATE requests SET affected = 9", "", "a row of requests"),
        ("UPDATE segments SET rows = rows + 1", "", "a row of segments"),
        ("UPDATE meta SET value = 3 WHERE key = 'points'", "", "the crc of points in meta"),
    ],
)
def test_damage_of_the_store_is_found_where_it_is(path, statement, position, meaning):
    if "requests" in statement:
        change(path, "INSERT INTO requests VALUES ('c', 1, 1, 1, 1, 0)")
    change(path, statement)
    report = checked(path)
    assert report.verdict is Verdict.DAMAGED
    assert any(meaning in finding.meaning and (finding.position or "").startswith(position) for finding in found_in(report, "store.db"))
    assert report.figures.digest == "" or "points" not in statement


def test_an_index_on_id_that_misses_a_row_is_found(path):
    """The SQL index is rebuilt as a partial index without row 6. Then its old declaration is put back."""
    change_schema = (
        "UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX points_by_id ON points (id) WHERE row <> 6' WHERE name = 'points_by_id'"
    )
    undo = "UPDATE sqlite_schema SET sql = 'CREATE UNIQUE INDEX points_by_id ON points (id)' WHERE name = 'points_by_id'"
    rewrite(path, ["PRAGMA writable_schema = ON", change_schema])
    rewrite(path, ["REINDEX points_by_id", "PRAGMA writable_schema = ON", undo])
    meanings = [finding.meaning for finding in found_in(checked(path), "store.db")]
    assert any("missing from index" in meaning for meaning in meanings)
    assert any("the index on id does not hold" in meaning for meaning in meanings)


def rewrite(path, statements):
    connection = sqlite3.connect(path / "store.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_vector_that_is_not_the_stored_one_is_found_though_every_hash_is_right(path):
    forge(path, 6, vector=np.array([1, 2, 3, 4], dtype="<f4").tobytes())
    (finding,) = checked(path).findings
    assert finding.position == "rows 6"
    assert "1 of its vectors are not those of the store" in finding.meaning


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize(("index", "quantised"), [("flat", False), ("HNSW4,Flat", False), ("IVF1,Flat", True), ("SQ8", True)])
def test_every_metric_and_index_is_told_from_its_files(tmp_path, metric, index, quantised):
    path = make_worker(tmp_path / "worker", spec=replace(SPEC, metric=metric, index=index_from_input(index, dim=SPEC.dim)), more=MORE)
    assert bool(list((path / "segments").glob("*.vectors"))) == quantised
    report = checked(path)
    assert (report.findings, report.figures.sealed_rows) == ((), 18 + MORE)
    forge(path, 6, vector=np.array([1, 2, 3, 4], dtype="<f4").tobytes())
    (finding,) = checked(path).findings
    assert "1 of its vectors are not those of the store" in finding.meaning


def test_a_payload_that_is_not_the_indexed_one_is_found_though_every_hash_is_right(path):
    forge(path, 6, payload=b'{"n":99}')
    findings = checked(path).findings
    assert ("field n = 99", Severity.DAMAGE) in {(finding.position, finding.severity) for finding in findings}
    assert all("the payload index misses" in finding.meaning for finding in findings)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"n":1,"d":' + b'{"d":' * 5_000 + b"1" + b"}" * 5_001,
        b'{"n":1,"d":[' + b"[" * 5_000 + b"]" * 5_000 + b"]}",
        b'{"a":"\\ud800","b":1e400,"c":1,"c":2}',
        b'{"a":' + b"9" * 4_300 + b"}",
    ],
)
def test_what_this_version_would_not_store_is_no_damage(path, payload):
    """An older version stored it. How deep its payloads could be depended on the version of Python."""
    forge(path, 20, payload=payload)
    report = checked(path)
    assert (report.findings, report.verdict) == ((), Verdict.CLEAN)


@pytest.mark.parametrize(
    ("payload", "meaning"),
    [(b"[]", "its payload is no JSON object"), (b"{", "its payload is no JSON object"), (b"\xff", "its payload is no JSON object")],
)
def test_a_payload_that_is_none_is_found_though_its_crc_is_right(path, payload, meaning):
    forge(path, 20, payload=payload)
    (finding,) = checked(path).findings
    assert (finding.position, meaning in finding.meaning) == ("row 20", True)


def test_a_vector_of_another_length_is_found_though_its_crc_is_right(path):
    forge(path, 20, vector=bytes(12))
    (finding,) = checked(path).findings
    assert "its vector has 12 bytes, dimension 4 needs 16" in finding.meaning


def test_a_row_in_two_segments_is_found(path):
    files = SegmentFiles(path / "segments")
    for file in sorted((path / "segments").iterdir()):
        if not file.name.startswith("copy"):
            written = files.write_bytes(f"copy.{file.name.partition('.')[2]}", file.read_bytes())
            values = (written.name, written.size_bytes, written.sha256, *rows_and_seq(path, file.name))
            change(path, "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", (*values, values_crc(values)))
    report = checked(path)
    assert any("lies in 2 sealed segments" in finding.meaning for finding in report.findings)


def rows_and_seq(path, name):
    connection = sqlite3.connect(path / "store.db")
    ((rows, seq),) = connection.execute("SELECT rows, applied_seq FROM segments WHERE name = ?", (name,))
    connection.close()
    return rows, seq


def test_a_segment_of_a_later_state_than_the_store_is_damage(path):
    entry = SegmentEntry(name="late.faiss", size_bytes=1, sha256="00", rows=1, applied_seq=Seq(99))
    values = (entry.name, entry.size_bytes, entry.sha256, entry.rows, entry.applied_seq)
    change(path, "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", (*values, values_crc(values)))
    assert any("was built from record 99, 7 are applied" in finding.meaning for finding in checked(path).findings)
