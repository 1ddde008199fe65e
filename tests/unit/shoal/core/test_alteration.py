from __future__ import annotations

import pytest

from shoal.core.alteration import Alteration, altered_spec
from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.fusion_choice import SearchDefaults
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.text_fields import text_fields_from_input

SPEC = CollectionSpec(name="n", dim=8, index="hnsw", recall=0.9)


@pytest.mark.parametrize(
    ("alteration", "index", "recall"),
    [
        (Alteration(index="flat"), "flat", 0.9),
        (Alteration(recall=1), "hnsw", 1.0),
        (Alteration(index="flat", recall=0.5), "flat", 0.5),
        (Alteration(index="hnsw"), "hnsw", 0.9),
    ],
)
def test_what_is_given_is_changed(alteration: Alteration, index: str, recall: float) -> None:
    after = altered_spec(SPEC, alteration)
    assert (after.index, after.recall, after.name, after.dim) == (index, recall, "n", 8)


@pytest.mark.parametrize(
    ("alteration", "field"),
    [
        (Alteration(), "index"),
        (Alteration(indexes={}), "index"),
        (Alteration(index="magic"), "index"),
        (Alteration(index=""), "index"),
        (Alteration(recall=0.0), "recall"),
    ],
)
def test_what_cannot_be_is_refused_by_name(alteration: Alteration, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        altered_spec(SPEC, alteration)
    assert caught.value.details.field == field


@pytest.mark.parametrize(
    ("alteration", "replicas", "min_isr"),
    [
        (Alteration(replicas=3), 3, 2),
        (Alteration(replicas=2, min_isr=2), 2, 2),
        (Alteration(replicas=7, min_isr=0), 7, 6),
        (Alteration(min_isr=1), 1, 1),
    ],
)
def test_replicas_and_copies_are_changed_and_the_usual_follows(alteration: Alteration, replicas: int, min_isr: int) -> None:
    after = altered_spec(SPEC, alteration)
    assert (after.replicas, after.min_isr, after.index) == (replicas, min_isr, "hnsw")


@pytest.mark.parametrize(
    ("alteration", "field"),
    [
        (Alteration(replicas=0), "replicas"),
        (Alteration(replicas=8), "replicas"),
        (Alteration(min_isr=2), "min_isr"),
        (Alteration(replicas=2, min_isr=-1), "min_isr"),
        (Alteration(replicas=2, min_isr=3), "min_isr"),
    ],
)
def test_replicas_that_cannot_be_are_refused_by_name(alteration: Alteration, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        altered_spec(SPEC, alteration)
    assert caught.value.details.field == field


def test_fewer_replicas_than_were_chosen_to_be_reached_need_another_choice() -> None:
    chosen = altered_spec(SPEC, Alteration(replicas=3, min_isr=3))
    with pytest.raises(InvalidArgument, match=r"replicas is 2, but min_isr of collection .* was set to 3") as caught:
        altered_spec(chosen, Alteration(replicas=2))
    assert caught.value.details.field == "replicas"
    assert altered_spec(chosen, Alteration(replicas=2, min_isr=0)).min_isr == 1


def test_the_index_must_suit_the_dimension() -> None:
    with pytest.raises(InvalidArgument, match="PQ"):
        altered_spec(SPEC, Alteration(index="PQ3"))


TEXT = text_fields_from_input({"title": "auto", "body": "cjk"})


def test_text_fields_are_given_whole_and_boosts_of_dropped_ones_go_with_them() -> None:
    spec = altered_spec(SPEC, Alteration(text=TEXT, defaults=SearchDefaults(boosts=(("body", 2.0), ("title", 3.0)), text_weight=2.0)))
    assert (spec.text, spec.defaults.boosts) == (TEXT, (("body", 2.0), ("title", 3.0)))
    assert [each.name for each in spec.text] == ["body", "title"]
    fewer = altered_spec(spec, Alteration(text=text_fields_from_input({"title": "auto", "note": "raw"})))
    assert [each.name for each in fewer.text] == ["note", "title"]
    assert (fewer.defaults.boosts, fewer.defaults.text_weight) == ((("title", 3.0),), 2.0)
    assert altered_spec(fewer, Alteration(recall=0.5)).text == fewer.text
    assert altered_spec(fewer, Alteration(text=())).text == ()


@pytest.mark.parametrize(
    ("alteration", "field", "named"),
    [
        (Alteration(defaults=SearchDefaults(boosts=(("nobody", 2.0),))), "defaults", "'nobody', the text fields are body, title"),
        (Alteration(text=(), defaults=SearchDefaults(boosts=(("title", 2.0),))), "defaults", "'title', the text fields are none"),
        (Alteration(defaults=SearchDefaults(dense_weight=-1.0)), "defaults", "dense_weight -1.0"),
        (Alteration(text=(TEXT[0], TEXT[0])), "text", "twice"),
    ],
)
def test_text_fields_and_defaults_that_cannot_be_are_refused_by_name(alteration: Alteration, field: str, named: str) -> None:
    spec = altered_spec(SPEC, Alteration(text=TEXT))
    with pytest.raises(InvalidArgument, match=named) as caught:
        altered_spec(spec, alteration)
    assert caught.value.details.field == field


IMAGE, WORDS = NamedVector(name="image", dim=512), NamedVector(name="text", dim=4, metric=Metric.COSINE, index="flat")
NAMED = CollectionSpec(name="n", dim=0, vectors=(IMAGE, WORDS))


def test_indexes_of_named_vectors_are_changed_by_name() -> None:
    after = altered_spec(NAMED, Alteration(indexes={"image": "hnsw8"}))
    assert after.vectors == (NamedVector(name="image", dim=512, index="HNSW8,Flat"), WORDS)
    assert (after.index, after.dim) == ("auto", 0)
    assert altered_spec(NAMED, Alteration(recall=0.5)).vectors == NAMED.vectors


@pytest.mark.parametrize(
    ("spec", "alteration", "field", "told"),
    [
        (NAMED, Alteration(index="hnsw"), "index", "give an index by name: image, text"),
        (NAMED, Alteration(indexes={"img": "hnsw"}), "vector", "no vector 'img', it has image, text"),
        (NAMED, Alteration(indexes={"": "hnsw"}), "vector", "give the name of one: image, text"),
        (NAMED, Alteration(indexes={"text": "PQ3"}), "index", "PQ3"),
        (SPEC, Alteration(indexes={"image": "hnsw"}), "indexes", "one vector without a name"),
        (NAMED, Alteration(indexes={"image": "flat"}, index="flat"), "index", "by name"),
    ],
)
def test_an_index_belongs_to_a_vector_that_there_is(spec: CollectionSpec, alteration: Alteration, field: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as caught:
        altered_spec(spec, alteration)
    assert caught.value.details.field == field
