"""Collections with named vectors through both clients: created, compared, altered, tuned, shown."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from shoal.core.collection import CollectionSpec
from shoal.core.errors import AlreadyExists, InvalidArgument
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.notebook import html_of_one
from shoal.core.replies import CollectionInfo
from shoal.core.requests import AlterCollection, CreateCollection, MeasureRecall, TuneCollection
from tests.unit.shoal.client.named_sides import SIDES, VECTORS, Side

NAMED = (NamedVector(name="image", dim=2), NamedVector(name="text", dim=3, metric=Metric.COSINE, index="hnsw"))


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Side:
    made = Side(SIDES[request.param])
    made.create_collection("c", vectors=VECTORS)
    return made


def test_a_collection_tells_its_vectors(side: Side) -> None:
    spec = side.describe_collection("c").spec
    assert (spec.vectors, spec.dim, spec.point_dim) == (NAMED, 0, 6)
    assert [each.spec.vectors for each in side.list_collections()] == [NAMED]
    side.create_collection("d", vectors={"a": np.int64(7), "b": {"dim": 2, "index": "flat"}}, metric="ip", index="ivf")
    assert side.describe_collection("d").spec.vectors == (
        NamedVector(name="a", dim=7, metric=Metric.IP, index="ivf"),
        NamedVector(name="b", dim=2, metric=Metric.IP, index="flat"),
    )
    side.create_collection("plain", 2, "cosine")
    plain = side.describe_collection("plain").spec
    assert (plain.vectors, plain.dim, plain.metric) == ((), 2, Metric.COSINE)
    assert side.sent(CreateCollection)[-1].vectors == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither dim nor vectors is given"),
        ({"dim": 3, "vectors": {"a": 3}}, "dim is 3, but vectors are given, each with its own"),
        ({"dim": 0, "vectors": {"a": 3}}, "dim is 0, but vectors are given"),
        ({"vectors": {}}, "vectors is empty"),
        ({"vectors": {"a": "3"}}, "dim of vector 'a' is '3'"),
        ({"vectors": {"a": {"dim": 3, "metric": "far"}}}, "metric of vector 'a'"),
        ({"vectors": {"a b": 3}}, "the name of a vector is 'a b'"),
        ({"vectors": {"a": 3}, "metric": "far"}, "far"),
        ({"vectors": ["a"]}, "it must map names to dimensions"),
    ],
)
def test_bad_creations_are_refused_before_anything_is_sent(side: Side, options: dict[str, Any], said: str) -> None:
    before = len(side.sent(CreateCollection))
    with pytest.raises(InvalidArgument, match=said):
        side.create_collection("d", **options)
    assert len(side.sent(CreateCollection)) == before


def test_exist_ok_compares_names_dimensions_and_metrics(side: Side) -> None:
    side.create_collection("c", vectors=VECTORS, exist_ok=True)
    side.create_collection("c", vectors={"text": {"dim": 3, "metric": "cosine", "index": "flat"}, "image": 2}, index="ivf", exist_ok=True)
    assert len(side.sent(CreateCollection)) == 1
    assert side.describe_collection("c").spec.vectors == NAMED
    there = re.escape("'c' exists with vectors image (2, l2), text (3, cosine), not ")
    for options, said in (
        ({"vectors": {"image": 2}}, re.escape("image (2, l2): choose")),
        ({"vectors": {"image": 2, "text": 3}}, re.escape("image (2, l2), text (3, l2)")),
        ({"vectors": {"image": 4, "text": {"dim": 3, "metric": "cosine"}}}, re.escape("image (4, l2), text (3, cosine)")),
        ({"dim": 2}, "dim 2"),
    ):
        with pytest.raises(AlreadyExists, match=there + said):
            side.create_collection("c", **options, exist_ok=True)
    side.create_collection("plain", 2)
    with pytest.raises(AlreadyExists, match=re.escape("'plain' exists with dim 2 and metric l2, not vectors image (2, l2)")) as caught:
        side.create_collection("plain", vectors={"image": 2}, exist_ok=True)
    assert caught.value.details.field == "vectors"


def test_indexes_are_altered_by_name(side: Side) -> None:
    side.alter_collection("c", index={"image": "ivf"})
    assert [each.index for each in side.describe_collection("c").spec.vectors] == ["ivf", "hnsw"]
    (request,) = side.sent(AlterCollection)
    assert (request.index, request.indexes) == (None, {"image": "ivf"})
    side.alter_collection("c", index={"image": "flat", "text": "flat"}, recall=0.5)
    spec = side.describe_collection("c").spec
    assert ([each.index for each in spec.vectors], spec.recall) == (["flat", "flat"], 0.5)
    side.alter_collection("c", recall=0.75)
    assert side.describe_collection("c").spec.vectors == spec.vectors


@pytest.mark.parametrize(
    ("name", "index", "said"),
    [
        ("c", "hnsw", "give an index by name: image, text"),
        ("plain", {"image": "hnsw"}, "collection 'plain' has one vector without a name"),
        ("c", {"sound": "hnsw"}, "collection 'c' has no vector 'sound', it has image, text"),
        ("c", {"image": "no such"}, "no such"),
        ("c", {"image": 7}, "index is 7, it must be"),
        ("c", {7: "hnsw"}, "index names the vector 7"),
        ("c", {}, "index is an empty dict"),
    ],
)
def test_bad_indexes_are_refused(side: Side, name: str, index: Any, said: str) -> None:
    side.create_collection("plain", dim=2)
    with pytest.raises(InvalidArgument, match=said):
        side.alter_collection(name, index=index)
    assert [each.index for each in side.describe_collection("c").spec.vectors] == ["auto", "hnsw"]


def test_one_vector_is_tuned_and_measured_by_its_name(side: Side) -> None:
    assert len(side.tune("c", using="text", queries=[[1, 0, 0]])) == len(side.tune("c")) == 1
    assert len(side.measure_recall("c", 5, using="image")) == 1
    tuned, measured = side.sent(TuneCollection), side.sent(MeasureRecall)
    assert [(each.vector, each.queries is not None) for each in tuned] == [("text", True), ("", False)]
    assert [(each.vector, each.k) for each in measured] == [("image", 5)]


@pytest.mark.parametrize(
    ("name", "verb", "options", "said"),
    [
        ("c", "tune", {"using": "sound"}, "has no vector 'sound', it has image, text"),
        ("c", "tune", {"queries": [[1, 0]]}, "give the name of one: image, text"),
        ("plain", "tune", {"using": "image"}, "'plain' has one vector without a name"),
        ("c", "tune", {"using": 3}, "using names the vector 3"),
        ("c", "measure_recall", {}, "give the name of one: image, text"),
        ("c", "measure_recall", {"using": "sound"}, "has no vector 'sound', it has image, text"),
        ("plain", "measure_recall", {"using": "image"}, "'plain' has one vector without a name"),
        ("c", "measure_recall", {"using": ""}, "using names the vector ''"),
    ],
)
def test_tuning_without_a_name_that_is_there_is_refused(side: Side, name: str, verb: str, options: dict[str, Any], said: str) -> None:
    side.create_collection("plain", dim=2)
    with pytest.raises(InvalidArgument, match=said):
        getattr(side, verb)(name, **options)


def cells_of(shown: str) -> list[list[str]]:
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", shown)]


def test_tables_of_collections_tell_the_vectors(side: Side) -> None:
    side.create_collection("plain", dim=2)
    names, *rows = cells_of(side.list_collections()._repr_html_())
    listed = {row[names.index("name")]: dict(zip(names, row, strict=True)) for row in rows}
    assert listed["c"]["vectors"] == "image (2, l2, auto), text (3, cosine, hnsw)"
    assert (listed["plain"]["vectors"], listed["plain"]["dim"]) == ("", "2")
    assert (listed["c"]["dim"], listed["c"]["metric"], listed["c"]["index"]) == ("", "", "")
    told = dict(cells_of(side.describe_collection("c")._repr_html_())[1:])
    assert told["vectors"] == "image (2, l2, auto), text (3, cosine, hnsw)"
    assert not {"dim", "metric", "index"} & set(told)


def test_tables_of_collections_with_one_vector_are_as_they_were() -> None:
    info = CollectionInfo(id="7", spec=CollectionSpec(name="c", dim=3), state="active")
    assert not {"vectors"} & set(dict(cells_of(html_of_one(info))[1:]))
    assert dict(cells_of(html_of_one(info))[1:])["dim"] == "3"
