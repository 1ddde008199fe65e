"""Blocks as points with named vectors, and a sink that knows the vectors of its collection. No Ray runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow
import pytest
from ray.data.extensions import ArrowTensorArray

import shoal.ray
from shoal.client.inputs import points_from_input
from shoal.client.named_columns import by_point
from shoal.core.errors import InvalidArgument
from shoal.ray.blocks import BlockColumns
from tests.twins.router_answers import DictCluster, client_with

PIXELS = np.arange(6, dtype=np.float32).reshape(3, 2)
WORDS = [[1.0, 0.0, 0.0], None, [0.0, 0.0, 1.0]]
COLUMNS = BlockColumns(id="id", vector={"image": "pixels", "text": "words"}, payload=None)
KINDS = {
    "lists": pyarrow.array(WORDS),
    "fixed-size lists": pyarrow.array(WORDS, pyarrow.list_(pyarrow.float32(), 3)),
    "large lists of integers": pyarrow.array([[1, 0, 0], None, [0, 0, 1]], pyarrow.large_list(pyarrow.int64())),
}


def table(words: Any = KINDS["lists"], pixels: Any = ArrowTensorArray.from_numpy(PIXELS)) -> Any:
    return pyarrow.table({"id": [1, 2, 3], "pixels": pixels, "words": words, "note": ["x", None, "z"]})


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_of_each_vector_with_nulls_where_a_point_lacks_it(kind: str) -> None:
    (piece,) = COLUMNS.pieces_of(table(KINDS[kind]))
    points = points_from_input(piece.ids, piece.vectors, piece.payloads)
    assert points.named is not None
    assert [{name: vector.tolist() for name, vector in each.items()} for each in by_point(points.named, 3)] == [
        {"image": [0, 1], "text": [1, 0, 0]},
        {"image": [2, 3]},
        {"image": [4, 5], "text": [0, 0, 1]},
    ]
    assert piece.payloads == [{"note": "x"}, {"note": None}, {"note": "z"}]


def test_a_column_of_nulls_is_of_no_point() -> None:
    (piece,) = COLUMNS.pieces_of(table(pyarrow.nulls(3)))
    points = points_from_input(piece.ids, piece.vectors, None)
    assert points.named is not None
    assert [list(each) for each in by_point(points.named, 3)] == [["image"]] * 3


def test_a_bad_vector_is_named_by_column_and_row() -> None:
    (piece,) = COLUMNS.pieces_of(table(pyarrow.array([None, [1.0, float("nan")], [1.0, 2.0]])))
    with pytest.raises(InvalidArgument) as caught:
        points_from_input(piece.ids, piece.vectors, None)
    said = COLUMNS.named(caught.value, 40)
    assert said.message == "column 'words', row 41 of its block: vectors['text'][41] holds NaN or infinity in float32"
    assert said.details.index == 41
    with pytest.raises(InvalidArgument, match="vector: the dataset has no column 'words'"):
        next(COLUMNS.pieces_of(pyarrow.table({"id": [1], "pixels": [[1.0]]})))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> DictCluster:
    made = DictCluster()
    monkeypatch.setattr("shoal.ray.sink.connect", lambda *_, **__: client_with(made))
    with client_with(made) as client:
        client.create_collection("named", vectors={"image": 2, "text": {"dim": 3, "metric": "cosine"}})
        client.create_collection("plain", dim=2)
    return made


def test_a_sink_writes_points_with_the_vectors_that_they_have(cluster: DictCluster) -> None:
    sink = shoal.ray.Sink("a:1", "named", vector={"image": "pixels", "text": "words"})
    sink.on_write_start()
    assert sink.write([table(), table().slice(0, 0)], None) == 3
    held = {key: {name: vector.tolist() for name, vector in row.items()} for key, (row, _) in cluster.points["named"].items()}
    assert held == {1: {"image": [0, 1], "text": [1, 0, 0]}, 2: {"image": [2, 3]}, 3: {"image": [4, 5], "text": [0, 0, 1]}}
    with pytest.raises(InvalidArgument, match=r"column 'words', row 2 of its block: vectors\['text'\]\[2\] is zero"):
        sink.write([table(pyarrow.array([None, None, [0.0, 0.0, 0.0]]))], None)


@pytest.mark.parametrize(
    ("collection", "vector", "said"),
    [
        ("named", "pixels", r"has several vectors: give the column of each, vector=\{'image': ..., 'text': ...\}, not vector='pixels'"),
        ("named", {"sound": "pixels"}, "has no vector 'sound', it has image, text"),
        ("plain", {"image": "pixels"}, "collection 'plain' has one vector without a name, not 'image'"),
    ],
)
def test_a_sink_that_does_not_fit_its_collection_is_refused_before_any_task(
    cluster: DictCluster, collection: str, vector: Any, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        shoal.ray.Sink("a:1", collection, vector=vector).on_write_start()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"vector": {}}, "vector is an empty dict"),
        ({"vector": {"image": 3}}, "vector is 3, it must be the name of a column"),
        ({"vector": {3: "pixels"}}, "vector names the vector 3"),
        ({"vector": {"image": "pixels"}, "payload": ["pixels"]}, "payload names the column 'pixels', which is taken"),
    ],
)
def test_bad_columns_of_a_sink_are_refused(options: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        shoal.ray.Sink("a:1", "named", **options)
