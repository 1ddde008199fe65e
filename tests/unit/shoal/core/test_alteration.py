from __future__ import annotations

import pytest

from shoal.core.alteration import Alteration, altered_spec
from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument

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
    [(Alteration(), "index"), (Alteration(index="magic"), "index"), (Alteration(index=""), "index"), (Alteration(recall=0.0), "recall")],
)
def test_what_cannot_be_is_refused_by_name(alteration: Alteration, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        altered_spec(SPEC, alteration)
    assert caught.value.details.field == field


def test_the_index_must_suit_the_dimension() -> None:
    with pytest.raises(InvalidArgument, match="PQ"):
        altered_spec(SPEC, Alteration(index="PQ3"))
