"""Shoal in LlamaIndex: a vector store for nodes. Needs shoal[llamaindex].

    from shoal.llamaindex import ShoalNodeStore

    store = ShoalNodeStore(collection="kb", address="localhost:7600")
    index = VectorStoreIndex(nodes, storage_context=StorageContext.from_defaults(vector_store=store))
    retriever = index.as_retriever(vector_store_query_mode="hybrid", similarity_top_k=5, alpha=0.5)

This room knows LlamaIndex, and nothing of the wire: it calls the SDK. `import shoal` does not import it.
"""

from __future__ import annotations

try:
    import llama_index.core as _needed
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "llama_index":
        raise
    raise ImportError("shoal.llamaindex needs llama-index-core: pip install 'shoal[llamaindex]'", name=error.name) from error

from shoal.llamaindex.node_store import ShoalNodeStore

del _needed

__all__ = ["ShoalNodeStore"]
