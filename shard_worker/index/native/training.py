"""Training: make an empty index that has learnt its centroids and codes from a sample of prepared vectors.

Every loop that may be long calls `should_stop` about ten times a second. Only one pass over the sample cannot be
interrupted: the range of each dimension, or its mean. The sample is bounded (IndexSpec.training_rows); a pass takes 0.2
s for 256 MiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss as _faiss
import numpy as np

from shoal.core.errors import Internal
from shoal.core.index_spec import Codec, IndexFamily, IndexSpec
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.clusters import centroids_of
from shoal.shard_worker.index.native.index import EF_CONSTRUCTION, NativeIndex, metric_type
from shoal.shard_worker.index.native.kinds import Anatomy, allow_growth, anatomy_of, empty_index, keep_links

faiss: Any = _faiss
"""FAISS without types: its type stubs lack half of what is used here."""

_LIST_ROUNDS = 6
_CODE_ROUNDS = 15
_SEED = 20_260


def trained_index(
    spec: IndexSpec,
    sample: Matrix,
    metric: Metric,
    *,
    should_stop: Callable[[], bool],
    ef_construction: int = EF_CONSTRUCTION,
) -> NativeIndex | None:
    """Return an empty index that can take rows; None as soon as should_stop().

    spec: all numbers filled in; sample: (n, dim) float32, contiguous, prepared, with at least as many rows as there are
    centroids. Raises Internal when FAISS refuses.
    """
    index = empty_index(spec, sample.shape[1], metric_type(metric), ef_construction)
    anatomy = anatomy_of(index)
    if anatomy is None:
        raise Internal(f"{type(index).__name__}, made for {spec.text}, is no index that is used here")
    try:
        if spec.family is IndexFamily.IVF and not _learn_lists(anatomy, sample, metric, should_stop):
            return None
        if not _learn_codes(anatomy, sample, should_stop):
            return None
    except RuntimeError as error:
        raise Internal(f"faiss could not train {spec.text} on {len(sample)} rows: {error}") from error
    anatomy.core.is_trained = index.is_trained = True
    allow_growth(anatomy, True)
    keep_links(anatomy, metric)
    return NativeIndex(index)


def _learn_lists(anatomy: Anatomy, sample: Matrix, metric: Metric, should_stop: Callable[[], bool]) -> bool:
    """Find the centroids of the lists. Return False when should_stop() interrupts."""
    spherical = metric is not Metric.L2
    nlist = anatomy.spec.nlist
    centroids = centroids_of(sample, nlist, spherical=spherical, rounds=_LIST_ROUNDS, seed=_SEED, should_stop=should_stop)
    if centroids is None:
        return False
    # A rotation keeps distances and means. So the centroids are rotated, not the whole sample.
    anatomy.quantizer.add(centroids if anatomy.rotation is None else anatomy.rotation.apply(centroids))
    return True


def _learn_codes(anatomy: Anatomy, sample: Matrix, should_stop: Callable[[], bool]) -> bool:
    """Learn how rows are coded. Return False when should_stop() interrupts."""
    match anatomy.spec.codec:
        case Codec.PQ:
            book = _code_book(anatomy.spec, sample, should_stop)
            if book is None:
                return False
            holder = anatomy.core if anatomy.storage is None else anatomy.storage
            faiss.copy_array_to_vector(book, holder.pq.centroids)
            holder.is_trained = True
        case Codec.SQ8:
            anatomy.core.train(sample)
        case Codec.RABITQ if anatomy.storage is not None:
            anatomy.core.train(anatomy.rotation.apply(sample.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)))
        case _:
            # Plain vectors need nothing, and RaBitQ in lists uses the centroids as means.
            pass
    return True


def _code_book(spec: IndexSpec, sample: Matrix, should_stop: Callable[[], bool]) -> Matrix | None:
    """Return the centroids of all sub-vectors, one sub-vector after the other, flat as FAISS keeps them: (dim << bits,)
    float32."""
    width = sample.shape[1] // spec.pq_m
    books = []
    for number in range(spec.pq_m):
        part = np.ascontiguousarray(sample[:, number * width : (number + 1) * width])
        book = centroids_of(part, 1 << spec.pq_bits, spherical=False, rounds=_CODE_ROUNDS, seed=_SEED + number, should_stop=should_stop)
        if book is None:
            return None
        books.append(book.ravel())
    return np.concatenate(books)
