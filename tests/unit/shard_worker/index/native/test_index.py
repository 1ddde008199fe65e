"""Test where FAISS does not do what one expects, and that files of indexes that are not used here are refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt
import pytest

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import FLAT, parse_index
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.core.scoring import prepared
from shoal.shard_worker.index.native.index import NativeIndex
from shoal.shard_worker.index.native.kinds import anatomy_of
from shoal.shard_worker.index.native.training import trained_index
from tests.support.worker.made_segments import clustered

faiss: Any = _faiss

Positions = npt.NDArray[np.int64]

DIM = 24
TRAINED = ["HNSW12,SQ8", "HNSW12,PQ6x4", "IVF20,Flat", "IVF20,SQ8", "IVF20,PQ6x4", "IVF20,RaBitQ", "SQ8", "PQ6x4", "RaBitQ"]


@pytest.fixture(autouse=True)
def _alone() -> None:
    faiss.omp_set_num_threads(1)


def _trained(text: str, vectors: Matrix, metric: Metric = Metric.L2) -> NativeIndex:
    native = trained_index(parse_index(text, vectors.shape[1]), vectors, metric, should_stop=bool, ef_construction=40)
    assert native is not None
    return native


def _filled(text: str, vectors: Matrix, metric: Metric = Metric.L2) -> NativeIndex:
    native = _trained(text, vectors, metric)
    native.add(vectors)
    return native


def _shared(found: Positions, wanted: Positions) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), wanted.tolist(), strict=True)]))


def _nearest(vectors: Matrix, queries: Matrix, k: int) -> Positions:
    return np.stack([np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable")[:k] for query in queries])


@pytest.mark.parametrize("metric", list(Metric))
def test_a_graph_of_product_codes_links_the_nearest_under_every_metric(metric: Metric) -> None:
    vectors = np.ascontiguousarray(prepared(clustered(2, 2_500, DIM), metric))
    queries = np.ascontiguousarray(prepared(clustered(3, 40, DIM), metric))
    codes, graph = (_filled(text, vectors, metric).search(queries, 100, 100) for text in ("PQ6x4", "HNSW12,PQ6x4"))
    assert _shared(graph, codes) >= 0.85


def test_what_a_graph_of_product_codes_needs_to_grow_is_dropped_and_made_again() -> None:
    vectors = clustered(2, 1_000, DIM)
    native = _filled("HNSW12,PQ6x4", vectors)
    large = native.memory_bytes()
    native.settle()
    assert large - native.memory_bytes() == 4 * 6 * 16 * 16
    grown = native.clone()
    grown.add(vectors[:10])
    assert (len(grown), len(native)) == (1_010, 1_000)


def test_bits_of_rotated_vectors_tell_more_when_dimensions_differ_in_weight() -> None:
    weights = (np.linspace(0.02, 3, DIM) ** 2).astype(np.float32)
    vectors, queries = clustered(2, 3_000, DIM) * weights, clustered(3, 60, DIM) * weights
    truth = _nearest(vectors, queries, 10)
    plain = faiss.index_factory(DIM, "IVF20,RaBitQ")
    plain.train(vectors)
    plain.add(vectors)
    parameters = faiss.IVFRaBitQSearchParameters(nprobe=20, qb=8)
    found = _filled("IVF20,RaBitQ", vectors).search(queries, 20, 20)
    assert _shared(found, truth) >= _shared(plain.search(queries, 20, params=parameters)[1], truth) + 0.05


@pytest.mark.parametrize("metric", list(Metric))
def test_a_rotation_leaves_rows_in_their_lists(metric: Metric) -> None:
    vectors = np.ascontiguousarray(prepared(clustered(2, 2_000, DIM), metric))
    plain, rotated = (_trained(text, vectors, metric).lists_of(vectors) for text in ("IVF20,Flat", "IVF20,RaBitQ"))
    assert np.mean(plain == rotated) >= 0.99


@pytest.mark.parametrize("dim", [1, 2, 3, 31, 64, 65])
@pytest.mark.parametrize("text", ["hnsw", "IVF4,RaBitQ", "RaBitQ", "IVF4,PQ1x4", "SQ8"])
def test_any_dimension(text: str, dim: int) -> None:
    vectors = clustered(4, 300, dim)
    found = _filled(text, vectors).search(vectors[:5], 300, 300)
    assert np.mean([at in positions for at, positions in enumerate(found.tolist())]) >= 0.8


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("text", TRAINED)
def test_numbers_too_large_for_their_squares_do_no_harm(text: str, metric: Metric, tmp_path: Path) -> None:
    vectors = np.ascontiguousarray(prepared(clustered(5, 400, DIM) * np.float32(1e37), metric))
    native = _filled(text, vectors, metric)
    assert len(native) == 400
    found = native.search(vectors[:3], 20, 20)
    assert ((found >= -1) & (found < 400)).all()
    native.write(tmp_path / "huge")
    assert np.array_equal(NativeIndex.read(tmp_path / "huge", DIM, metric).search(vectors[:3], 20, 20), found)


@pytest.mark.parametrize("text", ["HNSW12,Flat", "HNSW12,SQ8", "IVF20,PQ6x4", "IVF20,RaBitQ", "RaBitQ"])
def test_threads_search_at_different_breadths_without_a_word_to_each_other(text: str) -> None:
    vectors, queries = clustered(2, 2_000, DIM), clustered(3, 20, DIM)
    native = _filled(text, vectors)
    breadths = [1, 3, 10, 20] * 6
    alone = {breadth: native.search(queries, 10, breadth) for breadth in set(breadths)}
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda breadth: native.search(queries, 10, breadth), breadths))
    for breadth, found in zip(breadths, together, strict=True):
        assert np.array_equal(found, alone[breadth]), breadth


@pytest.mark.parametrize("text", ["IVF20,Flat", "IVF20,RaBitQ"])
def test_more_lists_find_more(text: str) -> None:
    vectors, queries = np.random.default_rng(1).random((2_000, DIM)).astype(np.float32), clustered(3, 40, DIM)
    native, truth = _filled(text, vectors), _nearest(vectors, queries, 10)
    recalls = [_shared(native.search(queries, 200, breadth), truth) for breadth in (1, 4, 20, 1_000)]
    assert recalls[0] < recalls[1] < recalls[2] == recalls[3]


@pytest.mark.parametrize("text", ["IVF20,Flat", "IVF20,SQ8", "IVF20,PQ6x4", "IVF20,RaBitQ"])
def test_rows_added_to_known_lists_are_where_they_would_be(text: str) -> None:
    vectors, more, queries = clustered(2, 1_000, DIM), clustered(4, 300, DIM), clustered(3, 30, DIM)
    plain = _filled(text, vectors)
    copied = plain.clone_with_room(plain.lists_of(more))
    assert (len(copied), len(plain)) == (1_000, 1_000)
    assert np.array_equal(copied.search(queries, 50, 5), plain.search(queries, 50, 5))
    copied.add(more[:100], plain.lists_of(more[:100]))
    copied.add(more[100:], plain.lists_of(more[100:]))
    plain.add(more)
    assert len(copied) == len(plain) == 1_300
    assert np.array_equal(copied.search(queries, 50, 5), plain.search(queries, 50, 5))


def test_files_of_other_indexes_are_data_loss(tmp_path: Path) -> None:
    vectors, inner = clustered(2, 1_000, DIM), faiss.METRIC_INNER_PRODUCT
    residual = faiss.index_factory(DIM, "IVF20,SQ8")
    other_rotation = faiss.IndexPreTransform(faiss.HadamardRotation(DIM, 5), faiss.index_factory(32, "RaBitQ"))
    shrunk = faiss.index_factory(DIM, "PCA12,Flat")
    indexes = [
        residual,
        other_rotation,
        shrunk,
        *(
            faiss.index_factory(DIM, text)
            for text in ("LSH", "SQ4", "HNSW12,SQ4", "RaBitQ", "IVF20,RaBitQ4", "IVF20,PQ6x4fs", "NSG12,Flat")
        ),
        faiss.index_factory(DIM, "Flat", faiss.METRIC_L1),
        faiss.index_factory(DIM, "Flat", inner),
        faiss.index_factory(DIM + 1, "Flat"),
        faiss.index_factory(DIM, "SQ8"),
    ]
    for number, index in enumerate(indexes):
        if index.d == DIM and number < len(indexes) - 1:
            index.train(vectors)
        path = tmp_path / str(number)
        faiss.write_index(index, str(path))
        with pytest.raises(DataLoss, match="is wanted"):
            NativeIndex.read(path, DIM, Metric.L2)
    (tmp_path / "junk").write_bytes(b"no index")
    with pytest.raises(DataLoss, match="cannot be read"):
        NativeIndex.read(tmp_path / "junk", DIM, Metric.L2)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("text", ["flat", "HNSW12,Flat", *TRAINED])
def test_what_is_made_is_recognised(text: str, metric: Metric) -> None:
    spec, vectors = parse_index(text, DIM), np.ascontiguousarray(prepared(clustered(2, 400, DIM), metric))
    native = _trained(text, vectors, metric) if spec.trained else NativeIndex.empty(spec, DIM, metric)
    assert native.spec == spec
    assert native.clone().spec == spec
    assert native.label == text


def test_vectors_are_given_where_they_lie_in_order() -> None:
    vectors = clustered(2, 300, DIM)
    flat = NativeIndex.empty(FLAT, DIM, Metric.L2)
    flat.add(vectors)
    assert np.array_equal(flat.vectors(), vectors)
    assert not flat.vectors().flags.writeable
    assert NativeIndex.empty(FLAT, DIM, Metric.L2).vectors().shape == (0, DIM)
    with pytest.raises(Internal, match="does not hold its vectors"):
        _filled("IVF20,Flat", vectors).vectors()


def test_what_faiss_refuses_is_a_defect() -> None:
    with pytest.raises(Internal, match="no index that is used here"):
        NativeIndex(faiss.IndexLSH(DIM, 8))
    assert anatomy_of(faiss.IndexLSH(DIM, 8)) is None
    untrained = NativeIndex.empty(parse_index("SQ8", DIM), DIM, Metric.L2)
    with pytest.raises(Internal, match="faiss could not add"):
        untrained.add(clustered(2, 10, DIM))


def test_a_graph_under_inner_products_keeps_links_to_short_rows_also_where_it_was_extended(tmp_path):
    """The rows differ in length, and the queries point in any direction. A graph without all its links finds only half
    of the best rows, at any breadth.
    """
    rng = np.random.default_rng(1)
    vectors = (np.abs(rng.standard_normal((4_000, DIM))) * rng.lognormal(0, 1, (4_000, 1))).astype(np.float32)
    native = NativeIndex.empty(parse_index("hnsw", DIM), DIM, Metric.IP)
    native.add(vectors[:500])
    native.write(tmp_path / "graph")
    extended = NativeIndex.read(tmp_path / "graph", DIM, Metric.IP).clone()
    extended.add(vectors[500:])
    queries = rng.standard_normal((200, DIM)).astype(np.float32)
    best = np.sort(queries @ vectors.T, axis=1)[:, -10]
    found = extended.search(queries, 10, 64)
    scores = np.einsum("qd,qfd->qf", queries, vectors[found])
    share = (scores >= best[:, None] - 1e-4).mean()
    assert share >= 0.75
