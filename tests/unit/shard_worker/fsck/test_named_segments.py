"""Test the check of a replica with named vectors: it knows what each segment holds from the store, not from a
specification."""

import dataclasses
import sqlite3

import numpy as np
import pytest

from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.point_change import PointUpdate, UpdatePacked, UpdateVectors
from shoal.core.points import id_array
from shoal.shard_worker.fsck.finding import Verdict
from shoal.shard_worker.logic.replication.record import RecordKind
from shoal.shard_worker.replica.segment_names import vector_of
from shoal.shard_worker.storage.checksum import values_crc
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.wire.records import update_body
from tests.support.worker.engine_driver import CLUSTER, REF, Driven, layout_of
from tests.support.worker.named_vectors import DIMS, NAMED, row_of, rows_of
from tests.support.worker.replica_on_disk import change, checked, flip, forge, found_in

KINDS = (
    lambda at: {"image": [at, 1, 2], "sound_1-x": [at]},
    lambda at: {"image": [at, 2, 0], "text": [1, at]},
    lambda _: {},
)
POINTS = {at: KINDS[at % 3](at) for at in range(18)}


def made(folder, spec=NAMED, rows=None):
    """Return the folder of a replica whose first 18 points are sealed, and two more that are not."""
    worker = WorkerFolder.open(folder, CLUSTER)
    worker.create(REF, dim=spec.point_dim, vectors=layout_of(spec))
    worker.close()
    path = folder / REF.shard.collection / str(REF.shard.number) / REF.replica_id
    driven = Driven(path, spec)
    sealed = rows_of(list(POINTS.values())) if rows is None else rows
    driven.upsert(range(len(sealed)), sealed.tolist(), [b'{"n":%d}' % (at % 4) for at in range(len(sealed))])
    while driven.build(everything=True):
        pass
    driven.upsert([1_000, 1_001], [sealed[0].tolist(), sealed[1].tolist()], [None, None])
    driven.close()
    return path


@pytest.fixture
def path(tmp_path):
    return made(tmp_path / "worker")


def test_a_good_replica_is_clean_and_its_figures_are_those_of_the_points(path):
    report = checked(path)
    figures = report.figures
    assert (report.verdict, report.findings) == (Verdict.CLEAN, ())
    assert (figures.points, figures.sealed_rows, figures.growing_rows, figures.segments) == (20, 18, 2, 4)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("index", ["flat", "HNSW4,Flat", "SQ8"])
def test_every_metric_and_index_of_a_named_vector_is_told_from_its_files(tmp_path, metric, index):
    spec = dataclasses.replace(
        NAMED, vectors=(NamedVector(name="b", dim=3, metric=Metric.L2), NamedVector(name="a", dim=4, metric=metric, index=index))
    )
    rows = np.random.default_rng(5).normal(size=(300, spec.point_dim)).astype(np.float32)
    rows[:, 0] = 3.0
    path = made(tmp_path / "worker", spec, rows)
    assert (checked(path).findings, checked(path).figures.sealed_rows) == ((), 300)
    rows[5, 6] += 1.0
    forge(path, 6, vector=rows[5].astype("<f4").tobytes())
    (finding,) = checked(path).findings
    assert "1 of its vectors are not those of the store" in finding.meaning
    assert vector_of(finding.file) == "a"


def test_a_file_of_one_vector_that_is_damaged_is_named(path):
    broken = next(file for file in sorted((path / "segments").iterdir()) if vector_of(file.name) == "text" and file.suffix == ".rows")
    flip(broken, 20)
    (finding,) = checked(path).findings
    assert finding.file.endswith(broken.name)
    assert "sha256" in finding.meaning


def test_a_row_that_the_segment_of_a_vector_holds_without_having_the_vector_is_found(path):
    """Row 2 has an image and a text in its segments; the store says now that it has an image only."""
    assert POINTS[1].keys() == {"image", "text"}
    forge(path, 2, vector=np.array(row_of({"image": POINTS[1]["image"]}), dtype="<f4").tobytes())
    said = {(vector_of(finding.file), finding.position, finding.meaning) for finding in checked(path).findings}
    assert said == {
        ("", "rows 2", "1 of its vectors are not those of the store"),
        ("text", "rows 2", "1 of its vectors are not those of the store"),
        ("text", "rows 2", "1 of its rows lack this vector"),
    }


@pytest.mark.parametrize(
    ("row", "said"), [([8.0, 0, 0, 0, 0, 0, 0], "number 0 of a packed row"), ([0.0, 0, 0, 0, 1, 0, 0], "has numbers of vector 1")]
)
def test_a_row_of_the_store_that_is_not_packed_is_found(path, row, said):
    forge(path, 19, vector=np.array(row, dtype="<f4").tobytes())
    (finding,) = found_in(checked(path), "store.db")
    assert (finding.position, said in finding.meaning) == ("row 19", True)


def test_a_segment_of_a_vector_that_the_store_does_not_have_is_found(path):
    names = [file.name for file in (path / "segments").iterdir() if vector_of(file.name) == "image"]
    for name in names:
        other = name.replace("@image", "@smell")
        (path / "segments" / name).rename(path / "segments" / other)
        change(path, "UPDATE segments SET name = ? WHERE name = ?", (other, name))
        mended(path, other)
    (finding,) = checked(path).findings
    assert "it is of vector 'smell', the store has image, text, sound_1-x" in finding.meaning
    driven = Driven(path, NAMED)
    assert not [name for name in (path / "segments").iterdir() if vector_of(name.name) == "smell"]
    assert driven.engine.searched["image"].index.view().points == 14
    driven.close()
    assert checked(path).verdict is Verdict.CLEAN


def mended(path, name):
    """Give the entry of a file the crc of its values."""
    connection = sqlite3.connect(path / "store.db")
    (values,) = connection.execute("SELECT name, size_bytes, sha256, rows, applied_seq FROM segments WHERE name = ?", (name,)).fetchall()
    connection.close()
    change(path, "UPDATE segments SET crc = ? WHERE name = ?", (values_crc(values), name))


def test_a_store_whose_layout_is_damaged_is_told(path):
    change(path, "UPDATE meta SET value = ? WHERE key = 'vectors'", ('[["image", 4]]',))
    assert any("crc of vectors" in finding.meaning for finding in checked(path).findings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (UpdatePacked(np.full((1, 7), 0.5, dtype=np.float32), DIMS), "number 0 of a packed row"),
        (UpdatePacked(rows_of([{"text": [5, 5]}]), (2, 3, 1)), "dimensions [2, 3, 1], the collection has [3, 2, 1]"),
        (UpdateVectors(rows_of([{"text": [5, 5]}])), "must name the vectors"),
    ],
)
def test_an_update_of_vectors_in_the_log_is_checked(path, change, said):
    driven = Driven(path, NAMED)
    driven.update([1], UpdatePacked(rows_of([{"text": [5, 5]}]), DIMS))
    driven.close()
    assert checked(path).verdict is Verdict.CLEAN
    driven = Driven(path, NAMED)
    driven.engine.append([driven._record(RecordKind.UPDATE, update_body(PointUpdate(ids=id_array([1]), change=change)))])
    driven.engine._log.close()
    assert any(said in finding.meaning for finding in found_in(checked(path), "log"))
