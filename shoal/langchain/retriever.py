"""The hybrid retriever: what EnsembleRetriever([bm25, vectors], weights) does, as one call of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field

from shoal.client.results import Hit, Hits
from shoal.langchain.ensemble import ensemble_search, in_order_of_ensemble, needs_vector
from shoal.langchain.filters import both_filters
from shoal.langchain.vector_store import ShoalVectorStore


class ShoalRetriever(BaseRetriever):
    """Documents found by words and by vectors, fused in the cluster: one call for each query.

    store: of a collection whose text is a text field. k: documents returned. weights: of text and vectors, at least 0;
    a leg of weight 0 is not searched. fusion and c: "rrf" gives the order of EnsembleRetriever, the sum of
    weight / (rank + c), as long as k is at most fetch_k - 4; "zscore", which finds more, and "minmax" use scores.
    filter: on both legs, as in a search of the store. fetch_k: candidates of each leg. search_type: "hybrid", or "mmr",
    which picks documents unlike each other, with lambda_mult from 1 (the best) to 0 (the most different). text_fields:
    those searched, with boosts; None: all. options: further ones of `shoal.Client.search`, such as recall.

    `invoke(query, k=..., filter=...)` replaces k, and narrows the filter, for one query.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: ShoalVectorStore
    k: int = Field(default=4, ge=1)
    weights: tuple[float, float] = (0.5, 0.5)
    c: float = Field(default=60, gt=0)
    fusion: Literal["rrf", "zscore", "minmax"] = "rrf"
    filter: Any = None
    search_type: Literal["hybrid", "mmr"] = "hybrid"
    fetch_k: int = Field(default=100, ge=1)
    lambda_mult: float = Field(default=0.5, ge=0, le=1)
    text_fields: dict[str, float] | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, filter: Any = None
    ) -> list[Document]:
        vector = self.store.embeddings.embed_query(query) if self._needs_vector(query) else None
        wanted = self.k if k is None else k
        found = self.store.client.search(self.store.collection.name, **self._search(query, vector, wanted, filter))
        return self._documents(found, wanted)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None, filter: Any = None
    ) -> list[Document]:
        vector = await self.store.embeddings.aembed_query(query) if self._needs_vector(query) else None
        wanted = self.k if k is None else k
        client = self.store.collection.awaited
        return self._documents(await client.search(self.store.collection.name, **self._search(query, vector, wanted, filter)), wanted)

    def _needs_vector(self, query: str) -> bool:
        return needs_vector(self.weights) or not query.strip()

    def _search(self, query: str, vector: Any, k: int, filter: Any) -> dict[str, Any]:
        searched = ensemble_search(
            query,
            vector,
            k=k,
            weights=self.weights,
            fusion=self.fusion,
            c=self.c,
            fetch_k=self.fetch_k,
            diversity=1.0 - self.lambda_mult if self.search_type == "mmr" else None,
            fields=self.text_fields,
        )
        return {**self.options, **searched, "filter": both_filters(self.filter, filter)}

    def _documents(self, hits: Hits, k: int) -> list[Document]:
        ordered: Sequence[Hit] = hits
        if self.fusion == "rrf" and self.search_type == "hybrid":
            ordered = in_order_of_ensemble(hits, self.weights, self.c)
        return [self.store.document(hit.id, hit.payload) for hit in ordered[:k]]
