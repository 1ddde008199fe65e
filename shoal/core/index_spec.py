"""Kinds of indexes, named by a word (auto, flat, hnsw, ivf) or a FAISS factory string.

Owns the grammar, the number of rows that a training needs and the bytes that an index takes. It does not import FAISS,
so every program may use it.

    index     = "auto" | "flat" | "hnsw" | "ivf" | lone | "HNSW"[M] "," codes | "IVF"[nlist] "," lists
    lone      = "Flat" | "HNSW"[M] | "IVF"[nlist] | "SQ8" | "RaBitQ" | PQ
    codes     = "Flat" | "SQ8" | PQ
    lists     = "Flat" | "SQ8" | PQ | "RaBitQ"
    PQ        = "PQ"[m]["x"bits]

Upper and lower case are the same. A missing number gets a default: M is 16; bits are 8; m is the largest divisor of the
dimension that leaves at least 8 dimensions to each sub-vector (4 below dimension 64); nlist is about 4 * sqrt(rows),
chosen when the rows are known.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NoReturn

from shoal.core.errors import ErrorDetails, InvalidArgument


class IndexFamily(StrEnum):
    """How rows are found.

    AUTO: Shoal chooses; FLAT: all are compared; HNSW: graph; IVF: inverted lists; CODES: all codes are compared.
    """

    AUTO = "auto"
    FLAT = "flat"
    HNSW = "hnsw"
    IVF = "ivf"
    CODES = "codes"


class Codec(StrEnum):
    """How a row is stored.

    FLAT: as float32; SQ8: one byte for each dimension; PQ: product quantiser; RABITQ: one bit for each dimension, after
    a rotation.
    """

    FLAT = "Flat"
    SQ8 = "SQ8"
    PQ = "PQ"
    RABITQ = "RaBitQ"


DEFAULT_LINKS = 16
CODED_DIM = 256
"""From this many dimensions on, an automatic graph is searched by bytes, beside its vectors (ADR 21)."""

LINKS = (2, 512)
LISTS = (1, 16_384)
PQ_BITS = (4, 8)
DEFAULT_PQ_BITS = 8

POINTS_PER_CENTROID = 39
"""FAISS recommends at least this many training rows for each centroid."""

_LEAST_LISTS = 8
_LEAST_CODED_ROWS = 256
"""Fewer rows are a poor estimate of the range or the mean of a dimension."""

_SAMPLE_PER_LIST = 24
"""Training rows for each list. Twice as many rows, or more rounds, do not raise recall (Fashion-MNIST, 980 lists:
recall 0.95 at nprobe 8, 0.99 at 16 either way).
"""

_SAMPLE_PER_CODE = 64
_SAMPLE_CODED_ROWS = 16_384
_SAMPLE_ROWS = 100_000
_SAMPLE_BYTES = 256 * 1024 * 1024

LIST_BYTES = 160
"""Bytes of the two growing arrays of an inverted list, with the overhead of the allocator."""

_WORDS = {"auto": IndexFamily.AUTO, "flat": IndexFamily.FLAT, "hnsw": IndexFamily.HNSW, "ivf": IndexFamily.IVF}
_COMPONENT = re.compile(r"(?P<name>flat|sq8|rabitq|hnsw|ivf|pq)(?P<number>[0-9]{0,9})(?:x(?P<bits>[0-9]{1,3}))?", re.IGNORECASE)
_CODECS = {codec.value.lower(): codec for codec in Codec}
_ALLOWED = {
    IndexFamily.HNSW: (Codec.FLAT, Codec.SQ8, Codec.PQ),
    IndexFamily.IVF: (Codec.FLAT, Codec.SQ8, Codec.PQ, Codec.RABITQ),
}
_SUPPORTED = (
    "allowed are auto, flat, hnsw, ivf and the FAISS factory strings Flat, HNSW[M], HNSW[M],Flat|SQ8|PQ[m], "
    "IVF[nlist],Flat|SQ8|PQ[m][x bits]|RaBitQ, PQ[m][x bits], SQ8, RaBitQ"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSpec:
    """One kind of index, for vectors of one dimension.

    m: links of a row of a graph (twice as many on the lowest level), 0 without a graph; nlist: inverted lists, 0 if
    there are none or if their number depends on the rows; pq_m: sub-vectors of a product quantiser, 0 without one;
    pq_bits: bits of the code of each sub-vector.
    """

    family: IndexFamily
    codec: Codec = Codec.FLAT
    m: int = 0
    nlist: int = 0
    pq_m: int = 0
    pq_bits: int = 0

    @property
    def text(self) -> str:
        """Return the canonical spelling: a FAISS factory string, or one of the words auto and flat."""
        codec = self.codec.value
        if self.codec is Codec.PQ:
            codec += str(self.pq_m) + (f"x{self.pq_bits}" if self.pq_bits != DEFAULT_PQ_BITS else "")
        match self.family:
            case IndexFamily.AUTO | IndexFamily.FLAT:
                return self.family.value
            case IndexFamily.HNSW:
                return f"HNSW{self.m},{codec}"
            case IndexFamily.IVF:
                return f"IVF{self.nlist or ''},{codec}"
            case IndexFamily.CODES:
                return codec

    @property
    def quantised(self) -> bool:
        """Return whether codes lose precision, so that hits must be compared again with the vectors."""
        return self.codec is not Codec.FLAT

    @property
    def holds_vectors(self) -> bool:
        """Return whether the index holds the vectors in row order, so that they need not be stored elsewhere."""
        return self.codec is Codec.FLAT and self.family is not IndexFamily.IVF

    @property
    def trained(self) -> bool:
        """Return whether the index is trained on a sample of the rows before rows are added."""
        return self.quantised or self.family is IndexFamily.IVF

    @property
    def min_rows(self) -> int:
        """Return the least rows with which it can be trained well. A segment with fewer rows stays exact."""
        lists = POINTS_PER_CENTROID * (self.nlist or _LEAST_LISTS) if self.family is IndexFamily.IVF else 0
        match self.codec:
            case Codec.PQ:
                return max(lists, POINTS_PER_CENTROID << self.pq_bits)
            case Codec.SQ8 | Codec.RABITQ:
                return max(lists, _LEAST_CODED_ROWS)
            case Codec.FLAT:
                return lists

    def for_rows(self, rows: int) -> IndexSpec:
        """Return the index with its number of lists, if that depends on the rows.

        It is 4 * sqrt(rows), but at most as many as there are rows to train them.
        """
        if self.family is not IndexFamily.IVF or self.nlist:
            return self
        lists = min(round(4 * math.sqrt(rows)), rows // POINTS_PER_CENTROID)
        return replace(self, nlist=min(max(lists, LISTS[0]), LISTS[1]))

    def training_rows(self, rows: int, dim: int) -> int:
        """Return how many of `rows` rows are used for training, bounded in number and bytes; 0 without training."""
        if not self.trained:
            return 0
        spec = self.for_rows(rows)
        lists = _SAMPLE_PER_LIST * spec.nlist
        codes = _SAMPLE_PER_CODE << spec.pq_bits if spec.codec is Codec.PQ else _SAMPLE_CODED_ROWS if spec.quantised else 0
        affordable = max(_SAMPLE_BYTES // (4 * dim), spec.nlist, 1 << spec.pq_bits)
        return min(rows, max(lists, codes), _SAMPLE_ROWS, affordable)


FLAT = IndexSpec(family=IndexFamily.FLAT)
"""Each row is compared."""

AUTO = IndexSpec(family=IndexFamily.AUTO)


def index_from_input(text: str, *, dim: int) -> str:
    """Return the canonical spelling. Raises InvalidArgument if it is unknown or cannot work at dimension `dim`."""
    spec = parse_index(text, dim)
    word = text.strip().lower()
    return word if word in _WORDS else spec.text


def parse_index(text: str, dim: int) -> IndexSpec:
    """Return the index that `text` names, for dimension `dim`.

    Raises InvalidArgument (field index) that names the bad component and what is allowed.
    """
    if not isinstance(text, str):
        _refuse(f"index is {text!r}, it must be a string: {_SUPPORTED}")
    if text.strip().lower() == IndexFamily.AUTO:
        return AUTO
    first, *rest = (component.strip() for component in text.split(","))
    if len(rest) > 1:
        _refuse(f"index {text!r} has {len(rest) + 1} components, at most 2 work together: {_SUPPORTED}")
    head = _component(text, first)
    if head["name"] not in ("hnsw", "ivf"):
        if rest:
            _refuse(f"index {text!r}: {rest[0]!r} cannot follow {first!r}: {_SUPPORTED}")
        codec = _with_codec(IndexSpec(family=IndexFamily.CODES), text, head, dim)
        return codec if codec.quantised else FLAT
    spec = _searched(text, head)
    if not rest:
        return spec
    tail = _component(text, rest[0])
    allowed = _ALLOWED[spec.family]
    if _CODECS.get(tail["name"]) not in allowed:
        _refuse(f"index {text!r}: {rest[0]!r} cannot follow {first!r}, allowed are {', '.join(allowed)}")
    return _with_codec(spec, text, tail, dim)


def waiting_reason(spec: IndexSpec, rows: int) -> str:
    """Return why a segment of `rows` rows stays exact, as a sentence; "" if the index can be built."""
    if rows >= spec.min_rows:
        return ""
    return f"{spec.text} needs at least {spec.min_rows:,} rows, there are {rows:,}"


def vector_bytes(spec: IndexSpec, dim: int, rows: int) -> int:
    """Return the memory in bytes of an index over `rows` rows: vectors or codes, links, lists and tables.

    Vectors that it reads from a file do not count. spec: as it will be built, not auto (see
    shoal.shard_worker.logic.segments.segment_form); the number of lists is that for these rows.
    """
    spec = spec.for_rows(rows)
    fixed, row = 0, code_bytes(spec, dim)
    if spec.codec is Codec.PQ:
        fixed += 4 * dim << spec.pq_bits
    if spec.family is IndexFamily.HNSW:
        # A row is on level l and above with probability M ** -l. Besides its links it has a level (4 bytes) and an
        # offset (8 bytes).
        return fixed + round(rows * (row + 4 * (2 * spec.m + spec.m / (spec.m - 1)) + 12))
    if spec.family is IndexFamily.IVF:
        return fixed + spec.nlist * (4 * inner_dim(spec, dim) + LIST_BYTES) + rows * (row + 8)
    return fixed + rows * row


def code_bytes(spec: IndexSpec, dim: int) -> int:
    """Return the bytes that hold one row inside the index."""
    match spec.codec:
        case Codec.FLAT:
            return 4 * dim
        case Codec.SQ8:
            return dim
        case Codec.PQ:
            return (spec.pq_m * spec.pq_bits + 7) // 8
        case Codec.RABITQ:
            return (inner_dim(spec, dim) + 7) // 8 + 8


def inner_dim(spec: IndexSpec, dim: int) -> int:
    """Return the dimension of the vectors inside the index.

    RaBitQ rotates vectors by a Hadamard transform, which needs a power of two.
    """
    return 1 << (dim - 1).bit_length() if spec.codec is Codec.RABITQ else dim


def build_bytes(spec: IndexSpec, dim: int, rows: int) -> int:
    """Return the most memory in bytes that a build over `rows` rows takes, with the finished index."""
    spec = spec.for_rows(rows)
    # Besides the sample, a training holds the centroids three times and their sums in float64. After it, the list of
    # each row is held.
    training = 4 * dim * spec.training_rows(rows, dim) + 20 * dim * spec.nlist
    lists = 8 * rows if spec.family is IndexFamily.IVF else 0
    return vector_bytes(spec, dim, rows) + max(training, lists)


def default_pq_m(dim: int) -> int:
    """Return the largest divisor of `dim` that leaves at least 8 dimensions to each sub-vector (4 below dimension 64);
    else 1.
    """
    least = 8 if dim >= 64 else 4
    return max((count for count in _divisors(dim) if dim // count >= least), default=1)


def _searched(text: str, head: dict[str, str]) -> IndexSpec:
    """Return the graph or the lists that `head` names, over plain vectors."""
    if head["bits"]:
        _refuse(f"index {text!r}: only PQ takes x bits")
    if head["name"] == "hnsw":
        links = _number(text, "links of HNSW", head["number"] or str(DEFAULT_LINKS), LINKS)
        return IndexSpec(family=IndexFamily.HNSW, m=links)
    nlist = _number(text, "lists of IVF", head["number"], LISTS) if head["number"] else 0
    return IndexSpec(family=IndexFamily.IVF, nlist=nlist)


def _with_codec(spec: IndexSpec, text: str, part: dict[str, str], dim: int) -> IndexSpec:
    """Return `spec` with rows stored as `part` says."""
    codec = _CODECS[part["name"]]
    if codec is not Codec.PQ:
        if part["number"] or part["bits"]:
            _refuse(f"index {text!r}: {codec} takes no number: {_SUPPORTED}")
        return replace(spec, codec=codec)
    bits = _number(text, "bits of PQ", part["bits"] or str(DEFAULT_PQ_BITS), PQ_BITS)
    pq_m = int(part["number"]) if part["number"] else default_pq_m(dim)
    if not 1 <= pq_m <= dim or dim % pq_m:
        _refuse(f"index {text!r}: PQ cannot cut dimension {dim} into {pq_m} equal sub-vectors, allowed are {_listed(_divisors(dim))}")
    return replace(spec, codec=codec, pq_m=pq_m, pq_bits=bits)


def _component(text: str, component: str) -> dict[str, str]:
    """Return the parts of one component: name in lower case; number and bits as digits or ""."""
    match = _COMPONENT.fullmatch(component)
    if match is None:
        _refuse(f"index {text!r}: {component!r} is not a supported component: {_SUPPORTED}")
    return {"name": match["name"].lower(), "number": match["number"], "bits": match["bits"] or ""}


def _number(text: str, what: str, digits: str, bounds: tuple[int, int]) -> int:
    number = int(digits)
    if not bounds[0] <= number <= bounds[1]:
        _refuse(f"index {text!r}: {what} are {number}, they must be from {bounds[0]} to {bounds[1]:,}")
    return number


def _divisors(dim: int) -> list[int]:
    small = [count for count in range(1, math.isqrt(dim) + 1) if dim % count == 0]
    return sorted({*small, *(dim // count for count in small)})


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:24])
    return shown if len(numbers) <= 24 else f"{shown} and {len(numbers) - 24} larger ones"


def _refuse(message: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field="index"))
