"""The vector store: texts with metadata as points of one collection. Sync verbs use a blocking client, async ones a
client of the running event loop.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from shoal.client.async_client import AsyncClient
from shoal.client.client import Client
from shoal.client.one_collection import OneCollection, Rows
from shoal.client.results import Hits
from shoal.client.transports.choice import TransportName
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.filter_input import path_to_text
from shoal.langchain.documents import document_of, ids_of, payloads_of
from shoal.langchain.filters import shoal_filter

_PROBE = "a text whose vector tells how many dimensions the model has"


class ShoalVectorStore(VectorStore):
    """Documents in a collection of Shoal.

    A point has the document's id, or a new UUID, its vector, and as payload the metadata with the text under
    `content_key`, which is a text field. Ids are strings. Options of searches are those of `shoal.Client.search`, such
    as recall, exact or consistency. Errors are ShoalErrors: bad filters and metadata raise InvalidArgument.

    Scores are those of the metric: of cosine and ip larger is better, of l2 (squared distance) smaller.
    """

    def __init__(
        self,
        embedding: Embeddings,
        collection: str = "langchain",
        address: str | Iterable[str] = "localhost:7600",
        *,
        content_key: str = "page_content",
        create: Mapping[str, Any] | None = {},
        timeout: float | None = None,
        transport: TransportName = "auto",
        blocking: Callable[[], Client] | None = None,
        awaited: Callable[[], AsyncClient] | None = None,
    ) -> None:
        """Use a collection; nothing is sent before the first call.

        create: arguments of `shoal.Client.create_collection` beside name and dim, used when the first write finds no
        collection; the metric is cosine, and the text is a text field, unless they say otherwise. None: a missing
        collection is an error. address, timeout, transport: see `shoal.connect`; blocking, awaited: make the clients.
        """
        usual = {"metric": "cosine", "text": {path_to_text((content_key,)): "auto"}}
        options = None if create is None else {**usual, **create}
        self._embedding, self._content_key = embedding, content_key
        self.collection = OneCollection(
            collection, address, options=options, timeout=timeout, transport=transport, blocking=blocking, awaited=awaited
        )

    @property
    def embeddings(self) -> Embeddings:
        """Return the model that makes vectors."""
        return self._embedding

    @property
    def client(self) -> Client:
        """Return the blocking client of the cluster."""
        return self.collection.client

    def close(self) -> None:
        """Release the connections of blocking calls. Those of event loops are closed with their loops."""
        self.collection.close()

    async def aclose(self) -> None:
        """Release the connections of blocking calls and of all event loops."""
        await self.collection.aclose()

    def create_collection(self) -> bool:
        """Create the collection now; return False if it exists. Without dim in `create`, one text is embedded."""
        return self.collection.create(self.collection.dim_of_options or len(self._embedding.embed_query(_PROBE)))

    async def acreate_collection(self) -> bool:
        """See create_collection."""
        return await self.collection.acreate(self.collection.dim_of_options or len(await self._embedding.aembed_query(_PROBE)))

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Write texts and return their ids. A text whose id exists replaces the old one."""
        given, rows = self._prepared(texts, metadatas, ids, kwargs)
        if given:
            self.collection.upsert((rows[0], self._embedding.embed_documents(given), rows[2]))
        return list(rows[0])

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """See add_texts."""
        given, rows = self._prepared(texts, metadatas, ids, kwargs)
        if given:
            await self.collection.aupsert((rows[0], await self._embedding.aembed_documents(given), rows[2]))
        return list(rows[0])

    def delete(self, ids: list[str] | None = None, *, filter: Mapping[str, Any] | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, or those that match a filter, or, without either, all. Unknown ids are ignored."""
        _no_more(kwargs)
        if ids is None and filter is None:
            self.collection.clear()
        else:
            self.collection.delete(ids, shoal_filter(filter))
        return True

    async def adelete(self, ids: list[str] | None = None, *, filter: Mapping[str, Any] | None = None, **kwargs: Any) -> bool:
        """See delete."""
        _no_more(kwargs)
        if ids is None and filter is None:
            await self.collection.aclear()
        else:
            await self.collection.adelete(ids, shoal_filter(filter))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents by id, in the order asked for, without those that do not exist."""
        return [self.document(point.id, point.payload) for point in self.collection.get(ids)]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """See get_by_ids."""
        return [self.document(point.id, point.payload) for point in await self.collection.aget(ids)]

    def search_hits(self, vector: Any = None, k: int = 4, *, filter: Any = None, **options: Any) -> list[tuple[Document, float]]:
        """Return the documents and scores of one `shoal.Client.search`, whose options it takes."""
        return self.scored(self.client.search(self.collection.name, vector, k, filter=shoal_filter(filter), **options))

    async def asearch_hits(self, vector: Any = None, k: int = 4, *, filter: Any = None, **options: Any) -> list[tuple[Document, float]]:
        """See search_hits."""
        client = self.collection.awaited
        return self.scored(await client.search(self.collection.name, vector, k, filter=shoal_filter(filter), **options))

    def similarity_search_with_score(self, query: str, k: int = 4, filter: Any = None, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query with their scores, best first."""
        return self.search_hits(self._embedding.embed_query(query), k, filter=filter, **kwargs)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: Any = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """See similarity_search_with_score."""
        return await self.asearch_hits(await self._embedding.aembed_query(query), k, filter=filter, **kwargs)

    def similarity_search(self, query: str, k: int = 4, filter: Any = None, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a query, best first."""
        return _documents(self.similarity_search_with_score(query, k, filter, **kwargs))

    async def asimilarity_search(self, query: str, k: int = 4, filter: Any = None, **kwargs: Any) -> list[Document]:
        """See similarity_search."""
        return _documents(await self.asimilarity_search_with_score(query, k, filter, **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, filter: Any = None, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a vector, best first."""
        return _documents(self.search_hits(embedding, k, filter=filter, **kwargs))

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, filter: Any = None, **kwargs: Any) -> list[Document]:
        """See similarity_search_by_vector."""
        return _documents(await self.asearch_hits(embedding, k, filter=filter, **kwargs))

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Any = None, **kwargs: Any
    ) -> list[Document]:
        """Return k of the fetch_k nearest documents that are unlike each other: one call, picked in the cluster.

        lambda_mult: 1 for the nearest, 0 for the most different. The picks are those of langchain-core.
        """
        return _documents(self.search_hits(embedding, min(k, fetch_k), filter=filter, **_diverse(fetch_k, lambda_mult), **kwargs))

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Any = None, **kwargs: Any
    ) -> list[Document]:
        """See max_marginal_relevance_search_by_vector."""
        found = await self.asearch_hits(embedding, min(k, fetch_k), filter=filter, **_diverse(fetch_k, lambda_mult), **kwargs)
        return _documents(found)

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Any = None, **kwargs: Any
    ) -> list[Document]:
        """See max_marginal_relevance_search_by_vector."""
        return self.max_marginal_relevance_search_by_vector(
            self._embedding.embed_query(query), k, fetch_k, lambda_mult, filter=filter, **kwargs
        )

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, filter: Any = None, **kwargs: Any
    ) -> list[Document]:
        """See max_marginal_relevance_search_by_vector."""
        vector = await self._embedding.aembed_query(query)
        return await self.amax_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, filter=filter, **kwargs)

    def _similarity_search_with_relevance_scores(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        using = kwargs.get("using")
        relevance = self._select_relevance_score_fn() if using is None else _RELEVANCE[self.collection.metric(using)]
        return [(document, relevance(score)) for document, score in self.similarity_search_with_score(query, k, **kwargs)]

    async def _asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        relevance = _RELEVANCE[await self.collection.ametric(kwargs.get("using"))]
        return [(document, relevance(score)) for document, score in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _RELEVANCE[self.collection.metric()]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> ShoalVectorStore:
        """Return a store with these texts. kwargs: as the class takes them."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> ShoalVectorStore:
        """See from_texts."""
        store = cls(embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store

    def scored(self, hits: Hits) -> list[tuple[Document, float]]:
        """Return hits as documents with scores."""
        return [(self.document(hit.id, hit.payload), hit.score) for hit in hits]

    def document(self, id: int | str, payload: Mapping[str, Any] | None) -> Document:
        """Return a point as a document."""
        return document_of(id, payload, self._content_key)

    def _prepared(
        self, texts: Iterable[str], metadatas: Any, ids: Sequence[str | None] | None, kwargs: Mapping[str, Any]
    ) -> tuple[list[str], Rows]:
        """Return the texts, and their points without vectors. Everything is checked before the model is asked."""
        _no_more(kwargs)
        given = list(texts)
        payloads = payloads_of(given, metadatas, self._content_key)
        return given, (ids_of(ids, len(given), _new_ids()), (), payloads)


def _new_ids() -> Iterator[str]:
    while True:
        yield str(uuid.uuid4())


def _documents(found: Iterable[tuple[Document, float]]) -> list[Document]:
    return [document for document, _ in found]


def _no_more(kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"unexpected keyword argument {next(iter(kwargs))!r}")


def _diverse(fetch_k: int, lambda_mult: float) -> dict[str, Any]:
    """Return the options of a search that picks as maximal marginal relevance does."""
    if isinstance(lambda_mult, bool) or not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
        raise InvalidArgument(f"lambda_mult is {lambda_mult!r}, it must be a number from 0 to 1", ErrorDetails(field="lambda_mult"))
    return {"candidates": fetch_k, "diversity": 1.0 - lambda_mult}


def _of_cosine(score: float) -> float:
    return min(1.0, max(0.0, (1.0 + score) / 2.0))


def _of_squared_distance(score: float) -> float:
    return 1.0 / (1.0 + max(0.0, score))


def _of_inner_product(score: float) -> float:
    return 1.0 / (1.0 + math.exp(-score)) if score >= 0 else 1.0 - 1.0 / (1.0 + math.exp(score))


_RELEVANCE: Mapping[str, Callable[[float], float]] = {"cosine": _of_cosine, "l2": _of_squared_distance, "ip": _of_inner_product}
"""What LangChain calls relevance, 0 to 1 where larger is better, of a score of each metric."""
