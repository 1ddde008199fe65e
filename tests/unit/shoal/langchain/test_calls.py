"""What the store and the retriever send, over a cluster in a dictionary: one request for each question."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

import shoal
from shoal.core.fused_search import FusedSearch
from shoal.core.requests import CreateCollection, Search
from shoal.langchain import ShoalRetriever, ShoalVectorStore
from tests.twins.router_answers import DictCluster, async_client_with, client_with

DOCUMENTS = [Document(id=f"d{number}", page_content=f"word{number} tree", metadata={"n": number}) for number in range(6)]


class Broken(Embeddings):
    """Fails when it is asked."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise AssertionError("it was asked")

    def embed_query(self, text: str) -> list[float]:
        raise AssertionError("it was asked")


class Scene:
    """A store over a dictionary, and what its clients sent."""

    def __init__(self, embedding: Embeddings | None = None, **options: Any) -> None:
        cluster = DictCluster()
        self.cluster = cluster
        self.blocking, self.awaited = client_with(cluster), async_client_with(cluster)
        self.store = ShoalVectorStore(
            embedding or DeterministicFakeEmbedding(size=3), "c", blocking=lambda: self.blocking, awaited=lambda: self.awaited, **options
        )

    def sent(self) -> list[Any]:
        """Return the requests since the last look."""
        found = [request for mock in (self.blocking.mock, self.awaited.mock) for _, request, _ in mock.sent]
        self.blocking.mock.sent.clear()
        self.awaited.mock.sent.clear()
        return found


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    assert scene.store.add_documents(DOCUMENTS) == [f"d{number}" for number in range(6)]
    scene.sent()
    return scene


def test_a_collection_is_created_as_the_store_says():
    scene = Scene(content_key="body.text", create={"shards": 3, "metric": "ip"})
    scene.store.add_texts(["a"])
    assert len(scene.blocking.mock.requests(CreateCollection)) == 1
    spec = scene.cluster.specs["c"]
    assert (spec.dim, str(spec.metric), spec.shards) == (3, "ip", 3)
    assert [field.name for field in spec.text] == [r"body\.text"]


def test_a_question_is_one_request(scene):
    store = scene.store
    for ask, kind in (
        (lambda: store.similarity_search("q", k=2), Search),
        (lambda: store.max_marginal_relevance_search("q", k=2, fetch_k=4), FusedSearch),
        (lambda: ShoalRetriever(store=store, k=2).invoke("tree"), FusedSearch),
        (lambda: ShoalRetriever(store=store, k=2, search_type="mmr").invoke("tree"), FusedSearch),
        (lambda: asyncio.run(ShoalRetriever(store=store, k=2).ainvoke("tree")), FusedSearch),
    ):
        assert len(ask()) == 2
        assert [type(request) for request in scene.sent()] == [kind]


def test_the_filter_is_sent_once_for_both_legs(scene):
    found = ShoalRetriever(store=scene.store, k=6, filter={"n": {"$gte": 2}}).invoke("tree", filter={"n": {"$ne": 4}})
    assert sorted(document.metadata["n"] for document in found) == [2, 3, 5]
    (request,) = scene.sent()
    assert len(request.legs) == 2
    assert len(request.groups) == 1


def test_fields_and_options_reach_the_search(scene):
    retriever = ShoalRetriever(
        store=scene.store, k=3, fetch_k=7, weights=(1, 3), c=5, text_fields={"page_content": 2.0}, options={"explain": True}
    )
    retriever.invoke("tree")
    (request,) = scene.sent()
    assert (request.candidates, request.fusion.c, request.explain) == (7, 5.0, True)
    assert [leg.weight for leg in request.legs] == [1.0, 3.0]


def test_nothing_is_embedded_for_a_text_leg_alone(scene):
    scene.store._embedding = Broken()
    found = ShoalRetriever(store=scene.store, k=1, weights=(1, 0)).invoke("word3")
    assert [document.id for document in found] == ["d3"]


def test_bad_metadata_is_refused_before_the_model_is_asked():
    scene = Scene(Broken())
    with pytest.raises(shoal.InvalidArgument, match="metadatas"):
        scene.store.add_texts(["a"], [{"page_content": "b"}])
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch'"):
        scene.store.add_texts(["a"], batch=3)
    assert scene.store.add_texts([]) == []
    assert scene.sent() == []


@pytest.mark.parametrize("lambda_mult", [-0.1, 1.1, "x", True])
def test_a_lambda_that_is_none_is_refused(scene, lambda_mult):
    with pytest.raises(shoal.InvalidArgument, match="lambda_mult is"):
        scene.store.max_marginal_relevance_search("q", lambda_mult=lambda_mult)
    assert scene.sent() == []


@pytest.mark.parametrize(
    ("bad", "told"),
    [({"k": 0}, "k"), ({"weights": (1, 2, 3)}, "weights"), ({"search_type": "x"}, "search_type"), ({"lambda_mult": 2}, "lambda_mult")],
)
def test_bad_settings_of_a_retriever_are_refused_when_it_is_made(scene, bad, told):
    with pytest.raises(ValueError, match=told):
        ShoalRetriever(store=scene.store, **bad)


def test_a_negative_weight_is_a_typed_error(scene):
    with pytest.raises(shoal.InvalidArgument, match="weight"):
        ShoalRetriever(store=scene.store, weights=(-1, 1)).invoke("tree")


@pytest.mark.parametrize(
    ("metric", "score", "relevance"),
    [("cosine", 1.0, 1.0), ("cosine", -1.0, 0.0), ("cosine", 1.0000002, 1.0), ("l2", 0.0, 1.0), ("l2", 3.0, 0.25), ("ip", 0.0, 0.5)],
)
def test_relevance_is_from_0_to_1(metric, score, relevance):
    scene = Scene(create={"metric": metric})
    scene.store.add_texts(["a"])
    assert scene.store._select_relevance_score_fn()(score) == relevance


def test_relevance_of_any_inner_product_is_a_number():
    scene = Scene(create={"metric": "ip"})
    scene.store.add_texts(["a"])
    relevance = scene.store._select_relevance_score_fn()
    assert [relevance(-1e6), relevance(1e6)] == [0.0, 1.0]


def test_one_of_several_named_vectors_is_searched_by_its_name():
    scene = Scene()
    scene.blocking.create_collection("c", vectors={"image": 3, "title": {"dim": 3, "metric": "cosine"}})
    scene.blocking.upsert("c", ["d0"], {"title": [[1, 0, 0]]}, [{"page_content": "tree"}])
    assert [document.id for document in scene.store.similarity_search("x", using="title")] == ["d0"]
    assert scene.store.similarity_search("x", using="image") == []
    for found in (
        scene.store.similarity_search_with_relevance_scores("x", using="title"),
        asyncio.run(scene.store.asimilarity_search_with_relevance_scores("x", using="title")),
    ):
        assert [(document.id, 0 <= relevance <= 1) for document, relevance in found] == [("d0", True)]
    for ask in (
        lambda: scene.store.similarity_search("x"),
        lambda: scene.store.similarity_search_with_relevance_scores("x"),
        lambda: ShoalRetriever(store=scene.store).invoke("x"),
    ):
        with pytest.raises(shoal.InvalidArgument, match="has several vectors, give the name of one: image, title"):
            ask()
    with pytest.raises(shoal.InvalidArgument, match="'c' has several vectors, give them by name: image, title"):
        scene.store.add_texts(["a"])
