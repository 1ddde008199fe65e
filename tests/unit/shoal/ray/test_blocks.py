"""Blocks as points: every kind of column, pieces, and errors that name the column and the row. No Ray runs."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import numpy as np
import pyarrow
import pytest
from ray.data.block import BlockAccessor
from ray.data.extensions import ArrowTensorArray, ArrowVariableShapedTensorArray

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.points import ids_from_input
from shoal.core.vector_input import vectors_from_input
from shoal.ray import blocks
from shoal.ray.blocks import BlockColumns, rows_at_once

MATRIX = np.arange(6, dtype=np.float32).reshape(3, 2)
COLUMNS = BlockColumns(id="id", vector="vector", payload=())
VECTORS = {
    "tensors": ArrowTensorArray.from_numpy(MATRIX),
    "tensors of float64": ArrowTensorArray.from_numpy(MATRIX.astype(np.float64)),
    "tensors of bytes": ArrowTensorArray.from_numpy(MATRIX.astype(np.uint8)),
    "tensors of any shape": ArrowVariableShapedTensorArray.from_numpy(list(MATRIX)),
    "fixed tensors of Arrow": pyarrow.FixedShapeTensorArray.from_numpy_ndarray(MATRIX),
    "fixed-size lists": pyarrow.FixedSizeListArray.from_arrays(MATRIX.ravel(), 2),
    "lists": pyarrow.array(MATRIX.tolist()),
    "large lists of integers": pyarrow.array(MATRIX.astype(int).tolist(), pyarrow.large_list(pyarrow.int64())),
    "dictionaries of nothing": pyarrow.array(MATRIX.tolist(), pyarrow.list_(pyarrow.float16())),
}
UUIDS = [uuid.UUID(int=number) for number in range(3)]
IDS = {
    "integers": (pyarrow.array([7, -2, 2**63 - 1]), [7, -2, 2**63 - 1]),
    "small integers": (pyarrow.array([1, 2, 3], pyarrow.uint8()), [1, 2, 3]),
    "strings": (pyarrow.array(["a", "b", "c"]), ["a", "b", "c"]),
    "large strings": (pyarrow.array(["a", "b", "c"], pyarrow.large_string()), ["a", "b", "c"]),
    "dictionary": (pyarrow.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    "uuids": (pyarrow.array([each.bytes for each in UUIDS], pyarrow.uuid()), [str(each) for each in UUIDS]),
}


def table(**columns: Any) -> Any:
    return pyarrow.table({"id": [1, 2, 3], "vector": MATRIX.tolist(), **columns})


@pytest.mark.parametrize("kind", VECTORS)
def test_vectors_of_every_kind(kind: str) -> None:
    (piece,) = COLUMNS.pieces_of(table(vector=VECTORS[kind]))
    assert vectors_from_input(piece.vectors).tolist() == MATRIX.tolist()
    (part,) = COLUMNS.pieces_of(table(vector=VECTORS[kind]).slice(1, 2))
    assert vectors_from_input(part.vectors).tolist() == MATRIX[1:].tolist()


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_kind(kind: str) -> None:
    column, ids = IDS[kind]
    (piece,) = COLUMNS.pieces_of(table(id=column))
    assert ids_from_input(piece.ids, DEFAULT_LIMITS).tolist() == ids


def test_blocks_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": UUIDS, "vector": list(MATRIX), "note": ["x", None, "z"]})
    columns = BlockColumns(id="id", vector="vector", payload=None)
    (piece,) = columns.pieces_of(BlockAccessor.for_block(frame).to_arrow())
    assert ids_from_input(piece.ids, DEFAULT_LIMITS).tolist() == [str(each) for each in UUIDS]
    assert vectors_from_input(piece.vectors).tolist() == MATRIX.tolist()
    assert piece.payloads == [{"note": "x"}, {"note": None}, {"note": "z"}]


def test_payloads_from_all_from_some_from_one_and_from_no_column() -> None:
    given = table(label=[1, 2, None], at=[datetime.datetime(2024, 1, 2), None, None], meta=['{"a": 1}', None, "{}"])

    def payloads(payload: Any) -> Any:
        return next(BlockColumns(id="id", vector="vector", payload=payload).pieces_of(given)).payloads

    assert payloads(()) is None
    assert payloads(("label",)) == [{"label": 1}, {"label": 2}, {"label": None}]
    assert payloads(None)[0] == {"label": 1, "at": "2024-01-02T00:00:00.000000Z", "meta": '{"a": 1}'}
    assert payloads("meta") == [{"a": 1}, None, {}]
    structs = table(meta=[{"a": 1}, {"a": 2}, None])
    assert next(BlockColumns(id="id", vector="vector", payload="meta").pieces_of(structs)).payloads == [{"a": 1}, {"a": 2}, None]


def test_a_long_block_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PIECE_ROWS", 2)
    first, second = BlockColumns(id="id", vector="vector", payload=None).pieces_of(table(n=[1, 2, 3]))
    assert (list(first.ids), list(second.ids), second.places) == ([1, 2], [3], range(2, 3))
    assert second.payloads == [{"n": 3}]
    assert second.vectors.tolist() == [[4, 5]]


def test_pieces_are_bounded_in_bytes_and_have_a_row_at_least() -> None:
    assert rows_at_once(1_000_000, 1_000_000) == blocks.PIECE_ROWS
    assert rows_at_once(64, 64 * 1024 * 1024) == 32
    assert rows_at_once(2, 2**40) == 1


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (BlockColumns(id="key", vector="vector", payload=None), r"id: .* no column 'key' \(it has: id, vector\)"),
        (BlockColumns(id="id", vector="emb", payload=None), "vector: .* no column 'emb'"),
        (BlockColumns(id="id", vector="vector", payload=("label",)), "payload: .* no column 'label'"),
        (BlockColumns(id="id", vector="vector", payload="meta"), "payload: .* no column 'meta'"),
    ],
)
def test_a_missing_column_is_named(columns: BlockColumns, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        next(columns.pieces_of(table()))


def test_a_column_that_is_there_twice_is_refused() -> None:
    twice = pyarrow.table([[1], [[1.0]], [2], [3]], names=["id", "vector", "n", "n"])
    with pytest.raises(InvalidArgument, match="several columns 'n'"):
        next(COLUMNS.pieces_of(twice))


@pytest.mark.parametrize(("value", "said"), [("{", "is not JSON"), ("[1]", "must hold objects or JSON texts of objects, not list")])
def test_a_payload_that_is_no_object_is_named(value: str, said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"column 'meta', row 1 of its block: it {said}") as caught:
        next(BlockColumns(id="id", vector="vector", payload="meta").pieces_of(table(meta=["{}", value, "{}"])))
    assert caught.value.details.index == 1


def test_errors_of_an_upsert_name_the_column_and_the_row_of_the_block() -> None:
    columns = BlockColumns(id="key", vector="emb", payload=None)

    def named(field: str, message: str, index: int | None) -> tuple[str, int | None]:
        error = columns.named(InvalidArgument(message, ErrorDetails(field=field, index=index)), 100)
        return error.message, error.details.index

    assert named("ids", "ids[2] is odd", 2) == ("column 'key', row 102 of its block: ids[102] is odd", 102)
    assert named("vectors", "vectors[0] is odd", 0) == ("column 'emb', row 100 of its block: vectors[100] is odd", 100)
    assert named("vectors", "vectors are odd", None) == ("column 'emb': vectors are odd", None)
    assert named("payloads", "payloads[1].a is odd", 1) == ("row 101 of its block: payloads[101].a is odd", 101)
