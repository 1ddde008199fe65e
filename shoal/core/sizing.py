"""Estimate the memory and disk of points before they exist. Pure; used by `shoal size` and by the accounting of
workers.

Figures for the store follow from its file format, figures for indexes from shoal.core.index_spec; the rest was
measured. They hold within 20 % for collections of at least some ten thousand points. The payload index depends on the
payloads: 0.02 to 1.3 of their size as JSON was measured, and 1.0 is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.index_spec import CODED_DIM, FLAT, IndexFamily, IndexSpec, build_bytes, parse_index, vector_bytes
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.named_vectors import NamedVector, packed_dim

KIB = 1024
MIB = 1024 * KIB

MOST_POINTS = 10**12
"""Most points of an estimate: far more than any cluster holds, and few enough that floats are exact to a byte per
row.
"""

_SHOWN_CHARACTERS = 24

REPLICA_BASE_BYTES = 320 * KIB
"""A replica without points whose files are closed: 290 KiB were measured, over 1,000 of them on one worker."""

CONNECTION_BYTES = 96 * KIB
"""A connection to an open store, without its cache."""

WRITER_CACHE_BYTES = 16 * MIB
READER_CACHE_BYTES = 2 * MIB
READERS = 4

_STORE_FILES = 2
"""Files of each connection of a store: the store itself, and its write-ahead log."""

FILES_AT_REST = 2
"""Files of a replica that is not used: those of mapped vectors. Its log and its store are closed."""

_SHARED_FILES = 2
"""Further files of a replica: its log, and the memory map that the connections of its store share."""

ROW_COLUMNS_BYTES = 28
"""Bytes of a row in any segment: row number, seq of its deletion and id (8 each), and the square of its length (4)."""

_GROWING_CODES_DIM = 64
"""From this dimension on, a growing segment has a byte a dimension beside its vectors: searches are faster by them."""

FIRST_ROWS = 256
"""Rows for which a new growing segment allocates arrays."""

_FLAT_ROWS = 4_000
"""Index "auto" compares all rows of segments with fewer rows than this, and builds a graph for larger ones."""

_STRING_BYTES = 49
"""A Python string without its characters. Memory is allocated in units of 16 bytes."""

_BUILD_BLOCK_BYTES = 16 * MIB
"""Blocks of rows in transfer during a build."""

INDEXED_TEXT_RATIO = 2.0
"""Size of the index of texts as a multiple of their size: 1.1 to 1.8 for English, 1.7 to 2.6 for Chinese."""

TEXT_BUILD_BYTES = 64 * MIB
"""Most memory that the index of texts takes while it is merged or made anew; the result is mapped from its file."""

_PAGE_BYTES = 16_384
EMPTY_STORE_BYTES = 8 * _PAGE_BYTES
"""The store of a replica without points: a page for each table and index."""

_CELL_BYTES = 38
"""Header, integers and checksums of a row in the store."""

_LOG_OVERHEAD_BYTES = 12
_LOG_BYTES = 192 * MIB
"""Most bytes of a busy replica's log and the store's write-ahead log together.

Each is trimmed at 64 MiB, the log by whole files.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaSize:
    """Bytes of one replica.

    Memory: index (vectors or codes, links, lists; both vectors and codes where an automatic graph is searched by codes,
    although these vectors are mapped from a file), tables (row numbers, deletions, lengths), ids (texts of string ids),
    payloads (their index), growing (the segment that takes new rows, with room to grow), base (caches of the store,
    threads); build: in addition, while everything is merged into one segment. Disk: store, log, segments; merge: in
    addition, while segments are merged. files: most files that it has open while it is used.
    """

    points: int
    index: int
    tables: int
    ids: int
    payloads: int
    growing: int
    base: int
    build: int
    store: int
    log: int
    segments: int
    merge: int
    files: int = 0

    @property
    def memory(self) -> int:
        """Return the bytes of memory in the steady state."""
        return self.index + self.tables + self.ids + self.payloads + self.growing + self.base

    @property
    def disk(self) -> int:
        """Return the bytes on disk in the steady state."""
        return self.store + self.log + self.segments


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeEstimate:
    """The size of a collection. replica: the largest of its replicas; replicas: their number, over all shards."""

    replica: ReplicaSize
    replicas: int

    @property
    def memory(self) -> int:
        """Return the bytes of memory of all replicas in the steady state."""
        return self.replicas * self.replica.memory

    @property
    def disk(self) -> int:
        """Return the bytes on disk of all replicas in the steady state."""
        return self.replicas * self.replica.disk

    @property
    def files(self) -> int:
        """Return the most files that all replicas have open while all are used."""
        return self.replicas * self.replica.files


@dataclass(frozen=True, kw_only=True, slots=True)
class _IndexSize:
    """Bytes of one index of a replica. See ReplicaSize; segments are without texts."""

    index: int
    tables: int
    ids: int
    payloads: int
    growing: int
    build: int
    segments: int


def size_of(
    *,
    points: int,
    dim: int = 0,
    index: str = "auto",
    payload_bytes: float = 0,
    id_bytes: float = 0,
    text_bytes: float = 0,
    shards: int = 1,
    replicas: int = 1,
    growing_rows: int = 10_000,
    vectors: Sequence[NamedVector] = (),
) -> SizeEstimate:
    """Return the memory and disk of a collection of `points` points in `shards` shards of `replicas` replicas each.

    index: as in CollectionSpec; payload_bytes: mean size of a payload as JSON, 0 for none; id_bytes: mean size of a
    string id, 0 for integers; text_bytes: mean size of the texts of its text fields, a part of the payload, 0 without
    text fields; growing_rows: see the worker's settings; vectors: named ones instead of dim and index, checked, which
    all points have: there is an index for each, and one for the points. Raises InvalidArgument for a number out of
    range.
    """
    _check_bounds("points", points, 0, MOST_POINTS)
    if not vectors:
        _check_bounds("dim", dim, 1, DEFAULT_LIMITS.dim)
    _check_bounds("shards", shards, 1, DEFAULT_LIMITS.shards)
    _check_bounds("replicas", replicas, 1, DEFAULT_LIMITS.replicas)
    _check_bounds("payload_bytes", payload_bytes, 0, DEFAULT_LIMITS.payload_bytes)
    _check_bounds("id_bytes", id_bytes, 0, DEFAULT_LIMITS.id_bytes)
    _check_bounds("text_bytes", text_bytes, 0, DEFAULT_LIMITS.payload_bytes)
    rows = -(-points // shards)
    growing = min(growing_rows, max(rows, FIRST_ROWS))
    # The "vectors" of the index of the points are the first number of their rows.
    indexed = [("flat", 1), *((each.index, each.dim) for each in vectors)] if vectors else [(index, dim)]
    indexes = [_index_size(index, dim, rows, growing, payload_bytes, id_bytes) for index, dim in indexed]
    stored_dim = packed_dim(vectors) if vectors else dim
    store = store_bytes(rows, stored_dim, payload_bytes, id_bytes)
    indexed_texts = round(rows * text_bytes * INDEXED_TEXT_RATIO)
    # Texts lie beside the first index. Indexes are built and merged one at a time.
    with_texts = [indexed_texts, *[0] * len(vectors)]
    replica = ReplicaSize(
        points=rows,
        index=sum(each.index for each in indexes),
        tables=sum(each.tables for each in indexes),
        ids=sum(each.ids for each in indexes),
        payloads=sum(each.payloads for each in indexes),
        growing=sum(each.growing for each in indexes) + round(text_bytes * INDEXED_TEXT_RATIO * min(growing, rows)),
        base=REPLICA_BASE_BYTES + open_store_bytes(store),
        build=max(each.build + text_build_bytes(texts) for each, texts in zip(indexes, with_texts, strict=True)),
        store=store,
        log=round(min(_LOG_BYTES, rows * (4 * stored_dim + payload_bytes + (id_bytes or 8) + _LOG_OVERHEAD_BYTES))),
        segments=sum(each.segments for each in indexes) + indexed_texts,
        merge=max(each.segments + texts for each, texts in zip(indexes, with_texts, strict=True)),
        files=replica_files(),
    )
    return SizeEstimate(replica=replica, replicas=shards * replicas)


def _index_size(index: str, dim: int, rows: int, growing: int, payload_bytes: float, id_bytes: float) -> _IndexSize:
    """Return the size of one index. growing: rows for which its growing segment has room."""
    chosen = parse_index(index, dim)
    spec = built_spec(chosen, rows)
    codes = dim * rows if _is_coded(chosen, spec, dim) else 0
    return _IndexSize(
        index=vector_bytes(spec, dim, rows) + codes,
        tables=rows * ROW_COLUMNS_BYTES,
        ids=round(rows * id_text_bytes(id_bytes)),
        payloads=round(rows * payload_bytes),
        growing=growing_row_bytes(dim) * growing,
        build=merge_bytes(spec, dim, rows, payload_bytes),
        segments=_segment_bytes(spec, dim, rows, payload_bytes) + codes,
    )


def text_build_bytes(text_bytes: int) -> int:
    """Return the most memory that the texts take while segments become one. text_bytes: size of their indexes."""
    return min(TEXT_BUILD_BYTES, 3 * text_bytes)


def built_spec(spec: IndexSpec, rows: int) -> IndexSpec:
    """Return the index of a segment of `rows` rows if memory suffices: exact if the rows are too few for another."""
    if spec.family is IndexFamily.AUTO:
        spec = parse_index("hnsw", 1) if rows >= _FLAT_ROWS else FLAT
    return spec if rows >= spec.min_rows else FLAT


def _is_coded(chosen: IndexSpec, built: IndexSpec, dim: int) -> bool:
    """Return whether a graph has codes beside its vectors, as far as can be told before there are rows."""
    return chosen.family is IndexFamily.AUTO and built.family is IndexFamily.HNSW and dim >= CODED_DIM


def growing_row_bytes(dim: int) -> int:
    """Return the bytes of one row in the arrays of a growing segment."""
    return 4 * dim + growing_code_bytes(dim) + ROW_COLUMNS_BYTES


def growing_code_bytes(dim: int) -> int:
    """Return the bytes of the codes of one row in a growing segment; 0 where it has none. A multiple of 64."""
    return -(-dim // 64) * 64 if dim >= _GROWING_CODES_DIM else 0


def id_text_bytes(id_bytes: float) -> float:
    """Return the bytes of memory of a string id of `id_bytes` bytes; 0 for an integer."""
    return -(-(_STRING_BYTES + id_bytes) // 16) * 16 if id_bytes else 0


def open_store_bytes(stored: int, readers: int = READERS) -> int:
    """Return the most bytes that a store takes while its files are open. stored: bytes of its database, without its
    write-ahead log."""
    return (1 + readers) * CONNECTION_BYTES + store_cache_bytes(stored, readers)


def store_cache_bytes(stored: int, readers: int = READERS) -> int:
    """Return the bytes to which the caches of a store grow. stored: as in open_store_bytes."""
    return min(WRITER_CACHE_BYTES, stored) + readers * min(READER_CACHE_BYTES, stored)


def replica_files(readers: int = READERS) -> int:
    """Return the most files that a replica has open while it is used.

    These are the store and its write-ahead log for the writer and for each reader, and the files that they share.
    """
    return _STORE_FILES * (1 + readers) + _SHARED_FILES


def merge_bytes(spec: IndexSpec, dim: int, rows: int, payload_bytes: float = 0) -> int:
    """Return the most memory in bytes that a merge of `rows` rows into one segment takes, besides the segments it
    reads.

    An index grows by being copied, so two of them exist for a moment; the payload index needs twice its size.
    """
    spec = built_spec(spec, rows)
    grown = build_bytes(spec, dim, rows) + vector_bytes(spec, dim, rows)
    return round(grown + rows * (ROW_COLUMNS_BYTES + 2 * payload_bytes)) + _BUILD_BLOCK_BYTES


def store_bytes(rows: int, dim: int, payload_bytes: float, id_bytes: float) -> int:
    """Return the bytes of store.db: whole rows in pages of 16 KiB, larger rows in chains of pages, and the index on
    ids.
    """
    cell = _CELL_BYTES + 4 * dim + payload_bytes + (id_bytes or 4)
    fitting = int(_PAGE_BYTES // cell)
    page_bytes = _PAGE_BYTES / fitting if fitting else _PAGE_BYTES * -(-cell // _PAGE_BYTES)
    return round(rows * (page_bytes + 1.1 * ((id_bytes or 4) + 8))) + EMPTY_STORE_BYTES


def _check_bounds(field: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        shown = str(value)
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        raise InvalidArgument(f"{field} is {shown}, it must be from {least} to {most}", ErrorDetails(field=field))


def _segment_bytes(spec: IndexSpec, dim: int, rows: int, payload_bytes: float) -> int:
    """Return the bytes of the segments' files: index, row numbers, payload index, and vectors that the index does not
    hold.
    """
    vectors = 0 if spec.holds_vectors else 4 * dim * rows
    return round(vector_bytes(spec, dim, rows) + vectors + rows * (8 + payload_bytes))
