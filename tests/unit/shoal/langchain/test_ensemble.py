"""The order of a ShoalRetriever is that of EnsembleRetriever, also where sums are equal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from shoal.client.results import LegHit
from shoal.langchain.ensemble import ensemble_search, in_order_of_ensemble

LEG = st.lists(st.integers(0, 12), unique=True, max_size=10)
WEIGHT = st.sampled_from([0.5, 0.4, 0.6, 0.1, 1.0, 3.0])


@given(LEG, LEG, WEIGHT, WEIGHT, st.sampled_from([1, 20, 60]))
def test_the_order_equals_that_of_langchain(text, dense, text_weight, dense_weight, c):
    legs = [[Document(page_content=str(each)) for each in leg] for leg in (text, dense)]
    retrievers: list[Any] = [RunnableLambda(lambda _, leg=leg: leg) for leg in legs]
    ensemble = EnsembleRetriever(retrievers=retrievers, weights=[text_weight, dense_weight], c=c)
    wanted = [int(document.page_content) for document in ensemble.weighted_reciprocal_rank(legs)]
    hits: list[Any] = []
    for each in sorted({*text, *dense}):
        ranks = {name: leg.index(each) + 1 for name, leg in (("text", text), ("dense", dense)) if each in leg}
        hits.append(SimpleNamespace(id=each, legs={name: LegHit(rank, 0.0) for name, rank in ranks.items()}))
    assert [hit.id for hit in in_order_of_ensemble(hits, (text_weight, dense_weight), c)] == wanted


def search(query: str = "a b", **given: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"k": 5, "weights": (0.3, 0.7), "fusion": "rrf", "c": 9, "fetch_k": 20, "diversity": None, "fields": None}
    return ensemble_search(query, [1.0, 2.0], **(usual | given))


def test_a_search_has_both_legs_and_some_hits_for_ties():
    made = search(fields={"title": 2.0})
    text, dense = made.pop("legs")
    assert (text.text, text.weight, text.fields, dense.vector, dense.weight) == ("a b", 0.3, {"title": 2.0}, [1.0, 2.0], 0.7)
    assert made == {"k": 9, "candidates": 20, "fusion": "rrf", "c": 9}


def test_k_is_never_beyond_the_candidates():
    assert (search(k=18)["k"], search(k=50)["k"], search(k=50)["candidates"]) == (20, 50, 50)


@pytest.mark.parametrize(("given", "legs"), [({"weights": (1, 0)}, 1), ({"weights": (0, 1)}, 2), ({"query": " \n"}, 1)])
def test_legs_that_cannot_count_are_left_out(given, legs):
    assert len(search(**given)["legs"]) == legs


def test_options_of_other_searches():
    assert search(fusion="zscore", c=1).keys() == {"legs", "k", "candidates", "fusion"}
    assert search(fusion="zscore")["k"] == 5
    diverse = search(diversity=0.25)
    assert (diverse["diversity"], diverse["k"]) == (0.25, 5)
