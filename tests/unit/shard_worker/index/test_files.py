"""Test sealed segments on disk: they are read as they were written, and wrong files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shoal.core.errors import DataLoss
from shoal.core.metric import Metric
from shoal.core.points import PointId
from shoal.shard_worker.index.replica_index import ReplicaIndex
from shoal.shard_worker.index.sealed import INDEX_SUFFIX, PAYLOAD_SUFFIX, ROWS_SUFFIX, VECTORS_SUFFIX
from shoal.shard_worker.logic.segments.segment_plan import BuildPlan, plan_build
from shoal.shard_worker.payload.sealed import SealedPayloads
from tests.unit.shard_worker.index.twin import INDEXES, Writer, approximate, brute_force, exact, new_index, random_points, sealed_by

DIM = 6


def _queries() -> np.ndarray:
    return np.random.default_rng(4).random((12, DIM)).astype(np.float32)


def _save(writer: Writer, folder: Path) -> dict[str, Path]:
    """Seal what is frozen and write its files, as the replica does. Return the files by suffix."""
    job = writer.index.begin_build(_plan(writer))
    sealed = sealed_by(job)
    paths = {suffix: folder / f"one{suffix}" for suffix in sealed.files()}
    for suffix, write in sealed.files().items():
        write(paths[suffix])
    if VECTORS_SUFFIX in paths:
        sealed.map_vectors(paths[VECTORS_SUFFIX])
    writer.index.swap(job, sealed, "one")
    return paths


def _load(index: ReplicaIndex, name: str, paths: dict[str, Path], rows: np.ndarray, ids: np.ndarray) -> None:
    index.load_sealed(name=name, paths=paths, live_rows=rows, ids=ids, payloads=lambda _: SealedPayloads.read(paths[PAYLOAD_SUFFIX]))


def _plan(writer: Writer) -> BuildPlan:
    plan = plan_build(writer.index.summary())
    assert plan is not None
    return plan


def _reopened(writer: Writer, paths: dict[str, Path], index: ReplicaIndex) -> ReplicaIndex:
    rows, ids = writer.live()
    _load(index, "one", paths, rows, ids)
    missing = index.missing_rows(rows)
    vectors = np.stack([writer.points[point_id] for point_id in ids[missing].tolist()])
    index.load_growing(rows[missing], ids[missing], vectors, None)
    index.publish(writer.seq)
    return index


@pytest.mark.parametrize("kind", [*INDEXES, "HNSW16,SQ8", "IVF8,Flat"])
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("strings", [False, True])
def test_what_was_written_answers_the_same_when_read(metric: Metric, kind: str, strings: bool, tmp_path: Path) -> None:
    def named(points: dict[PointId, np.ndarray]) -> dict[PointId, np.ndarray]:
        return {f"id {point_id}" if strings else point_id: vector for point_id, vector in points.items()}

    settings = {"index": kind, "growing_rows": 400, "flat_rows": 2_000}
    writer = Writer(new_index(metric, DIM, **settings))
    writer.upsert(named(random_points(1, 1_600, DIM)))
    paths = _save(writer, tmp_path)
    writer.upsert(named(random_points(2, 700, DIM, first_id=1_000)))
    writer.delete(list(named(random_points(1, 50, DIM))))
    index = _reopened(writer, paths, new_index(metric, DIM, **settings))
    for k in (1, 10, 3_000):
        found = exact(index, index.view(), _queries(), k)
        assert found == exact(writer.index, writer.index.view(), _queries(), k)
        assert found[0] == brute_force(writer.points, _queries()[0], k, metric)
        assert approximate(index, index.view(), _queries(), k) == approximate(writer.index, writer.index.view(), _queries(), k)
    stats, before = index.stats(), writer.index.stats()
    assert (stats.points, stats.sealed_rows, stats.growing_rows) == (before.points, before.sealed_rows, before.growing_rows)


def test_a_reopened_index_goes_on(tmp_path: Path) -> None:
    writer = Writer(new_index(Metric.L2, DIM, growing_rows=100))
    writer.upsert(random_points(1, 250, DIM))
    paths = _save(writer, tmp_path)
    writer.index = _reopened(writer, paths, new_index(Metric.L2, DIM, growing_rows=100))
    writer.upsert(random_points(2, 100, DIM, first_id=200))
    plan = _plan(writer)
    job = writer.index.begin_build(plan)
    assert job.replaces == ("one",)
    writer.index.swap(job, sealed_by(job), "two")
    query = _queries()[:1]
    assert exact(writer.index, writer.index.view(), query, 400) == [brute_force(writer.points, query[0], 400, Metric.L2)]


def test_files_that_do_not_fit_are_data_loss(tmp_path: Path) -> None:
    writer = Writer(new_index(Metric.L2, DIM))
    writer.upsert(random_points(1, 24, DIM))
    paths = _save(writer, tmp_path)
    index_path, rows_path = paths[INDEX_SUFFIX], paths[ROWS_SUFFIX]
    rows, ids = writer.live()
    cut, junk, few, wrong = tmp_path / "cut", tmp_path / "junk", tmp_path / "few", tmp_path / "wrong"
    cut.write_bytes(index_path.read_bytes()[:-100])
    junk.write_bytes(b"no index")
    with few.open("wb") as file:
        np.save(file, np.arange(3))
    with wrong.open("wb") as file:
        np.save(file, np.arange(24.0))
    for metric, dim, index_file, rows_file in (
        (Metric.L2, DIM, cut, rows_path),
        (Metric.L2, DIM, junk, rows_path),
        (Metric.L2, DIM, index_path, junk),
        (Metric.L2, DIM, index_path, few),
        (Metric.L2, DIM, index_path, wrong),
        (Metric.IP, DIM, index_path, rows_path),
        (Metric.L2, DIM + 1, index_path, rows_path),
    ):
        index = new_index(metric, dim)
        with pytest.raises(DataLoss):
            _load(index, "one", paths | {INDEX_SUFFIX: index_file, ROWS_SUFFIX: rows_file}, rows, ids)
        assert index.missing_rows(rows).all()


def test_one_segment_cannot_be_loaded_twice(tmp_path: Path) -> None:
    writer = Writer(new_index(Metric.L2, DIM))
    writer.upsert(random_points(1, 24, DIM))
    paths = _save(writer, tmp_path)
    index = new_index(Metric.L2, DIM)
    rows, ids = writer.live()
    _load(index, "one", paths, rows, ids)
    with pytest.raises(DataLoss, match="another segment holds"):
        _load(index, "two", paths, rows, ids)


def test_a_full_disk_is_an_os_error() -> None:
    writer = Writer(new_index(Metric.L2, DIM))
    writer.upsert(random_points(1, 24, DIM))
    sealed = sealed_by(writer.index.begin_build(_plan(writer)))
    for write in sealed.files().values():
        with pytest.raises(OSError, match="No space left"):
            write(Path("/dev/full"))
