"""The FAISS index of a sealed segment. This class alone holds FAISS objects of rows, and FAISS exceptions are re-typed
here.

An index that is being searched is never changed: it grows only before it is published, or as a copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from shoal.core.errors import DataLoss, Internal
from shoal.core.index_spec import Codec, IndexFamily, IndexSpec
from shoal.core.metric import Metric
from shoal.core.points import Matrix
from shoal.shard_worker.index.native.huge_pages import use_huge_pages
from shoal.shard_worker.index.native.kinds import (
    READ_FLAGS,
    allow_growth,
    anatomy_of,
    empty_index,
    fixed_bytes,
    keep_links,
    learn_from,
    link_bytes,
    random_read,
    row_bytes,
    search_parameters,
)

faiss: Any = _faiss
"""FAISS without types: its type stubs lack half of what is used here."""

_WRITE_BYTES = 1 << 20

EF_CONSTRUCTION = 128

Packed = npt.NDArray[np.uint8]
"""An index as bytes (n,), the same bytes that `write` writes."""


class NativeIndex:
    """One FAISS index over prepared vectors; a row's position is its number in order of addition.

    spec: its kind, all numbers filled in; label: the spelling of spec; is_graph: searched by a graph; quantised: codes
    are lossy, so it pays to fetch more rows than wanted and compare their vectors; has_lists: rows lie in inverted
    lists; holds_vectors: `vectors` works; extendable: a copy can take in more rows for less than building anew;
    breadth_name: name of the breadth of a search, "" where breadth has no meaning.
    """

    def __init__(self, index: Any) -> None:
        anatomy = anatomy_of(index)
        if anatomy is None:
            raise Internal(f"{type(index).__name__} is no index that is used here")
        self._index = index
        self._anatomy = anatomy
        spec = anatomy.spec
        self.spec = spec
        self.label = spec.text
        self.is_graph = spec.family is IndexFamily.HNSW
        self.has_lists = spec.family is IndexFamily.IVF
        self.quantised = spec.quantised
        self.holds_vectors = spec.holds_vectors
        self.extendable = spec.family is not IndexFamily.FLAT
        self.breadth_name = "ef" if self.is_graph else "nprobe" if self.has_lists else ""

    @classmethod
    def empty(cls, spec: IndexSpec, dim: int, metric: Metric, *, ef_construction: int = EF_CONSTRUCTION) -> NativeIndex:
        """Return an index without rows, of a kind that needs no training; see training.py for the others.

        spec: all numbers filled in.
        """
        made = cls(empty_index(spec, dim, metric_type(metric), ef_construction))
        keep_links(made._anatomy, metric)
        return made

    @classmethod
    def read(cls, path: Path, dim: int, metric: Metric) -> NativeIndex:
        """Read the index from a file whose hash the caller has verified.

        Raises DataLoss when it is not an index for (dim, metric).
        """
        return cls._read(str(path), f"index file {path.name}", dim, metric)

    @classmethod
    def unpack(cls, packed: Packed, dim: int, metric: Metric) -> NativeIndex:
        """Return the index in bytes (n,) whose hash the caller has verified. The bytes are not needed afterwards.

        Raises DataLoss as read does.
        """
        view, done = packed.data, 0

        def give(size: int) -> bytes:
            nonlocal done
            done += size
            return bytes(view[done - size : done])

        return cls._read(faiss.PyCallbackIOReader(give, _WRITE_BYTES), "packed index", dim, metric)

    @classmethod
    def _read(cls, source: Any, name: str, dim: int, metric: Metric) -> NativeIndex:
        try:
            index = faiss.read_index(source, READ_FLAGS)
        except RuntimeError as error:
            raise DataLoss(f"{name} cannot be read: {error}") from error
        if anatomy_of(index) is None or (index.d, index.metric_type) != (dim, metric_type(metric)) or not index.is_trained:
            kind = type(index).__name__
            raise DataLoss(f"{name} holds {kind} of dimension {index.d} where dimension {dim}, metric {metric} is wanted")
        held = cls(index)
        keep_links(held._anatomy, metric)
        held._use_huge_pages()
        return held

    def __len__(self) -> int:
        return int(self._anatomy.core.ntotal)

    @property
    def max_breadth(self) -> int:
        """Return the breadth beyond which a search finds nothing more."""
        return self.spec.nlist if self.has_lists else len(self)

    def search(self, queries: Matrix, fetch: int, breadth: int) -> npt.NDArray[np.int64]:
        """Return the positions of about the `fetch` nearest rows of each query. (nq, fetch).

        Best first, by what the index keeps of the rows; -1 where it found fewer. Any thread may call it, several at a
        time. queries: (nq, dim) float32, contiguous, prepared; breadth: see breadth_name, at least 1 (ef: at least
        `fetch` is used).
        """
        count = len(queries)
        labels: npt.NDArray[np.int64] = np.empty((count, fetch), dtype=np.int64)
        distances = np.empty((count, fetch), dtype=np.float32)
        pointer = faiss.swig_ptr
        try:
            self._index.search_c(count, pointer(queries), fetch, pointer(distances), pointer(labels), search_parameters(self.spec, breadth))
        except RuntimeError as error:
            _fail("search", error)
        return labels

    def add(self, vectors: Matrix, lists: npt.NDArray[np.int64] | None = None) -> None:
        """Append vectors (n, dim) float32, with the calling thread's number of OpenMP threads. Never during a search of
        it.

        lists: (n,) the result of lists_of for them, if the index has lists and the caller knows it.
        """
        block = np.ascontiguousarray(vectors, dtype=np.float32)
        try:
            if lists is None:
                self._index.add(block)
                return
            inside = self._inside(block)
            core, pointer = self._anatomy.core, faiss.swig_ptr
            core.add_core(len(inside), pointer(inside), None, pointer(lists))
            self._index.ntotal = core.ntotal
        except RuntimeError as error:
            _fail("add", error)

    def lists_of(self, vectors: Matrix) -> npt.NDArray[np.int64]:
        """Return the inverted list that each of vectors (n, dim) belongs to. (n,). Safe during searches."""
        try:
            found = self._anatomy.quantizer.search(self._inside(np.ascontiguousarray(vectors, dtype=np.float32)), 1)[1]
        except RuntimeError as error:
            _fail("assign", error)
        # Where distances overflow there is no nearest list (-1). But a row must lie in a list to be found at all.
        lists: npt.NDArray[np.int64] = np.maximum(found[:, 0], 0)
        return lists

    def clone(self) -> NativeIndex:
        """Return a copy that may grow while this index is searched."""
        try:
            copied = NativeIndex(faiss.clone_index(self._index))
            allow_growth(copied._anatomy, True)
        except RuntimeError as error:
            _fail("clone", error)
        return copied

    def clone_with_room(self, lists: npt.NDArray[np.int64]) -> NativeIndex:
        """Return a copy of an index with lists, with exactly the room for rows that will be added to `lists` (n,).

        Without this, a list that grows reserves twice the room that it needs.
        """
        mine, spec = self._anatomy, self.spec
        kept = len(self)
        sizes = np.bincount(lists, minlength=spec.nlist).tolist()
        try:
            copied = NativeIndex(empty_index(spec, int(self._index.d), int(self._index.metric_type), 0))
            room = copied._anatomy.lists
            for number, size in enumerate(sizes):
                room.resize(number, int(mine.lists.list_size(number)) + size)
                room.resize(number, 0)
            learn_from(copied._anatomy, mine)
            mine.core.copy_subset_to(copied._anatomy.core, faiss.InvertedLists.SUBSET_TYPE_ID_RANGE, 0, kept)
        except RuntimeError as error:
            _fail("copy", error)
        copied._index.is_trained = True
        copied._index.ntotal = kept
        return copied

    def settle(self) -> None:
        """Drop what only additions need, and prepare the rest for searches. Call it before the index is published."""
        allow_growth(self._anatomy, False)
        self._use_huge_pages()

    def resume(self) -> None:
        """Make again what additions need, for an index that was settled and is not being searched."""
        allow_growth(self._anatomy, True)

    def vectors(self) -> Matrix:
        """Return all vectors (n, dim) float32, without a copy and read-only; valid as long as nothing is added.

        Raises Internal unless holds_vectors.
        """
        if not self.holds_vectors:
            raise Internal(f"an index {self.label} does not hold its vectors")
        count, dim = len(self), int(self._index.d)
        if count == 0:
            return np.empty((0, dim), dtype=np.float32)
        address = faiss.rev_swig_ptr(self._anatomy.storage.get_xb(), count * dim).ctypes.data
        return np.asarray(_Owned(self._index, address, (count, dim)))

    def code_range(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """Return (low, width), both (dim,), of the values that a graph over bytes can hold; None for other kinds."""
        if not (self.is_graph and self.spec.codec is Codec.SQ8):
            return None
        learnt: npt.NDArray[np.float32] = faiss.vector_to_array(self._anatomy.storage.sq.trained)
        low, width = learnt.reshape(2, -1)
        return low, width

    def memory_bytes(self) -> int:
        """Return the memory it holds: vectors or codes, links, lists, tables."""
        return row_bytes(self._anatomy) + link_bytes(self._anatomy) + fixed_bytes(self._anatomy)

    def write(self, path: Path) -> None:
        """Write the index to `path`. It is not durable until the caller syncs the file. Raises OSError of the file."""
        with path.open("wb") as file:
            try:
                # FAISS's own writer reports a full disk only to stderr, when the file is closed.
                faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write, _WRITE_BYTES))
            except RuntimeError as error:
                _fail("write", error)

    def packed(self) -> Packed:
        """Return a copy of the index as bytes (n,). Safe during searches."""
        held = bytearray()

        def take(part: bytes) -> int:
            held.extend(part)
            return len(part)

        try:
            faiss.write_index(self._index, faiss.PyCallbackIOWriter(take, _WRITE_BYTES))
        except RuntimeError as error:
            _fail("pack", error)
        return np.frombuffer(held, dtype=np.uint8)

    def _use_huge_pages(self) -> None:
        for held in random_read(self._anatomy):
            if held.size():
                use_huge_pages(faiss.rev_swig_ptr(held.data(), 1).ctypes.data, int(held.byte_size()))

    def _inside(self, vectors: Matrix) -> Matrix:
        """Return the vectors as the innermost index sees them."""
        rotation = self._anatomy.rotation
        if rotation is None:
            return vectors
        rotated: Matrix = rotation.apply(vectors)
        return rotated


def metric_type(metric: Metric) -> int:
    """Return FAISS's number for the comparison of prepared vectors."""
    kind: int = faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT
    return kind


class _Owned:
    """Memory inside a FAISS index, for use as an array.

    numpy keeps this object, and so the index, as long as the array lives.
    """

    def __init__(self, index: Any, address: int, shape: tuple[int, int]) -> None:
        self._index = index
        self.__array_interface__ = {"data": (address, True), "shape": shape, "typestr": "<f4", "version": 3}


def squared_distances(query: npt.NDArray[np.float32], rows: Matrix, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """Return the squared distances of rows (n, dim) from query (dim,), both contiguous. (n,).

    The relative error of each is at most about dim roundings. out: (n,) contiguous, where to put them.
    """
    return _one_by_one(faiss.fvec_L2sqr_ny, query, rows, out)


def inner_products(query: npt.NDArray[np.float32], rows: Matrix, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """Return the inner products of rows (n, dim) with query (dim,), both contiguous. (n,). out: as above."""
    return _one_by_one(faiss.fvec_inner_products_ny, query, rows, out)


def _one_by_one(kernel: Any, query: npt.NDArray[np.float32], rows: Matrix, out: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    count, dim = rows.shape
    if out is None:
        out = np.empty(count, dtype=np.float32)
    pointer = faiss.swig_ptr
    kernel(pointer(out), pointer(query), pointer(rows), dim, count)
    return out


def _fail(verb: str, error: RuntimeError) -> NoReturn:
    raise Internal(f"faiss could not {verb}: {error}") from error
