"""Draw columns as requests and answers hold them, for property tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shoal.core.errors import ErrorDetails
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.named_vectors import VectorColumn
from shoal.core.point_change import DeletePayload, PointChange, ReplacePayload, SetPayload, UpdateNamed, UpdatePacked, UpdateVectors
from shoal.core.points import PointColumns, StoredColumns, id_array
from shoal.core.requests import ReadAs, ShardToken
from shoal.core.shard_calls import Consistency, ReadTerms
from shoal.core.topk import HitColumns

point_ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=12))
id_lists = st.lists(point_ids, max_size=12)
payloads = st.one_of(st.none(), st.text(min_size=1, max_size=20).map(lambda text: text.encode("utf-8")))
floats = st.floats(width=32, allow_nan=False)
shard_ids = st.builds(ShardId, st.text(max_size=8).map(CollectionId), st.integers(0, 2**32 - 1))
read_terms = st.builds(ReadTerms, consistency=st.sampled_from(list(Consistency)), min_seq=st.integers(0, 2**64 - 1).map(Seq))
tokens = st.lists(st.builds(ShardToken, st.text(max_size=5), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)), max_size=3).map(tuple)
reads = st.builds(ReadAs, consistency=st.sampled_from(list(Consistency)), tokens=tokens)

_words = st.one_of(st.none(), st.text(min_size=1, max_size=10))
error_details = st.builds(
    ErrorDetails,
    field=_words,
    limit=_words,
    shard=_words,
    index=st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    applied=st.dictionaries(st.text(max_size=6), st.sampled_from(["no", "maybe", "yes"]), max_size=5),
    retry_after_s=st.one_of(st.none(), st.integers(0, 600_000).map(lambda ms: ms / 1000)),
)


@st.composite
def matrices(draw: st.DrawFn, rows: int) -> np.ndarray:
    return draw(hnp.arrays(np.float32, (rows, draw(st.integers(1, 5))), elements=floats))


def payload_columns(rows: int) -> st.SearchStrategy[tuple[bytes | None, ...] | None]:
    return st.one_of(st.none(), st.lists(payloads, min_size=rows, max_size=rows).map(tuple))


@st.composite
def vector_columns(draw: st.DrawFn, count: int) -> VectorColumn:
    """Draw the vectors of one name of `count` points, as a message gives them back."""
    have = sorted(draw(st.sets(st.integers(0, count - 1)))) if count else []
    whole = bool(have) and (len(have) == count or draw(st.booleans()))
    positions = None if whole else np.array(have, dtype=np.intp)
    return VectorColumn(vectors=draw(matrices(count if whole else len(have))), positions=positions)


def vectors_by_name(count: int) -> st.SearchStrategy[Mapping[str, VectorColumn]]:
    return st.dictionaries(st.text(max_size=6), vector_columns(count), max_size=3)


@st.composite
def named_points(draw: st.DrawFn) -> PointColumns:
    ids = draw(id_lists)
    vectors = np.empty((len(ids), 0), dtype=np.float32)
    payload = draw(payload_columns(len(ids)))
    return PointColumns(ids=id_array(ids), vectors=vectors, payloads=payload, named=draw(vectors_by_name(len(ids))))


@st.composite
def point_columns(draw: st.DrawFn) -> PointColumns:
    ids = draw(id_lists)
    return PointColumns(ids=id_array(ids), vectors=draw(matrices(len(ids))), payloads=draw(payload_columns(len(ids))))


@st.composite
def stored_columns(draw: st.DrawFn) -> StoredColumns:
    ids = draw(id_lists)
    vectors = draw(st.one_of(st.none(), matrices(len(ids))))
    named = draw(vectors_by_name(len(ids))) if vectors is None else {}
    return StoredColumns(ids=id_array(ids), vectors=vectors, payloads=draw(payload_columns(len(ids))), named=named or None)


@st.composite
def hit_columns(draw: st.DrawFn) -> HitColumns:
    ids = draw(id_lists)
    cut = draw(st.integers(0, len(ids)))
    vectors = draw(st.one_of(st.none(), matrices(len(ids))))
    named = draw(vectors_by_name(len(ids))) if vectors is None else {}
    return HitColumns(
        counts=np.array([cut, len(ids) - cut], dtype=np.int64),
        ids=id_array(ids),
        scores=draw(hnp.arrays(np.float32, len(ids), elements=floats)),
        payloads=draw(payload_columns(len(ids))),
        vectors=vectors,
        named=named or None,
    )


_paths = st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)
changes: st.SearchStrategy[PointChange] = (
    st.text(max_size=10).map(str.encode).map(SetPayload)
    | st.text(max_size=10).map(str.encode).map(ReplacePayload)
    | _paths.map(DeletePayload)
    | st.integers(0, 4).flatmap(matrices).map(UpdateVectors)
    | st.integers(0, 4).flatmap(vectors_by_name).map(UpdateNamed)
    | st.builds(UpdatePacked, st.integers(0, 4).flatmap(matrices), st.lists(st.integers(1, 2**32 - 1), max_size=3).map(tuple))
)


def same_change(got: PointChange, wanted: PointChange) -> bool:
    """Tell whether two changes are equal, their vectors bit for bit."""
    if isinstance(got, UpdateVectors) and isinstance(wanted, UpdateVectors):
        return same_matrix(got.vectors, wanted.vectors)
    if isinstance(got, UpdateNamed) and isinstance(wanted, UpdateNamed):
        return same_named(got.vectors, wanted.vectors)
    if isinstance(got, UpdatePacked) and isinstance(wanted, UpdatePacked):
        return got.dims == wanted.dims and same_matrix(got.rows, wanted.rows)
    return got == wanted


def same_ids(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Tell whether ids are equal in value and type: 1 is not "1", and integers stay a column of int64."""
    empty = not len(wanted)
    return (
        got.tolist() == wanted.tolist()
        and (empty or got.dtype == wanted.dtype)
        and list(map(type, got.tolist())) == list(map(type, wanted.tolist()))
    )


def same_matrix(got: np.ndarray | None, wanted: np.ndarray | None) -> bool:
    """Tell whether two matrices are equal bit for bit, or both None."""
    if got is None or wanted is None:
        return got is wanted
    return got.dtype == np.float32 and got.shape == wanted.shape and got.tobytes() == np.ascontiguousarray(wanted).tobytes()


def same_named(got: Mapping[str, VectorColumn] | None, wanted: Mapping[str, VectorColumn] | None) -> bool:
    """Tell whether vectors by name are equal bit for bit and of the same points, or both None."""
    if got is None or wanted is None:
        return got is wanted
    return list(got) == list(wanted) and all(
        same_matrix(mine.vectors, other.vectors)
        and (None if mine.positions is None else mine.positions.tolist()) == (None if other.positions is None else other.positions.tolist())
        for mine, other in zip(got.values(), wanted.values(), strict=True)
    )


def same_payloads(got: tuple[bytes | None, ...] | None, wanted: tuple[bytes | None, ...] | None) -> bool:
    """Tell whether payloads are equal. An empty column of payloads is None after the way over the wire."""
    return got == (wanted or None)


def over_the_wire(message: Any) -> Any:
    """Return the message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())
