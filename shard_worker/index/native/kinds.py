"""The kinds of FAISS index in use: how to make, recognise and search each, and how much memory it takes.

RaBitQ keeps the sign of every dimension. This works well only when all dimensions matter equally, so vectors are
rotated first. (Fashion-MNIST, 20,000 rows: 73% of the true ten nearest are among the best 20 without rotation, 99.6%
with it.) Product quantisers and bytes code the vectors, not the residuals in their list. Here the recall is the same,
and FAISS needs no table for every list and half the time (Fashion-MNIST, IVF128,PQ98, nprobe 32: 331 us instead of 759
us a query).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import faiss as _faiss
import numpy as np

from shoal.core.index_spec import FLAT, LIST_BYTES, Codec, IndexFamily, IndexSpec, inner_dim
from shoal.core.metric import Metric

faiss: Any = _faiss
"""FAISS without types: its type stubs lack half of what is used here."""

READ_FLAGS = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE | faiss.IO_FLAG_PQ_SKIP_SDC_TABLE
"""Do not make tables when an index is read that only additions or residual codes need."""

_ROTATION_SEED = 1_234
"""Part of the file format: an extended copy of an index makes its rotation again from this seed."""

_RABITQ_QUERY_BITS = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Anatomy:
    """The parts of a FAISS index.

    core: holds the rows; storage: holds their vectors or codes, None for inverted lists; rotation: applied to vectors
    before, None for none.
    """

    spec: IndexSpec
    core: Any
    storage: Any
    rotation: Any

    @property
    def quantizer(self) -> Any:
        """Return the index over the centroids of inverted lists."""
        return faiss.downcast_index(self.core.quantizer)

    @property
    def lists(self) -> Any:
        """Return the inverted lists."""
        return faiss.downcast_InvertedLists(self.core.invlists)


def empty_index(spec: IndexSpec, dim: int, metric_type: int, ef_construction: int) -> Any:
    """Return an empty FAISS index, untrained when its kind needs training. spec: all numbers filled in."""
    inside = inner_dim(spec, dim)
    if (spec.family, spec.codec) == (IndexFamily.HNSW, Codec.PQ):
        # FAISS's factory ignores the metric for this kind.
        index = faiss.IndexHNSWPQ(dim, spec.pq_m, spec.m, spec.pq_bits, metric_type)
    else:
        index = faiss.index_factory(inside, "Flat" if spec.family is IndexFamily.FLAT else spec.text, metric_type)
    if spec.family is IndexFamily.HNSW:
        index.hnsw.efConstruction = ef_construction
    if spec.family is IndexFamily.IVF and spec.codec in (Codec.SQ8, Codec.PQ):
        index.by_residual = False
    if spec.codec is Codec.RABITQ:
        return faiss.IndexPreTransform(faiss.HadamardRotation(dim, _ROTATION_SEED), index)
    return index


def anatomy_of(index: Any) -> Anatomy | None:
    """Return the parts of `index`; None when it is of no kind that is made here."""
    core, rotation = faiss.downcast_index(index), None
    if isinstance(core, faiss.IndexPreTransform):
        rotation = faiss.downcast_VectorTransform(core.chain.at(0)) if core.chain.size() == 1 else None
        core = faiss.downcast_index(core.index)
        if not isinstance(rotation, faiss.HadamardRotation) or rotation.seed != _ROTATION_SEED:
            return None
    spec = _spec_of(core)
    if spec is None or (spec.codec is Codec.RABITQ) != (rotation is not None):
        return None
    storage = core
    if spec.family is IndexFamily.HNSW:
        storage = faiss.downcast_index(core.storage)
    return Anatomy(spec=spec, core=core, storage=None if spec.family is IndexFamily.IVF else storage, rotation=rotation)


def keep_links(anatomy: Anatomy, metric: Metric) -> None:
    """Let each row keep all the links it has room for, when rows are inserted by inner products of uneven lengths.

    Long rows are near to everything. FAISS drops a link to a row that is nearer to another link, and this rule then
    leaves two or three links a row. (Fashion-MNIST under ip, 20,000 rows, recall@10 at ef 64: 0.61 without, 0.98 with
    all links; at ef 16: 0.53 and 0.78.) The setting is not in the file: set it again for each index that is to grow.
    """
    if metric is Metric.IP and anatomy.spec.family is IndexFamily.HNSW:
        anatomy.core.keep_max_size_level0 = True


def search_parameters(spec: IndexSpec, breadth: int) -> Any:
    """Return the FAISS parameters of a search of this breadth; None where breadth has no meaning."""
    return _parameters(spec.family, spec.codec, breadth if spec.family in (IndexFamily.HNSW, IndexFamily.IVF) else 0)


def fixed_bytes(anatomy: Anatomy) -> int:
    """Return the memory that does not grow with the rows: centroids, code books, heads of lists."""
    spec, core = anatomy.spec, anatomy.core
    held = 0
    if spec.family is IndexFamily.IVF:
        held += int(core.nlist) * (4 * int(core.d) + LIST_BYTES)
    if spec.codec is Codec.PQ:
        pq = _pq_of(anatomy)
        held += 4 * int(pq.centroids.size() + pq.sdc_table.size())
    return held


def row_bytes(anatomy: Anatomy) -> int:
    """Return the memory of the vectors or codes of all rows, and of their numbers in lists."""
    core = anatomy.core
    if anatomy.storage is None:
        return int(core.ntotal) * (int(core.code_size) + 8)
    return int(anatomy.storage.codes.size())


def random_read(anatomy: Anatomy) -> tuple[Any, ...]:
    """Return the vectors of FAISS that a search reads at random places: the rows and the links of a graph."""
    if anatomy.spec.family is not IndexFamily.HNSW:
        return ()
    return anatomy.storage.codes, anatomy.core.hnsw.neighbors


def link_bytes(anatomy: Anatomy) -> int:
    """Return the memory of a graph in addition to its rows."""
    if anatomy.spec.family is not IndexFamily.HNSW:
        return 0
    hnsw = anatomy.core.hnsw
    return int(hnsw.neighbors.size() * 4 + hnsw.levels.size() * 4 + hnsw.offsets.size() * 8)


def allow_growth(anatomy: Anatomy, allowed: bool) -> None:
    """Make, or drop, the table of distances between codes that insertion into a graph of product codes needs.

    FAISS makes a table of squared distances for every metric. With inner products its graph then links the farthest
    rows (8,000 clustered rows, ef 64: 75% of the best codes found instead of 99.7%). So the table is replaced by inner
    products.
    """
    if (anatomy.spec.family, anatomy.spec.codec) != (IndexFamily.HNSW, Codec.PQ):
        return
    pq = anatomy.storage.pq
    if not allowed:
        pq.sdc_table.clear()
    elif not pq.sdc_table.size():
        pq.compute_sdc_table()
        if anatomy.core.metric_type == faiss.METRIC_INNER_PRODUCT:
            books = faiss.vector_to_array(pq.centroids).reshape(pq.M, pq.ksub, pq.dsub)
            with np.errstate(over="ignore", invalid="ignore"):
                products = np.matmul(books, books.transpose(0, 2, 1))
            faiss.copy_array_to_vector(products.ravel(), pq.sdc_table)


def learn_from(empty: Anatomy, trained: Anatomy) -> None:
    """Copy the centroids and codes of a trained index with inverted lists into an empty one."""
    centroids = trained.quantizer
    empty.quantizer.add(faiss.rev_swig_ptr(centroids.get_xb(), centroids.ntotal * centroids.d).reshape(-1, centroids.d))
    if trained.spec.codec is Codec.PQ:
        faiss.copy_array_to_vector(faiss.vector_to_array(trained.core.pq.centroids), empty.core.pq.centroids)
    if trained.spec.codec is Codec.SQ8:
        faiss.copy_array_to_vector(faiss.vector_to_array(trained.core.sq.trained), empty.core.sq.trained)
    empty.core.is_trained = True


def _pq_of(anatomy: Anatomy) -> Any:
    return anatomy.core.pq if anatomy.storage is None else anatomy.storage.pq


@functools.lru_cache(maxsize=1024)
def _parameters(family: IndexFamily, codec: Codec, breadth: int) -> Any:
    rabitq = codec is Codec.RABITQ
    match family:
        case IndexFamily.HNSW:
            return faiss.SearchParametersHNSW(efSearch=breadth)
        case IndexFamily.IVF if rabitq:
            return _rotated(faiss.IVFRaBitQSearchParameters(nprobe=breadth, qb=_RABITQ_QUERY_BITS))
        case IndexFamily.IVF:
            return faiss.SearchParametersIVF(nprobe=breadth)
        case IndexFamily.CODES if rabitq:
            return _rotated(faiss.RaBitQSearchParameters(qb=_RABITQ_QUERY_BITS))
        case _:
            return None


def _rotated(parameters: Any) -> Any:
    return faiss.SearchParametersPreTransform(index_params=parameters)


def _spec_of(core: Any) -> IndexSpec | None:
    """Return the spec of a FAISS index; None when it is of no kind that is made here."""
    codec = _codec_of(core)
    if codec is None:
        return None
    pq = {}
    if codec is Codec.PQ:
        quantiser = faiss.downcast_index(core.storage).pq if isinstance(core, faiss.IndexHNSW) else core.pq
        pq = {"pq_m": int(quantiser.M), "pq_bits": int(quantiser.nbits)}
    if isinstance(core, faiss.IndexHNSW):
        return IndexSpec(family=IndexFamily.HNSW, codec=codec, m=int(core.hnsw.nb_neighbors(1)), **pq)
    if isinstance(core, faiss.IndexIVF):
        return IndexSpec(family=IndexFamily.IVF, codec=codec, nlist=int(core.nlist), **pq)
    return FLAT if codec is Codec.FLAT else IndexSpec(family=IndexFamily.CODES, codec=codec, **pq)


def _codec_of(core: Any) -> Codec | None:
    """Return how the index keeps a row. The exact type counts: FAISS has derived classes that answer differently."""
    kinds = {
        Codec.FLAT: (faiss.IndexFlat, faiss.IndexFlatL2, faiss.IndexFlatIP, faiss.IndexHNSWFlat, faiss.IndexIVFFlat),
        Codec.SQ8: (faiss.IndexScalarQuantizer, faiss.IndexHNSWSQ, faiss.IndexIVFScalarQuantizer),
        Codec.PQ: (faiss.IndexPQ, faiss.IndexHNSWPQ, faiss.IndexIVFPQ),
        Codec.RABITQ: (faiss.IndexRaBitQ, faiss.IndexIVFRaBitQ),
    }
    codec = next((codec for codec, types in kinds.items() if type(core) in types), None)
    storage = faiss.downcast_index(core.storage) if isinstance(core, faiss.IndexHNSW) else core
    match codec:
        case Codec.SQ8 if storage.sq.qtype != faiss.ScalarQuantizer.QT_8bit:
            return None
        case Codec.SQ8 | Codec.PQ if isinstance(core, faiss.IndexIVF) and core.by_residual:
            return None
        case Codec.RABITQ if core.rabitq.nb_bits != 1:
            return None
    return codec
