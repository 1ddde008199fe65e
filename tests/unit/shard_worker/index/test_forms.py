"""Test every kind of index: it is built from several sources, searched, written, read and extended."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import faiss
import numpy as np
import pytest

from shoal.core.errors import DataLoss, Internal
from shoal.core.filter import In
from shoal.core.index_spec import parse_index, vector_bytes, waiting_reason
from shoal.core.metric import Metric
from shoal.core.scoring import prepared, scores
from shoal.shard_worker.index.build import BuildJob
from shoal.shard_worker.index.sealed import PAYLOAD_SUFFIX, VECTORS_SUFFIX, SealedSegment
from shoal.shard_worker.index.view import ALIVE
from tests.support.worker.made_segments import (
    BUCKETS,
    built,
    clustered,
    form_of,
    frozen,
    reloaded,
    sealed_source,
    written,
)

DIM, ROWS, K = 24, 1_500, 10
KINDS = {
    "HNSW12,Flat": 10,
    "HNSW12,SQ8": 20,
    "HNSW12,PQ6x4": 300,
    "IVF20,Flat": 10,
    "IVF20,SQ8": 20,
    "IVF20,PQ6x4": 300,
    "IVF20,RaBitQ": 150,
    "SQ8": 20,
    "PQ6x4": 300,
    "RaBitQ": 300,
}
"""Number of rows to fetch, so that comparing them exactly finds nearly all of the ten nearest."""


@pytest.fixture(autouse=True)
def _alone() -> None:
    faiss.omp_set_num_threads(1)


def _vectors(rows: int = ROWS, seed: int = 7) -> np.ndarray:
    return clustered(seed, rows, DIM)


def _queries(metric: Metric) -> np.ndarray:
    return np.ascontiguousarray(prepared(clustered(8, 25, DIM), metric))


def _recall(segment: SealedSegment, metric: Metric, fetch: int, breadth: int) -> float:
    """Return the recall of the K nearest, when the `fetch` rows that the index returns are then compared exactly."""
    part, queries = segment.part(), _queries(metric)
    assert part.native is not None
    found = part.native.search(queries, fetch, breadth)
    assert found.shape == (len(queries), fetch)
    shares = []
    for query, positions in zip(queries, found.tolist(), strict=True):
        ranked = scores(query, part.vectors, metric) * (1 if metric is Metric.L2 else -1)
        shares.append(len(set(np.argsort(ranked, kind="stable")[:K].tolist()) & set(positions)) / K)
    return float(np.mean(shares))


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("text", list(KINDS))
def test_the_life_of_a_segment(text: str, metric: Metric, tmp_path: Path) -> None:
    form, vectors, fetch = form_of(text, DIM, metric), _vectors(), KINDS[text]
    breadth = 100 if text.startswith("HNSW") else 12
    segment = built(form, (frozen(vectors[:500], metric), frozen(vectors[500:], metric, first_row=500)), tmp_path)
    part = segment.part()
    assert (segment.form, part.index) == (text, text)
    assert np.array_equal(part.vectors, prepared(vectors, metric))
    assert np.array_equal(part.rows, np.arange(ROWS))
    assert _recall(segment, metric, fetch, breadth) >= 0.95

    again = reloaded(written(segment, tmp_path), form, part.rows)
    copy = again.part()
    assert part.native is not None
    assert copy.native is not None
    queries = _queries(metric)
    assert np.array_equal(copy.native.search(queries, fetch, breadth), part.native.search(queries, fetch, breadth))
    assert np.array_equal(copy.vectors, part.vectors)
    assert np.array_equal(copy.squares, part.squares)
    assert (copy.reach, again.trained_rows, again.form) == (part.reach, segment.trained_rows, segment.form)

    before = copy.native.search(queries, K, breadth)
    new = _vectors(600, seed=9)
    grown = built(form, (frozen(new, metric, first_row=2_000),), tmp_path, base=sealed_source(again))
    assert np.array_equal(grown.part().vectors, prepared(np.concatenate([vectors, new]), metric))
    assert (grown.form, grown.trained_rows, len(grown)) == (text, segment.trained_rows, ROWS + 600)
    assert _recall(grown, metric, fetch, breadth) >= 0.95
    assert np.array_equal(copy.native.search(queries, K, breadth), before)
    assert len(copy.native) == ROWS


@pytest.mark.parametrize("text", list(KINDS))
def test_a_part_knows_how_its_index_is_asked(text: str, tmp_path: Path) -> None:
    native = built(form_of(text, DIM), (frozen(_vectors(), Metric.L2),), tmp_path).part().native
    assert native is not None
    assert native.breadth_name == {"H": "ef", "I": "nprobe"}.get(text[0], "")
    assert native.max_breadth == (20 if text.startswith("IVF") else ROWS)
    assert native.quantised == ("Flat" not in text)
    assert native.is_graph == text.startswith("HNSW")
    assert native.extendable
    assert native.label == text


def test_more_than_there_is_comes_back_as_minus_one(tmp_path: Path) -> None:
    for text in KINDS:
        native = built(form_of(text, DIM), (frozen(_vectors(), Metric.L2),), tmp_path).part().native
        assert native is not None
        found = native.search(_queries(Metric.L2)[:1], ROWS + 50, native.max_breadth)[0]
        assert (found[ROWS:] == -1).all()
        kept = found[found >= 0]
        assert len(np.unique(kept)) == len(kept) >= 0.95 * ROWS


@pytest.mark.parametrize("text", list(KINDS))
def test_the_estimate_of_memory(text: str, tmp_path: Path) -> None:
    native = built(form_of(text, DIM), (frozen(_vectors(), Metric.L2),), tmp_path).part().native
    assert native is not None
    assert native.memory_bytes() == pytest.approx(vector_bytes(parse_index(text, DIM), DIM, ROWS), rel=0.05)


@pytest.mark.parametrize("dim", [128, 784])
def test_the_estimate_of_memory_of_a_graph(dim: int, tmp_path: Path) -> None:
    native = built(form_of("hnsw", dim), (frozen(clustered(1, 1_200, dim), Metric.L2),), tmp_path).part().native
    assert native is not None
    assert native.memory_bytes() == pytest.approx(vector_bytes(parse_index("hnsw", dim), dim, 1_200), rel=0.02)


@pytest.mark.parametrize("text", ["IVF40,Flat", "ivf", "PQ6", "SQ8", "RaBitQ", "IVF,PQ6x4"])
def test_too_few_rows_are_kept_exact(text: str, tmp_path: Path) -> None:
    spec = parse_index(text, DIM)
    few = spec.min_rows - 1
    segment = built(form_of(text, DIM), (frozen(_vectors(few), Metric.L2),), tmp_path)
    part = segment.part()
    assert waiting_reason(spec, few)
    assert (segment.form, part.index, part.native, segment.trained_rows) == ("flat", "flat", None, 0)
    assert VECTORS_SUFFIX not in segment.files()
    assert form_of(text, DIM).outdated(segment.form, live=few + 1, trained_rows=segment.trained_rows)
    again = reloaded(written(segment, tmp_path), form_of(text, DIM), part.rows)
    assert np.array_equal(again.part().vectors, _vectors(few))


def test_only_living_rows_are_taken_but_those_of_the_base(tmp_path: Path) -> None:
    form, vectors = form_of("IVF20,SQ8", DIM), _vectors()
    base = built(form, (frozen(vectors, Metric.L2),), tmp_path)
    base.kill(np.array([3, 4]), 1)
    other = built(form, (frozen(_vectors(900, seed=3), Metric.L2, first_row=5_000),), tmp_path)
    other.kill(np.array([0, 899]), 1)
    merged = built(form, (sealed_source(other, whole=False),), tmp_path, base=sealed_source(base))
    part = merged.part()
    assert len(part) == ROWS + 898
    assert np.flatnonzero(part.deaths != ALIVE).tolist() == [3, 4]
    assert part.rows[ROWS : ROWS + 2].tolist() == [5_001, 5_002]
    assert np.array_equal(part.vectors, np.concatenate([vectors, _vectors(900, seed=3)[1:-1]]))
    afresh = built(form, (sealed_source(base, whole=False), sealed_source(other, whole=False)), tmp_path)
    assert len(afresh.part()) == ROWS - 2 + 898
    assert afresh.trained_rows == ROWS - 2 + 898
    matched = afresh.part().payloads.match(In(path=("bucket",), values=(5,)), afresh.part().ids)
    assert {row % BUCKETS for row in afresh.part().rows[np.array(matched.sure)].tolist()} == {5}


@pytest.mark.parametrize("text", ["auto", "hnsw", "IVF20,SQ8", "PQ6x4"])
def test_nothing_left_to_seal(text: str, tmp_path: Path) -> None:
    form = form_of(text, DIM)
    gone = built(form, (frozen(_vectors(), Metric.L2),), tmp_path)
    gone.kill(np.arange(ROWS), 1)
    empty = built(form, (sealed_source(gone, whole=False),), tmp_path)
    assert (empty.rows_held, len(empty.part()), empty.trained_rows) == (0, 0, 0)
    same = built(form, (sealed_source(gone, whole=False),), tmp_path, base=sealed_source(gone) if text != "auto" else None)
    assert same.rows_held == (ROWS if text != "auto" else 0)


@pytest.mark.parametrize("text", ["IVF20,Flat", "PQ6x4", "HNSW12,SQ8", "hnsw"])
def test_a_build_can_be_stopped_wherever_it_asks(text: str) -> None:
    job = BuildJob(seq=1, form=form_of(text, DIM), base=None, others=(frozen(_vectors(), Metric.L2),))
    questions = 0

    def never() -> bool:
        nonlocal questions
        questions += 1
        return False

    assert job.run(never) is not None
    for at in range(0, questions, max(1, questions // 12)):
        answers = itertools.chain(itertools.repeat(False, at), itertools.repeat(True))
        assert job.run(functools.partial(next, answers)) is None


def test_the_same_sources_give_the_same_index(tmp_path: Path) -> None:
    form = form_of("IVF20,PQ6x4", DIM)
    files = [written(built(form, (frozen(_vectors(), Metric.L2),), tmp_path), tmp_path, name) for name in ("one", "two")]
    for suffix in files[0]:
        assert files[0][suffix].read_bytes() == files[1][suffix].read_bytes(), suffix


def test_a_segment_is_not_seen_before_its_vectors_are_mapped(tmp_path: Path) -> None:
    sealed = BuildJob(seq=1, form=form_of("SQ8", DIM), base=None, others=(frozen(_vectors(), Metric.L2),)).run(bool)
    assert sealed is not None
    with pytest.raises(Internal, match="not mapped yet"):
        sealed.part()
    flat = built(form_of("flat", DIM), (frozen(_vectors(), Metric.L2),), tmp_path)
    with pytest.raises(Internal, match="has no file of vectors"):
        flat.map_vectors(tmp_path / "none")


def test_a_part_bears_the_name_its_segment_has_by_then(tmp_path: Path) -> None:
    segment = built(form_of("flat", DIM), (frozen(_vectors(), Metric.L2),), tmp_path)
    assert (segment.part().key, segment.part().name) == (0, "")
    segment.key, segment.name = 5, "five"
    assert (segment.part().key, segment.part().name) == (5, "five")
    assert segment.part() is segment.part()


def test_files_that_do_not_belong_together_are_data_loss(tmp_path: Path) -> None:
    form = form_of("SQ8", DIM)
    paths = written(built(form, (frozen(_vectors(), Metric.L2),), tmp_path), tmp_path, "long")
    shorter = written(built(form, (frozen(_vectors(ROWS - 1), Metric.L2),), tmp_path), tmp_path, "short")
    for suffix in paths:
        with pytest.raises(DataLoss):
            reloaded(paths | {suffix: shorter[suffix]}, form, np.arange(ROWS))
        if suffix != PAYLOAD_SUFFIX:
            with pytest.raises(DataLoss, match="lacks its"):
                reloaded(
                    {name: path for name, path in paths.items() if name != suffix} | {PAYLOAD_SUFFIX: paths[PAYLOAD_SUFFIX]},
                    form,
                    np.arange(ROWS),
                )
    assert len(reloaded(paths, form, np.arange(ROWS))) == ROWS


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    segment = built(form_of("IVF20,SQ8", DIM), (frozen(_vectors(), Metric.L2),), tmp_path)
    assert len(segment.files()) == 4
    for write in segment.files().values():
        with pytest.raises(OSError, match="No space left"):
            write(Path("/dev/full"))


def test_vectors_in_a_file_are_not_counted_as_memory(tmp_path: Path) -> None:
    exact = built(form_of("flat", DIM), (frozen(_vectors(), Metric.L2),), tmp_path)
    coded = built(form_of("RaBitQ", DIM), (frozen(_vectors(), Metric.L2),), tmp_path)
    assert exact.memory_bytes() - coded.memory_bytes() == ROWS * (4 * DIM - 12)
