"""LangChain on a real cluster: the standard suites of langchain-tests, whole, and what Shoal does beyond them."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

import shoal
from shoal.langchain import ShoalRetriever, ShoalVectorStore
from shoal.langchain.filters import shoal_filter
from tests.support.cluster.role_cluster import RoleCluster

NAMES = (f"langchain-{number}" for number in itertools.count())
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")


def awaited(suite: type) -> type:
    """Let pytest-asyncio run the coroutines of a suite, without a change of the suite."""
    for _, function in inspect.getmembers(suite, inspect.iscoroutinefunction):
        pytest.mark.asyncio(function)
    return suite


@pytest.fixture(scope="module")
def made(shared_cluster: RoleCluster) -> Iterator[Callable[..., ShoalVectorStore]]:
    """Return a maker of empty stores. Those of one metric and dimension share a collection, emptied for each."""
    kept: dict[tuple[int, str], ShoalVectorStore] = {}

    def make(embedding: Embeddings, dim: int = 6, metric: str = "cosine") -> ShoalVectorStore:
        before = kept.get((dim, metric))
        if before is not None:
            assert before.delete()
            return ShoalVectorStore(embedding, before.collection.name, shared_cluster.address, blocking=lambda: before.client)
        create = {"shards": 2, "dim": dim, "metric": metric}
        store = ShoalVectorStore(embedding, next(NAMES), shared_cluster.address, create=create)
        assert store.create_collection()
        kept[dim, metric] = store
        return store

    yield make
    for store in kept.values():
        store.client.drop_collection(store.collection.name)
        store.close()


@awaited
class TestVectorStoreSuite(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, made: Callable[..., ShoalVectorStore]) -> ShoalVectorStore:
        return made(self.get_embeddings())


class Suite(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def filled(self, made: Callable[..., ShoalVectorStore]) -> None:
        self.store = made(DeterministicFakeEmbedding(size=6))
        self.store.add_texts([f"{word} tree" for word in WORDS])

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "tree of amber"


@awaited
class TestHybridRetrieverSuite(Suite):
    @property
    def retriever_constructor(self) -> type[ShoalRetriever]:
        return ShoalRetriever


@awaited
class TestDiverseRetrieverSuite(Suite):
    @property
    def retriever_constructor(self) -> type[ShoalRetriever]:
        return ShoalRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store, "search_type": "mmr"}


@awaited
class TestStoreAsRetrieverSuite(Suite):
    @property
    def retriever_constructor(self) -> Callable[..., BaseRetriever]:
        return lambda k=4, **_: self.store.as_retriever(search_kwargs={"k": k})


class Numbered(Embeddings):
    """Texts "n word ..." become the n-th row of a matrix."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        found: list[float] = self.rows[int(text.split(maxsplit=1)[0])].tolist()
        return found


def mixed(made: Callable[..., ShoalVectorStore], count: int = 60, seed: int = 3) -> ShoalVectorStore:
    """Return a store of `count` texts of random words, whose vectors are random, too."""
    rng = np.random.default_rng(seed)
    store = made(Numbered(rng.normal(size=(count, 8)).astype(np.float32)), dim=8)
    texts = [f"{number} {' '.join(rng.choice(WORDS, size=5))}" for number in range(count)]
    store.add_texts(texts, [{"even": number % 2 == 0, "rank": number, "tags": ["all", f"t{number % 3}"]} for number in range(count)])
    return store


class Ranked(BaseRetriever):
    """One leg of Shoal as a retriever of its own."""

    store: Any
    legs: Any
    k: int
    filter: Any = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        found = self.store.search_hits(k=self.k, candidates=self.k, legs=[self.legs(query)], filter=self.filter)
        return [document for document, _ in found]


@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.4, 0.6), (0.9, 0.1), (3.0, 1.0)])
@pytest.mark.parametrize("filter", [None, {"even": True}, {"rank": {"$between": [10, 40]}, "tags": {"$in": ["t1", "t2"]}}])
def test_one_call_gives_the_order_of_ensemble_retriever(made, weights, filter) -> None:
    store = mixed(made)
    text = Ranked(store=store, k=12, filter=shoal_filter(filter), legs=shoal.Text)
    dense = Ranked(store=store, k=12, filter=shoal_filter(filter), legs=lambda query: shoal.Dense(store.embeddings.embed_query(query)))
    ensemble = EnsembleRetriever(retrievers=[text, dense], weights=list(weights), c=60)
    for number in range(0, 60, 12):
        query = f"{number} {WORDS[number % 8]} {WORDS[number % 5]}"
        wanted = [document.id for document in ensemble.invoke(query)]
        # For more than fetch_k - 4, those of several with the last place's sum may be others.
        for k in (1, 5, 8):
            one = ShoalRetriever(store=store, k=k, fetch_k=12, weights=weights, filter=filter)
            assert [document.id for document in one.invoke(query)] == wanted[:k]


def test_the_retriever_is_one_call_with_the_filter_on_both_legs(made, monkeypatch) -> None:
    store = mixed(made)
    calls = []
    search = store.client.search
    monkeypatch.setattr(store.client, "search", lambda *given, **named: calls.append(named) or search(*given, **named))
    found = ShoalRetriever(store=store, k=8, filter={"even": True}).invoke("7 amber birch", filter={"rank": {"$gte": 20}})
    assert len(calls) == 1
    assert len(calls[0]["legs"]) == 2
    assert len(found) == 8
    assert all(document.metadata["even"] and document.metadata["rank"] >= 20 for document in found)


@pytest.mark.parametrize("fusion", ["zscore", "minmax", "rrf"])
def test_a_weight_of_zero_leaves_a_leg_out(made, fusion) -> None:
    store = mixed(made)
    by_vector = [document.id for document in store.similarity_search("9 none", k=5)]
    assert [each.id for each in ShoalRetriever(store=store, k=5, weights=(0, 1), fusion=fusion).invoke("9 none")] == by_vector
    by_text = [document.id for document, _ in store.search_hits(k=5, text="cedar")]
    # The model cannot embed these texts: it is not asked.
    assert [each.id for each in ShoalRetriever(store=store, k=5, weights=(1, 0), fusion=fusion).invoke("cedar")] == by_text
    with pytest.raises(IndexError):
        ShoalRetriever(store=store, fusion=fusion).invoke("  ")


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_diverse_picks_are_those_of_langchain(made, metric) -> None:
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(80, 6)).astype(np.float32)
    rows[40:] = rows[:40] + 0.05 * rng.normal(size=(40, 6))
    store = made(Numbered(rows), metric=metric)
    store.add_texts([f"{number}" for number in range(80)], ids=[f"{number}" for number in range(80)])
    for case in range(40):
        number, fetch_k, k, lambda_mult = int(rng.integers(80)), int(rng.integers(1, 40)), int(rng.integers(1, 12)), float(rng.uniform())
        near = [int(document.id) for document in store.similarity_search(f"{number}", k=fetch_k, exact=True)]
        wanted = maximal_marginal_relevance(rows[number], [rows[each] for each in near], lambda_mult, k)
        found = store.max_marginal_relevance_search(f"{number}", k, fetch_k, lambda_mult, exact=True)
        assert [int(document.id) for document in found] == [near[each] for each in wanted], case


def test_async_calls_of_many_loops_do_what_blocking_ones_do(made) -> None:
    store = mixed(made)
    hybrid = ShoalRetriever(store=store, k=6, filter={"even": True})

    async def asked() -> list[Any]:
        return [
            await hybrid.ainvoke("5 ember"),
            await store.asimilarity_search_with_score("5 ember", 4, {"even": False}),
            await store.amax_marginal_relevance_search("5 ember", 4, 12, 0.3),
            await store.asimilarity_search_with_relevance_scores("5 ember", 4),
            await store.aget_by_ids([found[0].id, "none", found[1].id]),
        ]

    found = hybrid.invoke("5 ember")
    wanted = [
        found,
        store.similarity_search_with_score("5 ember", 4, {"even": False}),
        store.max_marginal_relevance_search("5 ember", 4, 12, 0.3),
        store.similarity_search_with_relevance_scores("5 ember", 4),
        found[:2],
    ]
    for _ in range(3):
        assert asyncio.run(asked()) == wanted
    assert wanted[3][0][1] == pytest.approx(1.0, abs=1e-6)

    async def written() -> tuple[int, int, int]:
        ids = await store.aadd_texts(["1 new", "2 new"])
        before = await store.collection.awaited.count(store.collection.name)
        await store.adelete(ids)
        between = await store.collection.awaited.count(store.collection.name)
        await store.adelete()
        return before, between, await store.collection.awaited.count(store.collection.name)

    assert asyncio.run(written()) == (62, 60, 0)


def test_the_first_write_creates_the_collection_with_a_text_field(shared_cluster: RoleCluster) -> None:
    store = ShoalVectorStore.from_texts(
        ["a red fox", "a blue whale"],
        DeterministicFakeEmbedding(size=5),
        [{"sea": False}, {"sea": True}],
        collection=next(NAMES),
        address=shared_cluster.address,
    )
    try:
        spec = store.client.describe_collection(store.collection.name).spec
        assert (spec.dim, str(spec.metric), [field.name for field in spec.text]) == (5, "cosine", ["page_content"])
        assert [document.page_content for document, _ in store.search_hits(text="whale fox", filter={"sea": True})] == ["a blue whale"]
        assert not store.create_collection()
        same = ShoalVectorStore(DeterministicFakeEmbedding(size=5), "langchain-none", shared_cluster.address, create=None)
        with pytest.raises(shoal.NotFound, match="langchain-none"):
            same.add_texts(["x"])
        same.close()
    finally:
        store.client.drop_collection(store.collection.name)
        store.close()


@pytest.mark.parametrize(
    ("filter", "told"),
    [
        (lambda document: True, "filter is a function"),
        ({"a": {"$regex": "x"}}, r"at a\.\$regex: unknown operator"),
        ({"a": {"$between": [1]}}, r"\$between is \[1\]"),
        ({"a": [1, 2]}, r"use \$in"),
    ],
)
def test_filters_that_shoal_does_not_have_are_typed_errors(made, filter, told) -> None:
    store = mixed(made, count=5)
    with pytest.raises(shoal.InvalidArgument, match=told):
        store.similarity_search("1", filter=filter)
    with pytest.raises(shoal.InvalidArgument, match=told):
        ShoalRetriever(store=store, filter=filter).invoke("1 amber")
    with pytest.raises(shoal.InvalidArgument, match=told):
        asyncio.run(ShoalRetriever(store=store, filter=filter).ainvoke("1 amber"))
