"""Vectors by name as a user gives them: what they become, and what is wrong with bad ones."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from shoal.client.inputs import points_from_input
from shoal.client.named_input import columns_from_input, vectors_of_spec
from shoal.core.errors import InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector, VectorColumn


def told(columns: Mapping[str, VectorColumn]) -> dict[str, Any]:
    return {
        name: (column.vectors.tolist(), None if column.positions is None else column.positions.tolist()) for name, column in columns.items()
    }


def test_matrices_and_lists_with_gaps_become_columns() -> None:
    columns = columns_from_input({"image": np.eye(3), "text": [[1, 2], None, (3, 4)], "none": [None] * 3}, 3)
    assert told(columns) == {
        "image": (np.eye(3).tolist(), None),
        "text": ([[1, 2], [3, 4]], [0, 2]),
        "none": ([], []),
    }
    assert {column.vectors.dtype for column in columns.values()} == {np.dtype(np.float32)}
    assert columns_from_input({}, 3) == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_every_dtype_arrives_and_integers_stay_for_a_caller_that_wants_it(dtype: Any) -> None:
    given = np.array([[1, 2], [3, 4]], dtype)
    for value in (given, list(given), [given[0], None, given[1]], ([1, 2], [3, 4])):
        (column,) = columns_from_input({"a": value}, len(value)).values()
        assert (column.vectors.dtype, column.vectors.tolist()) == (np.float32, [[1, 2], [3, 4]])
    (column,) = columns_from_input({"a": given}, 2, integers_stay=True).values()
    assert column.vectors.dtype == (dtype if np.issubdtype(dtype, np.integer) else np.float32)
    (column,) = columns_from_input({"a": [None, given[1]]}, 2, integers_stay=True).values()
    assert column.vectors.dtype == (dtype if np.issubdtype(dtype, np.integer) else np.float32)


GAPS, WHOLE = {"a": ([[1, 2], [3, 4]], [0, 2])}, {"a": ([[1, 2], [3, 4]], None)}


def test_series_and_frames_of_pandas_are_columns() -> None:
    pandas = pytest.importorskip("pandas")
    for missing in (None, float("nan"), pandas.NA, pandas.NaT):
        given = pandas.Series([[1, 2], missing, np.array([3, 4])], dtype=object)
        assert told(columns_from_input({"a": given}, 3)) == GAPS
    assert told(columns_from_input({"a": pandas.DataFrame({"x": [1, 3], "y": [2, 4]})}, 2)) == WHOLE


def made_as(home: str, **members: Any) -> Any:
    """Return an object with these members whose class is of a library that need not be installed."""
    kind = type("StandIn", (), {name: (lambda _, value=value: value) for name, value in members.items()})
    kind.__module__ = home
    return kind()


def test_series_of_polars_are_columns() -> None:
    series = made_as("polars.series.series", to_list=[[1, 2], None, [3, 4]])
    assert told(columns_from_input({"a": series}, 3)) == GAPS
    frame = made_as("polars.dataframe.frame", __array__=np.array([[1, 2], [3, 4]]))
    type(frame).__array__ = lambda _, dtype=None, copy=None: np.array([[1, 2], [3, 4]], dtype)
    assert told(columns_from_input({"a": frame}, 2)) == WHOLE


def test_tensors_are_columns() -> None:
    def tensor(values: Any) -> Any:
        return made_as("torch", detach=made_as("torch", cpu=made_as("torch", numpy=np.array(values), dtype="float32")))

    assert told(columns_from_input({"a": tensor([[1, 2], [3, 4]])}, 2)) == WHOLE


def test_a_mapping_that_is_no_dict_is_one(tmp_path: Any) -> None:
    np.savez(tmp_path / "two.npz", image=np.eye(2), text=np.ones((2, 3)))
    with np.load(tmp_path / "two.npz") as file:
        points = points_from_input([1, 2], file, None)
    assert points.named is not None
    assert (list(points.named), points.vectors.shape) == (["image", "text"], (2, 0))


class Twice(dict[str, Any]):
    """A mapping that has a name twice."""

    def items(self) -> Any:
        return [("a", [[1]]), ("a", [[2]])]


@pytest.mark.parametrize(
    ("given", "said", "index"),
    [
        ({"a": [[1, 2]]}, r"vectors\['a'\] has 1 vectors for 3 ids", None),
        ({"a": [[1], None, [2], None]}, r"vectors\['a'\] has 4 vectors for 3 ids", None),
        ({"a": None}, r"vectors\['a'\] is None: leave the name out, or give a list with None", None),
        ({"a": [None, [1, 2], [1, float("nan")]]}, r"vectors\['a'\]\[2\] holds NaN", 2),
        ({"a": [[1, 2], None, [1]]}, r"vectors\['a'\]\[2\] has 1 numbers, the first vector has 2", 2),
        ({"a": [None, [1, True], [1, 2]]}, r"vectors\['a'\]\[1\] holds the boolean True", 1),
        ({"a": [None, "x", [1]]}, r"vectors\['a'\]\[1\] is a text", 1),
        ({"a": np.full((3, 2), np.inf)}, r"vectors\['a'\]\[0\] holds NaN or infinity", 0),
        ({"a": np.zeros((3, 0))}, r"vectors\['a'\] has vectors of dimension 0", 0),
        ({"a": [[], None, []]}, r"vectors\['a'\] has vectors of dimension 0", 0),
        ({"a": [1.0, 2.0, 3.0]}, r"vectors\['a'\] must have the shape \(n, dim\), not \(3,\)", None),
        ({"a": "text"}, r"vectors\['a'\] must be an array or a list of vectors, not a text", None),
        ({"a": {"b": [[1]]}}, r"vectors\['a'\] must be an array or a list of vectors", None),
        ({"a": np.eye(3), "b": np.ma.masked_equal([[1, 2], [3, 4], [5, 6]], 4)}, r"vectors\['b'\]\[1\] is masked", 1),
        ({3: [[1]]}, "vectors names the vector 3, a name is a text", None),
        ({"": [[1]]}, "vectors names the vector '', a name is a text", None),
        ({"a\n": [[1]]}, "a name is a text", None),
        (Twice(), "vectors names 'a' twice", None),
    ],
)
def test_what_is_wrong_is_named_by_vector_and_point(given: Any, said: str, index: int | None) -> None:
    count = 1 if isinstance(given, Twice) else 3
    with pytest.raises(InvalidArgument, match=said) as caught:
        columns_from_input(given, count)
    assert caught.value.details.index == index


def test_pandas_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    assert told(columns_from_input({"a": [None, [1]]}, 2)) == {"a": ([[1]], [1])}


def test_vectors_of_a_collection_are_named_with_what_they_leave_to_the_call() -> None:
    given = {"image": np.int64(512), "text": {"dim": 384, "metric": "cosine"}, "sound": {"dim": np.int32(8), "index": "hnsw"}}
    assert vectors_of_spec(given, metric="ip", index="flat") == (
        NamedVector(name="image", dim=512, metric=Metric.IP, index="flat"),
        NamedVector(name="text", dim=384, metric=Metric.COSINE, index="flat"),
        NamedVector(name="sound", dim=8, metric=Metric.IP, index="hnsw"),
    )
    assert vectors_of_spec(None, metric="l2", index="auto") == ()
    (large,) = vectors_of_spec({"a": 2**31}, metric="l2", index="auto")
    assert large.dim == 2**31, "how many a server takes is its own to say"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "vectors is empty"),
        ([], "vectors is empty"),
        (3, "vectors is 3, it must map names"),
        ({"a": 0}, "dim of vector 'a' is 0, it must be an integer from 1 to 16384|dim of vector 'a' is 0"),
        ({"a": 2.5}, "dim of vector 'a' is 2.5"),
        ({"a": True}, "dim of vector 'a' is True"),
        ({"a b": 3}, "name of a vector is 'a b'"),
        ({"a": {"metric": "l2"}}, "it must have a dim"),
        ({"a": {"dim": 3, "size": 4}}, "it must have a dim, and may have"),
        ({"a": {"dim": 3, "metric": "l3"}}, "metric of vector 'a'"),
        ({"a": {"dim": 3, "index": "no such"}}, "no such"),
        ({str(at): 1 for at in range(17)}, "17 vectors are named, at most 16"),
    ],
)
def test_bad_vectors_of_a_collection_are_refused(given: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        vectors_of_spec(given, metric="l2", index="auto")
