"""Draw columns as requests and answers hold them, for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shoal.core.errors import ErrorDetails
from shoal.core.ids import CollectionId, Seq, ShardId
from shoal.core.point_change import DeletePayload, PointChange, ReplacePayload, SetPayload, UpdateVectors
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
def point_columns(draw: st.DrawFn) -> PointColumns:
    ids = draw(id_lists)
    return PointColumns(ids=id_array(ids), vectors=draw(matrices(len(ids))), payloads=draw(payload_columns(len(ids))))


@st.composite
def stored_columns(draw: st.DrawFn) -> StoredColumns:
    ids = draw(id_lists)
    vectors = draw(st.one_of(st.none(), matrices(len(ids))))
    return StoredColumns(ids=id_array(ids), vectors=vectors, payloads=draw(payload_columns(len(ids))))


@st.composite
def hit_columns(draw: st.DrawFn) -> HitColumns:
    ids = draw(id_lists)
    cut = draw(st.integers(0, len(ids)))
    return HitColumns(
        counts=np.array([cut, len(ids) - cut], dtype=np.int64),
        ids=id_array(ids),
        scores=draw(hnp.arrays(np.float32, len(ids), elements=floats)),
        payloads=draw(payload_columns(len(ids))),
        vectors=draw(st.one_of(st.none(), matrices(len(ids)))),
    )


_paths = st.lists(st.lists(st.text(max_size=5), min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)
changes: st.SearchStrategy[PointChange] = (
    st.text(max_size=10).map(str.encode).map(SetPayload)
    | st.text(max_size=10).map(str.encode).map(ReplacePayload)
    | _paths.map(DeletePayload)
    | st.integers(0, 4).flatmap(matrices).map(UpdateVectors)
)


def same_change(got: PointChange, wanted: PointChange) -> bool:
    """Tell whether two changes are equal, their vectors bit for bit."""
    if isinstance(got, UpdateVectors) and isinstance(wanted, UpdateVectors):
        return same_matrix(got.vectors, wanted.vectors)
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


def same_payloads(got: tuple[bytes | None, ...] | None, wanted: tuple[bytes | None, ...] | None) -> bool:
    """Tell whether payloads are equal. An empty column of payloads is None after the way over the wire."""
    return got == (wanted or None)


def over_the_wire(message: Any) -> Any:
    """Return the message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())
