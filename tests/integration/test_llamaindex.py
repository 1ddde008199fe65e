"""LlamaIndex on a real cluster: each operator of filters, each mode of queries, sync and async."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

import shoal
from shoal.llamaindex import ShoalNodeStore
from tests.support.cluster.role_cluster import RoleCluster

NAMES = (f"llamaindex-{number}" for number in itertools.count())
ANIMALS = ("blue whale", "red fox", "grey wolf", "green frog", "brown bear")
ROWS = np.random.default_rng(8).normal(size=(20, 6)).astype(np.float32)
Op = FilterOperator
Mode = VectorStoreQueryMode


def nodes() -> list[TextNode]:
    """Return 20 nodes of 5 documents, whose metadata misses some keys."""
    made = []
    for number in range(20):
        metadata: dict[str, Any] = {"rank": number, "name": ANIMALS[number % 5], "tags": ["all", f"t{number % 3}"], "a.b": number % 2}
        if number % 4 == 0:
            del metadata["rank"]
        if number % 7 == 0:
            metadata |= {"tags": [], "name": ""}
        made.append(
            TextNode(
                id_=f"n{number:02}",
                text=f"The {ANIMALS[number % 5]} was seen {number} times",
                metadata=metadata,
                embedding=ROWS[number].tolist(),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"d{number // 4}")},
            )
        )
    return made


NODES = {node.node_id: node for node in nodes()}


@pytest.fixture(scope="module")
def store(shared_cluster: RoleCluster) -> Iterator[ShoalNodeStore]:
    store = ShoalNodeStore(next(NAMES), shared_cluster.address, create={"shards": 2})
    assert store.add(nodes()) == list(NODES)
    yield store
    store.client.drop_collection(store.collection)
    store.close()


@pytest.fixture
def own(shared_cluster: RoleCluster) -> Iterator[ShoalNodeStore]:
    """A store that a test may change."""
    store = ShoalNodeStore(next(NAMES), shared_cluster.address)
    store.add(nodes())
    yield store
    store.client.drop_collection(store.collection)
    store.close()


def asked(store: ShoalNodeStore, query: VectorStoreQuery, **options: Any) -> tuple[list[str], list[float]]:
    """Return ids and similarities, which are those of the async call, too."""
    found = store.query(query, **options)

    async def again() -> Any:
        return await store.aquery(query, **options)

    twin = asyncio.run(again())
    assert (twin.ids, twin.similarities) == (found.ids, found.similarities)
    assert [node.node_id for node in found.nodes] == [node.node_id for node in twin.nodes] == found.ids
    assert all(node == NODES[node.node_id].model_copy(update={"embedding": None}) for node in found.nodes)
    return found.ids, found.similarities


def one(key: str, operator: FilterOperator, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, operator=operator, value=value)])


AS_LLAMAINDEX = [
    ("name", Op.EQ, "red fox"),
    ("name", Op.NE, "red fox"),
    ("rank", Op.GT, 7),
    ("rank", Op.GTE, 7),
    ("rank", Op.LT, 7),
    ("rank", Op.LTE, 7),
    ("rank", Op.NE, 7),
    ("rank", Op.IN, [3, 5, 8, 11]),
    ("rank", Op.NIN, [3, 5, 8, 11]),
    ("tags", Op.ANY, ["t1", "t2"]),
    ("tags", Op.ALL, ["all", "t2"]),
    ("tags", Op.CONTAINS, "t1"),
    ("name", Op.TEXT_MATCH, "wol"),
    ("rank", Op.IS_EMPTY, None),
    ("tags", Op.IS_EMPTY, None),
    ("name", Op.IS_EMPTY, None),
    ("a.b", Op.EQ, 1),
]


@pytest.mark.parametrize(("key", "operator", "value"), AS_LLAMAINDEX)
def test_an_operator_means_what_it_means_in_llamaindex(store, key, operator, value) -> None:
    filters = one(key, operator, value)
    matches = build_metadata_filter_fn(lambda node_id: NODES[node_id].metadata, filters)
    wanted = [node_id for node_id in NODES if matches(node_id)]
    assert 0 < len(wanted) < 20
    assert [node.node_id for node in store.get_nodes(filters=filters)] == wanted
    found, _ = asked(store, VectorStoreQuery(query_embedding=ROWS[0].tolist(), similarity_top_k=20, filters=filters))
    assert sorted(found) == wanted


def test_all_operators_are_tested_or_refused(store) -> None:
    tested = {operator for _, operator, _ in AS_LLAMAINDEX}
    assert set(Op) - tested == {Op.TEXT_MATCH_INSENSITIVE}
    with pytest.raises(shoal.InvalidArgument, match=r"'name' with operator 'text_match_insensitive': Shoal does not have it"):
        store.get_nodes(filters=one("name", Op.TEXT_MATCH_INSENSITIVE, "Fox"))


@pytest.mark.parametrize("condition", list(FilterCondition))
def test_a_condition_means_what_it_means_in_llamaindex(store, condition) -> None:
    parts = [MetadataFilter(key="rank", operator=Op.GT, value=9), MetadataFilter(key="tags", operator=Op.CONTAINS, value="t1")]
    filters = MetadataFilters(filters=parts, condition=condition)
    matches = build_metadata_filter_fn(lambda node_id: NODES[node_id].metadata, filters)
    assert [node.node_id for node in store.get_nodes(filters=filters)] == [node_id for node_id in NODES if matches(node_id)]


def test_conditions_inside_conditions(store) -> None:
    inner = MetadataFilters(
        filters=[one("rank", Op.LT, 4), MetadataFilter(key="rank", operator=Op.GT, value=16)], condition=FilterCondition.OR
    )
    filters = MetadataFilters(filters=[inner, MetadataFilters(filters=[one("a.b", Op.EQ, 1)], condition=FilterCondition.NOT)])
    assert [node.node_id for node in store.get_nodes(filters=filters)] == ["n02", "n18"]
    assert len(store.get_nodes(filters=MetadataFilters(filters=[]))) == 20


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        (("tags", Op.IN, "t1"), "its value is 't1', it must be a list"),
        (("tags", Op.ALL, []), "its list is empty"),
        (("rank", Op.EQ, [1]), r"its value is \[1\], it takes one value"),
        (("rank", Op.TEXT_MATCH, 3), "its value is 3, it must be a text"),
    ],
)
def test_values_that_do_not_fit_are_typed_errors(store, filter, told) -> None:
    with pytest.raises(shoal.InvalidArgument, match=told):
        store.query(VectorStoreQuery(query_embedding=ROWS[0].tolist(), filters=one(*filter)))


def test_default_mode_finds_the_nearest(store) -> None:
    cosines = ROWS @ ROWS[3] / np.linalg.norm(ROWS, axis=1) / np.linalg.norm(ROWS[3])
    found, similarities = asked(store, VectorStoreQuery(query_embedding=ROWS[3].tolist(), similarity_top_k=6))
    wanted = np.argsort(-cosines)[:6]
    assert found == [f"n{number:02}" for number in wanted]
    np.testing.assert_allclose(similarities, cosines[wanted], atol=1e-6)


@pytest.mark.parametrize("mode", [Mode.TEXT_SEARCH, Mode.SPARSE])
def test_text_modes_find_words(store, mode) -> None:
    found, similarities = asked(store, VectorStoreQuery(query_str="foxes seen 11", similarity_top_k=3, mode=mode))
    assert found[0] == "n11"
    assert similarities == sorted(similarities, reverse=True)
    few, _ = asked(store, VectorStoreQuery(query_str="wolf", similarity_top_k=9, mode=mode, filters=one("rank", Op.GT, 6)))
    assert sorted(few) == ["n07", "n17"]


@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
def test_hybrid_mode_fuses_both_legs_with_the_filter_on_both(store, alpha) -> None:
    filters = one("rank", Op.GT, 2)
    query = VectorStoreQuery(
        query_embedding=ROWS[5].tolist(),
        query_str="grey wolf",
        similarity_top_k=4,
        hybrid_top_k=6,
        alpha=alpha,
        mode=Mode.HYBRID,
        filters=filters,
    )
    found, similarities = asked(store, query)
    legs = [shoal.Dense(ROWS[5], weight=alpha), shoal.Text("grey wolf", weight=None if alpha is None else 1 - alpha)]
    wanted = store.client.search(store.collection, legs=legs, k=6, filter={"rank": {"$gt": 2}})
    assert (found, similarities) == ([hit.id for hit in wanted], [hit.score for hit in wanted])
    assert 0.9 < similarities[0] <= 1.0 if alpha in (0.0, 1.0) else 0.3 < similarities[0] <= 1.0
    assert all(NODES[each].metadata["rank"] > 2 for each in found)


@pytest.mark.parametrize("threshold", [None, 0.1, 0.8, 1.0])
def test_mmr_mode_is_maximal_marginal_relevance(store, threshold) -> None:
    """The function of LlamaIndex compares with the last pick only, so the first two picks are the same."""
    asked_for = ROWS[2] + ROWS[7]
    query = VectorStoreQuery(query_embedding=asked_for.tolist(), similarity_top_k=5, mode=Mode.MMR, mmr_threshold=threshold)
    near = [int(each[1:]) for each in asked(store, VectorStoreQuery(query_embedding=asked_for.tolist(), similarity_top_k=20))[0]]
    wanted = maximal_marginal_relevance(asked_for, [ROWS[each] for each in near], 0.5 if threshold is None else threshold, 5)
    found = asked(store, query, mmr_prefetch_k=20)[0]
    assert found == [f"n{near[each]:02}" for each in wanted]
    _, of_llamaindex = get_top_k_mmr_embeddings(
        asked_for.tolist(), ROWS.tolist(), similarity_top_k=2, embedding_ids=list(NODES), mmr_threshold=threshold
    )
    assert found[:2] == of_llamaindex
    assert asked(store, query, mmr_threshold=0.9, mmr_prefetch_k=20) == asked(
        store, VectorStoreQuery(query_embedding=asked_for.tolist(), similarity_top_k=5, mode=Mode.MMR, mmr_threshold=0.9), mmr_prefetch_k=20
    )
    assert {int(each[1:]) for each in asked(store, query, mmr_prefetch_factor=2)[0]} <= set(near[:10])


@pytest.mark.parametrize("mode", [Mode.SEMANTIC_HYBRID, Mode.SVM, Mode.LOGISTIC_REGRESSION, Mode.LINEAR_REGRESSION])
def test_modes_that_shoal_does_not_have_are_typed_errors(store, mode) -> None:
    with pytest.raises(shoal.InvalidArgument, match=rf"mode is '{mode.value}', Shoal has default, mmr, hybrid, text_search, sparse"):
        store.query(VectorStoreQuery(query_embedding=ROWS[0].tolist(), mode=mode))


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (VectorStoreQuery(query_str="x"), "query_embedding is missing, mode default"),
        (VectorStoreQuery(query_embedding=[1.0] * 6, mode=Mode.HYBRID), "query_str is missing, mode hybrid"),
        (VectorStoreQuery(query_embedding=[1.0] * 6, query_str="x", alpha=2, mode=Mode.HYBRID), "alpha is 2"),
        (VectorStoreQuery(query_embedding=[1.0] * 6, mmr_threshold=-1, mode=Mode.MMR), "mmr_threshold is -1"),
    ],
)
def test_queries_that_lack_something_are_typed_errors(store, query, told) -> None:
    with pytest.raises(shoal.InvalidArgument, match=told):
        store.query(query)


def test_ids_and_documents_narrow_a_query(store) -> None:
    everything = {"query_embedding": ROWS[0].tolist(), "similarity_top_k": 20}
    assert sorted(asked(store, VectorStoreQuery(**everything, node_ids=["n03", "n09", "none"]))[0]) == ["n03", "n09"]
    assert sorted(asked(store, VectorStoreQuery(**everything, doc_ids=["d1"]))[0]) == ["n04", "n05", "n06", "n07"]
    assert len(asked(store, VectorStoreQuery(**everything, node_ids=[], doc_ids=[]))[0]) == 20
    both = VectorStoreQuery(**everything, doc_ids=["d1"], node_ids=["n01", "n05"], filters=one("a.b", Op.EQ, 1))
    assert asked(store, both)[0] == ["n05"]


def test_nodes_come_back_whole_and_in_order(store) -> None:
    found = store.get_nodes(["n09", "none", "n01"])
    assert found == [NODES[each].model_copy(update={"embedding": None}) for each in ("n09", "n01")]
    assert [node.ref_doc_id for node in found] == ["d2", "d0"]
    assert [node.node_id for node in store.get_nodes(["n09", "n01"], one("rank", Op.LT, 5))] == ["n01"]


def test_nodes_are_deleted(own) -> None:
    def left() -> list[str]:
        return [node.node_id for node in own.get_nodes()]

    own.delete("d0")
    assert left() == list(NODES)[4:]
    own.delete_nodes(["n04", "none"])
    own.delete_nodes([])
    own.delete_nodes(["n05", "n06"], one("rank", Op.EQ, 6))
    assert left() == ["n05", *list(NODES)[7:]]
    own.delete_nodes(filters=one("rank", Op.GT, 8))
    assert left() == ["n05", "n07", "n08", "n12", "n16"]
    with pytest.raises(shoal.InvalidArgument, match="neither node_ids nor filters are given"):
        own.delete_nodes()
    own.clear()
    assert left() == []


def test_async_writes_do_what_blocking_ones_do(own) -> None:
    async def changed() -> list[list[str]]:
        seen = []

        async def look() -> None:
            seen.append([node.node_id for node in await own.aget_nodes()])

        await own.adelete("d0")
        await own.adelete_nodes(["n04"], one("rank", Op.IS_EMPTY, None))
        await own.adelete_nodes(filters=one("rank", Op.LT, 18))
        await look()
        await own.aclear()
        await look()
        await own.async_add(nodes()[:2])
        await look()
        assert await own.aget_nodes(["n01"]) == [NODES["n01"].model_copy(update={"embedding": None})]
        return seen

    assert asyncio.run(changed()) == [["n08", "n12", "n16", "n18", "n19"], [], ["n00", "n01"]]


def test_similarities_of_distances_are_larger_where_nearer(shared_cluster: RoleCluster) -> None:
    store = ShoalNodeStore(next(NAMES), shared_cluster.address, create={"metric": "l2"})
    store.add(nodes())
    found, similarities = asked(store, VectorStoreQuery(query_embedding=ROWS[4].tolist(), similarity_top_k=3))
    squared = ((ROWS - ROWS[4]) ** 2).sum(axis=1)
    np.testing.assert_allclose(similarities, 1 / (1 + np.sort(squared)[:3]), rtol=1e-5)
    assert found[0] == "n04"
    store.client.drop_collection(store.collection)
    store.close()


def test_a_vector_store_index_uses_it(own) -> None:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.embeddings import MockEmbedding

    index = VectorStoreIndex.from_vector_store(own, embed_model=MockEmbedding(6))
    index.insert_nodes([TextNode(id_="late", text="A yellow canary", metadata={"rank": 99})])
    retriever = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=2, alpha=0.0)
    assert [found.node.node_id for found in retriever.retrieve("canary")] == ["late"]
    assert retriever.retrieve("canary")[0].score == 1.0
    index.delete_nodes(["late"])
    assert retriever.retrieve("canary") == []
