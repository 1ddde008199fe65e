"""The vector store of nodes. Sync verbs use a blocking client, async ones a client of the running event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from shoal.client.async_client import AsyncClient
from shoal.client.client import Client
from shoal.client.one_collection import OneCollection
from shoal.client.results import Hits
from shoal.client.transports.choice import TransportName
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.llamaindex.filters import where
from shoal.llamaindex.nodes import REF_DOC_KEY, TEXT_KEY, node_of, rows_of
from shoal.llamaindex.queries import DENSE_MODES, search_of


class ShoalNodeStore(BasePydanticVectorStore):
    """Nodes in a collection of Shoal: their vectors, texts and metadata.

    Modes of queries: default, hybrid, text_search (also as sparse) and mmr. Filters: all operators but
    text_match_insensitive, nested conditions, on both legs of a hybrid query. `query` takes further options of
    `shoal.Client.search`, and for mmr mmr_threshold, mmr_prefetch_k and mmr_prefetch_factor. Errors are ShoalErrors.

    Similarities: cosine or inner product, 1 / (1 + squared distance) for l2, BM25 for text, 0 to 1 for hybrid.
    """

    stores_text: bool = True
    flat_metadata: bool = False
    collection: str
    address: str | tuple[str, ...] = "localhost:7600"
    TEXT_FIELD: ClassVar[str] = TEXT_KEY
    _kept: OneCollection = PrivateAttr()

    def __init__(
        self,
        collection: str,
        address: str | Sequence[str] = "localhost:7600",
        *,
        create: Mapping[str, Any] | None = {},
        timeout: float | None = None,
        transport: TransportName = "auto",
        blocking: Callable[[], Client] | None = None,
        awaited: Callable[[], AsyncClient] | None = None,
        **kwargs: Any,
    ) -> None:
        """Use a collection; nothing is sent before the first call.

        create: arguments of `shoal.Client.create_collection` beside name and dim, used when the first write finds no
        collection; the metric is cosine, and the nodes' text is a text field, unless they say otherwise. None: a
        missing collection is an error. address, timeout, transport: see `shoal.connect`; blocking, awaited: make the
        clients.
        """
        where = address if isinstance(address, str) else tuple(address)
        shown: dict[str, Any] = {"collection": collection, "address": where, **kwargs}
        super().__init__(**shown)
        options = None if create is None else {"metric": "cosine", "text": {TEXT_KEY: "auto"}, **create}
        self._kept = OneCollection(
            collection, where, options=options, timeout=timeout, transport=transport, blocking=blocking, awaited=awaited
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores it."""
        return "ShoalNodeStore"

    @property
    def client(self) -> Client:
        """Return the blocking client of the cluster."""
        return self._kept.client

    def close(self) -> None:
        """Release the connections of blocking calls. Those of event loops are closed with their loops."""
        self._kept.close()

    async def aclose(self) -> None:
        """Release the connections of blocking calls and of all event loops."""
        await self._kept.aclose()

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes with embeddings and return their ids. A node whose id exists replaces the old one."""
        rows = rows_of(nodes)
        self._kept.upsert(rows)
        return list(rows[0])

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """See add."""
        rows = rows_of(nodes)
        await self._kept.aupsert(rows)
        return list(rows[0])

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a document."""
        self._kept.delete(filter={REF_DOC_KEY: {"$eq": ref_doc_id}})

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """See delete."""
        await self._kept.adelete(filter={REF_DOC_KEY: {"$eq": ref_doc_id}})

    def delete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any) -> None:
        """Delete the nodes that have one of these ids and match the filters. Raises InvalidArgument without either."""
        self._kept.delete(**_to_delete(node_ids, filters))

    async def adelete_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any) -> None:
        """See delete_nodes."""
        await self._kept.adelete(**_to_delete(node_ids, filters))

    def clear(self) -> None:
        """Delete all nodes. The collection stays."""
        self._kept.clear()

    async def aclear(self) -> None:
        """See clear."""
        await self._kept.aclear()

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return nodes by id, in the order asked for, or those that match, in the order of their ids; without either,
        all.
        """
        matching = where(filters)
        if node_ids is not None and matching is None:
            return [node_of(point.id, point.payload) for point in self._kept.get(node_ids)]
        found = self.client.scroll(self.collection, filter=where(filters, node_ids))
        return [node_of(point.id, point.payload) for point in found]

    async def aget_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """See get_nodes."""
        matching = where(filters)
        if node_ids is not None and matching is None:
            return [node_of(point.id, point.payload) for point in await self._kept.aget(node_ids)]
        found = self._kept.awaited.scroll(self.collection, filter=where(filters, node_ids))
        return [node_of(point.id, point.payload) async for point in found]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes of a query, best first: one call."""
        search = search_of(query, kwargs)
        hits = self.client.search(self.collection, **search)
        return _result(hits, distances=query.mode in DENSE_MODES and self._kept.metric(kwargs.get("using")) == "l2")

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """See query."""
        search = search_of(query, kwargs)
        hits = await self._kept.awaited.search(self.collection, **search)
        return _result(hits, distances=query.mode in DENSE_MODES and await self._kept.ametric(kwargs.get("using")) == "l2")


def _to_delete(node_ids: list[str] | None, filters: MetadataFilters | None) -> dict[str, Any]:
    matching = where(filters)
    if matching is not None:
        return {"filter": where(filters, node_ids)}
    if node_ids is None:
        raise InvalidArgument(
            "neither node_ids nor filters are given: name the nodes to delete, or use clear", ErrorDetails(field="node_ids")
        )
    return {"ids": node_ids}


def _result(hits: Hits, *, distances: bool) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[node_of(hit.id, hit.payload) for hit in hits],
        similarities=[1.0 / (1.0 + max(0.0, hit.score)) if distances else hit.score for hit in hits],
        ids=[str(hit.id) for hit in hits],
    )
