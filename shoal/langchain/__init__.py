"""Shoal in LangChain: a vector store, a hybrid retriever, and a translator of self-queries. Needs shoal[langchain].

    from shoal.langchain import ShoalRetriever, ShoalVectorStore

    store = ShoalVectorStore(embedding, "kb", address="localhost:7600")
    store.add_documents(documents)
    retriever = ShoalRetriever(store=store, k=5, weights=(0.5, 0.5), filter={"lang": "en"})

This room knows LangChain, and nothing of the wire: it calls the SDK. `import shoal` does not import it.
"""

from __future__ import annotations

try:
    import langchain_core as _needed
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise ImportError("shoal.langchain needs langchain-core: pip install 'shoal[langchain]'", name=error.name) from error

from shoal.langchain.retriever import ShoalRetriever
from shoal.langchain.self_query import ShoalTranslator
from shoal.langchain.vector_store import ShoalVectorStore

del _needed

__all__ = ["ShoalRetriever", "ShoalTranslator", "ShoalVectorStore"]
