"""Points as tables: always the same schema, and values of another type are named."""

from __future__ import annotations

import numpy as np
import pyarrow
import pytest
from ray.data.block import BlockAccessor

from shoal.client.results import Point
from shoal.core.errors import InvalidArgument
from shoal.core.named_vectors import NamedVector
from shoal.ray.tables import PointTables, check_columns, check_not_taken

POINTS = [
    Point(1, {"label": 3, "tags": ["a"]}, np.array([1, 2], np.float32)),
    Point(2, None, np.array([3, 4], np.float32)),
]


def test_ids_vectors_and_payloads() -> None:
    tables = PointTables(ids="int64", dim=2, payload=True, columns=())
    made = tables.table_of(POINTS)
    assert made.column("id").to_pylist() == [1, 2]
    vectors = BlockAccessor.for_block(made).to_numpy("vector")
    assert (vectors.dtype, vectors.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert made.column("payload").to_pylist() == ['{"label": 3, "tags": ["a"]}', None]
    assert tables.table_of([]).num_rows == 0
    assert tables.table_of([]).schema == made.schema == tables.schema


def test_fields_of_payloads_as_columns() -> None:
    columns = (("label", pyarrow.int8()), ("tags", pyarrow.list_(pyarrow.string())), ("none", pyarrow.float64()))
    tables = PointTables(ids="string", dim=None, payload=False, columns=columns)
    made = tables.table_of(POINTS)
    assert made.to_pydict() == {"id": ["1", "2"], "label": [3, None], "tags": [["a"], None], "none": [None, None]}
    assert tables.table_of([]).schema == made.schema
    assert tables.needs_payloads


def test_a_value_of_another_type_is_named() -> None:
    tables = PointTables(ids="int64", dim=None, payload=False, columns=(("tags", pyarrow.int64()),))
    with pytest.raises(InvalidArgument, match=r"column 'tags': the point 1 has \['a'\], which is no int64"):
        tables.table_of(POINTS)
    with pytest.raises(InvalidArgument, match="the id 'x' is a string: pass ids='string'"):
        tables.table_of([*POINTS, Point("x", None, None)])


@pytest.mark.parametrize("columns", [["label"], {"label": int}, {"id": pyarrow.int64()}, {3: pyarrow.int64()}, {"vector": pyarrow.int64()}])
def test_columns_that_cannot_be_are_refused(columns: object) -> None:
    with pytest.raises(InvalidArgument, match="columns"):
        check_columns(columns, with_payload=True)
    with pytest.raises(InvalidArgument, match="with_payload is False"):
        check_columns({"a": pyarrow.int64()}, with_payload=False)
    check_columns(None, with_payload=False)


NAMED = (NamedVector(name="image", dim=2), NamedVector(name="id", dim=3))


def test_named_vectors_are_columns_of_lists_with_nulls() -> None:
    tables = PointTables(ids="int64", dim=None, payload=False, columns=(), vectors=NAMED)
    assert tables.needs_vectors
    points = [
        Point(1, None, {"image": np.array([1, 2], np.float32)}),
        Point(2, None, {"id": np.array([7, 8, 9], np.float32), "image": np.array([3, 4], np.float32)}),
        Point(3, None, {}),
    ]
    made = tables.table_of(points)
    assert made.to_pydict() == {"id": [1, 2, 3], "image": [[1, 2], [3, 4], None], "vector.id": [None, [7, 8, 9], None]}
    assert made.schema.field("image").type == pyarrow.list_(pyarrow.float32(), 2)
    assert tables.table_of([]).schema == made.schema == tables.schema
    assert tables.table_of([]).num_rows == 0
    assert not PointTables(ids="int64", dim=None, payload=False, columns=()).needs_vectors


def test_a_field_has_not_the_column_of_a_vector() -> None:
    check_not_taken(None, NAMED)
    check_not_taken({"image": pyarrow.int64()}, ())
    check_not_taken({"label": pyarrow.int64()}, NAMED)
    for name in ("image", "vector.id"):
        with pytest.raises(InvalidArgument, match=f"columns names '{name}', which is the column of a vector"):
            check_not_taken({name: pyarrow.int64()}, NAMED)
