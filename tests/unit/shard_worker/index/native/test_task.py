from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pytest

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import parse_index
from shoal.core.metric import Metric
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.native.task import Material, NativeTask, PackedIndex, carried_rows, run_native_task, unpacked
from shoal.shard_worker.index.sealed import INDEX_SUFFIX, SealedSegment
from tests.support.worker.made_segments import built, clustered, form_of, frozen, reloaded, sealed_source, written

DIM, ROWS, MORE = 12, 1_500, 700
KINDS = ["HNSW8,Flat", "HNSW8,SQ8", "HNSW6,PQ6x4", "IVF20,Flat", "IVF20,SQ8", "IVF20,PQ6x4", "IVF20,RaBitQ", "SQ8", "PQ6x4", "RaBitQ"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def job_of(text: str, metric: Metric, folder: Path, *, extends: bool) -> BuildJob:
    """Return a build of two sources. With `extends`, the first source is a sealed segment that was read
    from its files.
    """
    form = form_of(text, DIM, metric)
    first, second = (frozen(clustered(seed, rows, DIM), metric, first_row=seed * 10_000) for seed, rows in ((2, ROWS), (3, MORE)))
    if not extends:
        return BuildJob(seq=1, form=form, base=None, others=(first, second))
    paths = written(built(form, (first,), folder), folder, "base")
    base = reloaded(paths, form, first.part.rows)
    return BuildJob(seq=1, form=form, base=sealed_source(base), others=(second,))


def carried(job: BuildJob) -> tuple[NativeTask, Material]:
    """Return the task and the material of a job as another process gets them."""
    material = job.material()
    sent = (job.task(), material.base(), material.sample(), list(material.blocks()))
    task, base, sample, blocks = pickle.loads(pickle.dumps(sent))
    return task, Material(base=lambda: base, sample=lambda: sample, blocks=lambda: blocks)


def done(job: BuildJob) -> PackedIndex:
    result = run_native_task(*carried(job), bool)
    assert result is not None
    return result


def index_file(segment: SealedSegment, folder: Path, name: str) -> bytes:
    return written(segment, folder, name)[INDEX_SUFFIX].read_bytes()


@pytest.mark.parametrize(("text", "extends"), [*((text, False) for text in (*KINDS, "Flat")), *((text, True) for text in KINDS)])
@pytest.mark.parametrize("metric", [Metric.L2, Metric.COSINE])
def test_elsewhere_the_very_same_index_is_made(text: str, metric: Metric, extends: bool, tmp_path: Path) -> None:
    job = job_of(text, metric, tmp_path, extends=extends)
    here, elsewhere = job.run(bool), job.adopt(done(job))
    assert here is not None
    assert index_file(elsewhere, tmp_path, "elsewhere") == index_file(here, tmp_path, "here")
    assert (elsewhere.form, elsewhere.rows_held, elsewhere.trained_rows) == (parse_index(text, DIM).text, ROWS + MORE, here.trained_rows)


def test_the_segment_around_it_is_made_here(tmp_path: Path) -> None:
    job = job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=True)
    part = job.adopt(done(job)).part()
    assert part.rows.tolist() == [*range(20_000, 20_000 + ROWS), *range(30_000, 30_000 + MORE)]
    assert part.ids.tolist() == (part.rows + 1_000_000).tolist()
    assert np.array_equal(part.vectors, np.concatenate([clustered(2, ROWS, DIM), clustered(3, MORE, DIM)]))
    assert part.payloads is not None


def test_a_base_that_is_extended_elsewhere_stays_as_it_is(tmp_path: Path) -> None:
    job = job_of("HNSW6,PQ6x4", Metric.L2, tmp_path, extends=True)
    assert job.base is not None
    before = job.material().base()
    done(job)
    assert np.array_equal(before, job.material().base())


@pytest.mark.parametrize("text", ["HNSW8,Flat", "IVF20,PQ6x4"])
def test_it_can_be_stopped(text: str, tmp_path: Path) -> None:
    task, material = carried(job_of(text, Metric.L2, tmp_path, extends=False))
    assert run_native_task(task, material, lambda: True) is None


def test_blocks_are_small_and_whole_blocks_of_an_insertion(tmp_path: Path) -> None:
    for dim in (1, 12, 784, 4_096):
        assert 4 * dim * carried_rows(dim) <= 8 * 1024 * 1024
        assert carried_rows(dim) % max(1, min(4_096, 1_600_000 // dim)) == 0
    blocks = list(job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=True).material().blocks())
    assert np.array_equal(np.concatenate(blocks), clustered(3, MORE, DIM))


def test_a_result_that_was_damaged_is_refused(tmp_path: Path) -> None:
    job = job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=False)
    good = done(job)
    for at in (0, len(good.packed) // 2, len(good.packed) - 1):
        packed = good.packed.copy()
        packed[at] ^= 1
        with pytest.raises(DataLoss, match="has the hash"):
            job.adopt(dataclasses.replace(good, packed=packed))
    with pytest.raises(DataLoss, match="has the hash"):
        job.adopt(dataclasses.replace(good, packed=good.packed[:-1]))


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    job = job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=False)
    for junk in (np.empty(0, dtype=np.uint8), np.arange(200, dtype=np.uint8)):
        with pytest.raises(DataLoss, match="packed index cannot be read"):
            job.adopt(PackedIndex(packed=junk, sha256=_hash_of(junk)))


def test_another_index_is_refused(tmp_path: Path) -> None:
    job = job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=False)
    result = done(job)
    assert len(unpacked(job.task(), result)) == ROWS + MORE
    for change, error, message in (
        ({"rows": ROWS + MORE + 1}, Internal, f"HNSW8,Flat with {ROWS + MORE} rows came back where HNSW8,Flat with {ROWS + MORE + 1}"),
        ({"index": "HNSW9,Flat"}, Internal, "came back where HNSW9,Flat"),
        ({"dim": DIM + 1}, DataLoss, f"of dimension {DIM} where dimension {DIM + 1}"),
        ({"metric": Metric.IP}, DataLoss, "metric ip is wanted"),
    ):
        with pytest.raises(error, match=message):
            unpacked(dataclasses.replace(job.task(), **change), result)


def test_the_index_of_other_vectors_is_refused(tmp_path: Path) -> None:
    job = job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=False)
    swapped = BuildJob(seq=1, form=job.form, base=None, others=job.others[::-1])
    with pytest.raises(Internal, match="the vector of row 0 of 2200 differs"):
        job.adopt(done(swapped))


def test_a_base_of_another_kind_is_refused(tmp_path: Path) -> None:
    task, material = carried(job_of("HNSW8,Flat", Metric.L2, tmp_path, extends=True))
    with pytest.raises(DataLoss, match="HNSW8,Flat came where the base of HNSW9"):
        run_native_task(dataclasses.replace(task, index="HNSW9,Flat"), material, bool)


def _hash_of(packed: np.ndarray) -> str:
    return hashlib.sha256(packed.tobytes()).hexdigest()
