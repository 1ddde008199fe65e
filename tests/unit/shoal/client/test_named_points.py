"""Points with named vectors through both clients: written, updated in part, read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import shoal
from shoal.client import batches, writes
from shoal.core.errors import InvalidArgument, NotFound
from shoal.core.point_change import UpdateNamed
from shoal.core.requests import ListCollections, Update, Upsert
from tests.unit.shoal.client.named_sides import SIDES, VECTORS, Side

IMAGES, TEXTS = np.array([[0, 1], [2, 3], [4, 5]], np.float32), [[1, 0, 0], None, [0, 1, 0]]


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    made = Side(SIDES[request.param])
    made.create_collection("c", vectors=VECTORS)
    return made


@pytest.fixture
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit messages to ten points with integer ids and an image, and groups of points to forty."""
    monkeypatch.setattr(writes, "MESSAGE_BYTES", 200)
    monkeypatch.setattr("shoal.client.updates.MESSAGE_BYTES", 200)
    monkeypatch.setattr(batches, "GATHERED_BYTES", 800)


def held(side: Side, name: str = "c") -> dict[Any, dict[str, list[float]]]:
    return {key: {name: vector.tolist() for name, vector in row.items()} for key, (row, _) in side.cluster.points[name].items()}


def told(points: Iterable[Any]) -> dict[Any, dict[str, list[float]]]:
    return {point.id: {name: _numbers(vector) for name, vector in point.vector.items()} for point in points}


def _numbers(vector: Any) -> list[float]:
    assert (type(vector), vector.dtype) == (np.ndarray, np.float32)
    listed: list[float] = vector.tolist()
    return listed


def test_points_are_written_and_read_with_the_vectors_they_have(side: Side) -> None:
    assert side.upsert("c", [1, "b", 3], {"image": IMAGES, "text": TEXTS}, [{"t": "x"}, None, {}]) == 3
    assert side.upsert("c", [4], {}, [{"t": "no vector"}]) == 1
    wanted = {1: {"image": [0, 1], "text": [1, 0, 0]}, "b": {"image": [2, 3]}, 3: {"image": [4, 5], "text": [0, 1, 0]}, 4: {}}
    assert held(side) == wanted
    assert told(side.get("c", [1, "b", 3, 4, 99])) == wanted
    assert told(side.get("c", [4])) == {4: {}}
    assert told(side.scroll("c", batch=3, with_vectors=True)) == {key: wanted[key] for key in (1, 3, 4, "b")}
    assert [point.vector for point in side.get("c", [1, 4], with_vectors=False)] == [None, None]
    assert json.loads(side.cluster.points["c"][1][1]) == {"t": "x"}


def test_an_upsert_is_the_whole_point_and_an_update_keeps_the_others(side: Side) -> None:
    side.upsert("c", [1, 2, 3], {"image": IMAGES, "text": TEXTS}, [{"n": n} for n in range(3)])
    side.upsert("c", [1], {"text": [[0, 0, 1]]})
    assert held(side)[1] == {"text": [0, 0, 1]}
    assert side.update_vectors("c", [1, 2, "none"], {"image": [[7, 7], [8, 8], [9, 9]]}) == 2
    assert side.update_vectors("c", [3, 2], {"text": [None, [5, 0, 0]], "image": [[6, 6], None]}) == 2
    assert held(side) == {
        1: {"text": [0, 0, 1], "image": [7, 7]},
        2: {"image": [8, 8], "text": [5, 0, 0]},
        3: {"image": [6, 6], "text": [0, 1, 0]},
    }
    assert [point.payload for point in side.get("c", [2, 3])] == [{"n": 1}, {"n": 2}]


def test_a_large_write_is_cut_with_each_vector_where_it_belongs(side: Side, small_messages: None) -> None:
    count = 99
    texts = [None if at % 3 else [at, 1, 0] for at in range(count)]
    images = np.arange(2 * count, dtype=np.uint8).reshape(count, 2)
    told_so_far: list[Any] = []
    given = {"image": images, "text": texts}
    assert side.upsert("c", range(count), given, progress=lambda done, of: told_so_far.append((done, of))) == count
    wanted = {at: {"image": images[at].tolist()} | ({} if texts[at] is None else {"text": [float(at), 1.0, 0.0]}) for at in range(count)}
    assert held(side) == wanted
    sent = side.sent(Upsert)
    assert len(sent) > 10
    assert {column.vectors.dtype for request in sent for column in request.points.named.values()} == {np.dtype(np.float32)}
    assert told_so_far[-1] == (count, count)
    assert side.update_vectors("c", range(count), {"text": [[0, 0, 1] if text is None else None for text in texts]}) == count
    assert held(side) == {at: {"text": [0, 0, 1], **row} for at, row in wanted.items()}
    changes = side.sent(Update)
    assert len(changes) > 4
    assert all(isinstance(each.change, UpdateNamed) for each in changes)


def test_a_name_that_no_point_has_must_be_one_of_the_collection(side: Side) -> None:
    side.upsert("c", [1, 2], {"image": [[1, 1], [2, 2]], "text": [None, None]})
    assert held(side) == {1: {"image": [1, 1]}, 2: {"image": [2, 2]}}
    for write in (side.upsert, side.update_vectors):
        with pytest.raises(InvalidArgument, match="has no vector 'txet', it has image, text"):
            write("c", [1, 2], {"image": [[3, 3], None], "txet": [None, None]})
    with pytest.raises(InvalidArgument, match="has no vector 'txet', it has image, text"):
        side.upsert_batches("c", [([1], {"image": [[3, 3]]}), ([2], {"txet": [None]})])
    assert held(side) == {1: {"image": [1, 1]}, 2: {"image": [2, 2]}}


def test_of_points_with_one_id_the_last_one_counts_as_a_whole(side: Side) -> None:
    given = {"image": [[1, 1], None, [3, 3], None], "text": [None, [0, 0, 2], None, [0, 0, 4]]}
    assert side.upsert("c", [7, 8, 7, 8], given) == 2
    assert held(side) == {7: {"image": [3, 3]}, 8: {"text": [0, 0, 4]}}


def test_a_large_write_is_refused_whole_if_one_message_would_be(side: Side, small_messages: None) -> None:
    texts: list[Any] = [[1, 0, 0]] * 99
    texts[77] = [0, 0, 0]
    for given, said in (
        ({"image": np.zeros((99, 2)), "text": texts}, r"vectors\['text'\]\[77\] is zero: it has no direction under cosine"),
        ({"image": np.zeros((99, 3))}, r"vectors\['image'\] have dimension 3, vector 'image' has 2"),
        ({"sound": np.zeros((99, 3))}, "has no vector 'sound', it has image, text"),
        (np.zeros((99, 3)), "give them by name: image, text"),
    ):
        for verb in (side.upsert, side.update_vectors):
            with pytest.raises(InvalidArgument, match=said):
                verb("c", range(99), given)
    assert side.sent(Upsert) == side.sent(Update) == []
    assert len(side.sent(ListCollections)) == 8


def test_batches_are_joined_by_name(side: Side, small_messages: None) -> None:
    parts = [
        ([1, 2], {"image": [[1, 1], [2, 2]]}),
        ([3], {"text": [[3, 0, 0]]}, [{"n": 3}]),
        ([4, 5], {"text": [None, None], "image": [None, [5, 5]]}),
        ([6], {}),
        (range(10, 60), {"image": np.ones((50, 2))}),
    ]
    assert side.upsert_batches("c", parts) == 56
    found = held(side)
    few = {1: {"image": [1, 1]}, 2: {"image": [2, 2]}, 3: {"text": [3, 0, 0]}, 4: {}, 5: {"image": [5, 5]}, 6: {}}
    assert {key: found[key] for key in range(1, 7)} == few
    assert all(found[key] == {"image": [1, 1]} for key in range(10, 60))
    assert json.loads(side.cluster.points["c"][3][1]) == {"n": 3}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (([2], {"image": [[1, 1, 1]]}), r"batch 1: vectors\['image'\] have dimension 3, those before have 2"),
        (([2], [[1, 1]]), "batch 1: vectors are a matrix, those of the batch before are by name"),
        (([2, 3], {"text": [None, [1, float("inf"), 1]]}), r"batch 1: vectors\['text'\]\[1\] holds NaN or infinity"),
    ],
)
def test_a_bad_batch_is_named_and_those_before_are_written(side: Side, second: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        side.upsert_batches("c", [([1], {"image": [[0, 0]]}), second, ([9], {"image": [[9, 9]]})])
    assert held(side) == {1: {"image": [0, 0]}}


def test_a_batch_that_the_server_refuses_is_named(side: Side) -> None:
    with pytest.raises(InvalidArgument, match=r"batch 0: .*has no vector 'sound', it has image, text"):
        side.upsert_batches("c", [([1], {"sound": [[1, 1]]})])


@pytest.mark.parametrize("verb", ["upsert", "update_vectors"])
@pytest.mark.parametrize(
    ("collection", "vectors", "said"),
    [
        ("c", [[1, 1], [2, 2]], "collection 'c' has several vectors, give them by name: image, text"),
        ("plain", {"image": [[1, 1], [2, 2]]}, "collection 'plain' has one vector of 2 dimensions without a name"),
        ("c", {"sound": [[1, 1], [2, 2]]}, "collection 'c' has no vector 'sound', it has image, text"),
        ("c", {"image": [[1, 1, 1], [2, 2, 2]]}, r"vectors\['image'\] have dimension 3, vector 'image' has 2"),
        ("c", {"image": [[1, 1]]}, r"vectors\['image'\] has 1 vectors for 2 ids"),
        ("c", {"image": [[1, 1], None, [2, 2]]}, r"vectors\['image'\] has 3 vectors for 2 ids"),
        ("c", {"image": [[1, 1], [2, float("nan")]]}, r"vectors\['image'\]\[1\] holds NaN"),
        ("c", {"image": None}, r"vectors\['image'\] is None: leave the name out"),
        ("c", {7: [[1, 1], [2, 2]]}, "vectors names the vector 7"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(side: Side, verb: str, collection: str, vectors: Any, said: str) -> None:
    side.create_collection("plain", dim=2)
    side.upsert("c", [1, 2], {"image": IMAGES[:2]})
    before = held(side)
    with pytest.raises(InvalidArgument, match=said):
        getattr(side, verb)(collection, [1, 2], vectors)
    assert held(side) == before
    assert side.count("plain") == 0


@pytest.mark.parametrize("vectors", [{}, {"image": [None, None]}, {"image": [None, None], "text": [None, None]}])
def test_an_update_without_any_vector_is_refused_and_an_upsert_writes_points_without(side: Side, vectors: Any) -> None:
    with pytest.raises(InvalidArgument, match="vectors has no vector for any id"):
        side.update_vectors("c", [1, 2], vectors)
    assert side.sent(Update) == []
    assert side.upsert("c", [1, 2], vectors, [{"t": "x"}, None]) == 2
    assert held(side) == {1: {}, 2: {}}
    assert side.count("c", filter={"t": "x"}) == 1


def test_an_update_takes_each_id_once(side: Side) -> None:
    with pytest.raises(InvalidArgument, match=r"ids\[1\]: 1 is given twice"):
        side.update_vectors("c", [1, 1], {"image": [[1, 1], [2, 2]]})


def test_clear_and_delete_take_points_whatever_vectors_they_have(side: Side) -> None:
    side.upsert("c", [1, 2, 3], {"image": [[1, 1], None, None]}, [{"n": n} for n in range(3)])
    assert side.delete("c", filter={"n": 1}) == 1
    assert side.set_payload("c", {"n": 9}, ids=[1, 3]) == 2
    assert held(side) == {1: {"image": [1, 1]}, 3: {}}
    assert side.clear("c") == 2
    side.drop_collection("c")
    with pytest.raises(NotFound):
        side.get("c", [1])


def test_points_in_a_notebook_have_a_column_for_each_vector(side: Side) -> None:
    side.upsert("c", [1, 2], {"image": [[1, 2], None], "text": [None, [1, 0, 0]]})
    shown = shoal.Points(side.get("c", [1, 2]))._repr_html_()
    assert "<th>vector image</th><th>vector text</th>" in shown
    assert "<td>[1, 2] (2)</td><td></td>" in shown
    assert "<td></td><td>[1, 0, 0] (3)</td>" in shown
