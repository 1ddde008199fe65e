"""Queries as searches. That each mode and operator finds what it should is tested on a cluster."""

from __future__ import annotations

import pytest
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode

from shoal.core.errors import InvalidArgument
from shoal.llamaindex.filters import where
from shoal.llamaindex.queries import search_of

VECTOR = [1.0, 2.0]
YEAR = MetadataFilters(filters=[MetadataFilter(key="a.b", operator=FilterOperator.GT, value=3)])


def test_a_filter_narrows_every_mode():
    for mode in ("default", "mmr", "text_search", "sparse", "hybrid"):
        query = VectorStoreQuery(VECTOR, query_str="q", filters=YEAR, node_ids=["n"], doc_ids=["d"], mode=VectorStoreQueryMode(mode))
        assert search_of(query, {})["filter"] == {
            "$and": [{"$and": [{r"a\.b": {"$gt": 3}}]}, {"$id": ["n"]}, {"_ref_doc_id": {"$in": ["d"]}}]
        }


def test_empty_lists_of_a_query_are_no_restriction_but_those_of_a_deletion_are():
    assert search_of(VectorStoreQuery(VECTOR, node_ids=[], doc_ids=[], filters=MetadataFilters(filters=[])), {})["filter"] is None
    assert where(None, []) == {"$id": []}


def test_depths():
    def of(mode, **given):
        options = given.pop("options", {})
        return search_of(VectorStoreQuery(VECTOR, query_str="q", mode=VectorStoreQueryMode(mode), **given), options)

    assert of("default", similarity_top_k=7) == {"vector": VECTOR, "k": 7, "filter": None}
    assert of("mmr", similarity_top_k=7)["candidates"] == 28
    assert of("mmr", similarity_top_k=7, options={"mmr_prefetch_factor": 1.5})["candidates"] == 10
    assert of("mmr", similarity_top_k=7, options={"mmr_prefetch_k": 3})["candidates"] == 7
    assert of("mmr", options={"mmr_threshold": 0.25, "exact": True}).items() >= {"diversity": 0.75, "exact": True}.items()
    assert of("sparse", similarity_top_k=7, sparse_top_k=200).items() >= {"k": 200, "candidates": 200, "text": "q"}.items()
    assert of("hybrid", similarity_top_k=7, hybrid_top_k=3).items() >= {"k": 3, "candidates": 100}.items()
    assert of("hybrid", similarity_top_k=7, sparse_top_k=150)["candidates"] == 150
    assert of("hybrid", options={"candidates": 500, "fusion": "rrf"}).items() >= {"candidates": 500, "fusion": "rrf"}.items()


@pytest.mark.parametrize(("alpha", "weights"), [(None, [None, None]), (0.25, [0.25, 0.75]), (0, [0, 1.0]), (1, [1, 0.0])])
def test_alpha_is_the_weight_of_the_vectors(alpha, weights):
    query = VectorStoreQuery(VECTOR, query_str="q", alpha=alpha, mode=VectorStoreQueryMode.HYBRID)
    assert [leg.weight for leg in search_of(query, {})["legs"]] == weights


def test_what_a_leg_of_no_weight_lacks_is_not_missed():
    mode = VectorStoreQueryMode.HYBRID
    assert [leg.weight for leg in search_of(VectorStoreQuery(VECTOR, alpha=1, mode=mode), {})["legs"]] == [1]
    assert [leg.weight for leg in search_of(VectorStoreQuery(query_str="q", alpha=0, mode=mode), {})["legs"]] == [1.0]
    with pytest.raises(InvalidArgument, match="query_str is missing"):
        search_of(VectorStoreQuery(VECTOR, alpha=0.9, mode=mode), {})


def test_one_of_several_named_vectors_is_named_in_every_mode_that_has_a_vector():
    def of(mode):
        return search_of(VectorStoreQuery(VECTOR, query_str="q", mode=VectorStoreQueryMode(mode)), {"using": "image"})

    assert [(of(mode)["vector"], of(mode)["using"]) for mode in ("default", "mmr")] == [(VECTOR, "image")] * 2
    hybrid = of("hybrid")
    assert ("using" in hybrid, [getattr(leg, "using", None) for leg in hybrid["legs"]]) == (False, ["image", None])


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "x", True])
def test_a_threshold_that_is_none_is_refused(threshold):
    query = VectorStoreQuery(VECTOR, mode=VectorStoreQueryMode.MMR)
    with pytest.raises(InvalidArgument, match="mmr_threshold is"):
        search_of(query, {"mmr_threshold": threshold})
