"""The page about EnsembleRetriever and Chroma: its two programs run as they are printed there, and are compared on
judged questions.

Chroma is not installed for tests, because it brings much. A stand-in that takes the same calls and finds the nearest
vectors exactly is used instead. Where Chroma is installed (make bench-peers), it runs, too.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

import shoal
from examples.knowledge_base.documents import shared_folder
from examples.knowledge_base.judged_sets import CMRC, SCIFACT, JudgedSet, embedded_text, judged_set
from shoal.core.ranking_quality import ndcg, recall_at
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.repository import ROOT
from tests.support.scope import LONG

BEFORE, AFTER = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs/guide/from-chroma.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
)
QUESTIONS = 300 if LONG else 40


class Known(Embeddings):
    """Gives the vectors of a data set."""

    def __init__(self, data: JudgedSet) -> None:
        texts = [*map(embedded_text, data.chunks), *(question.text for question in data.questions)]
        self.vectors = dict(zip(texts, np.concatenate([data.vectors, data.question_vectors]).tolist(), strict=True))

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        found: list[float] = self.vectors[text]
        return found


class ExactChroma(VectorStore):
    """Takes what the page gives to Chroma, and compares every vector."""

    def __init__(self, name: str, embedding: Embeddings, collection_metadata: dict[str, str]) -> None:
        assert collection_metadata == {"hnsw:space": "cosine"}, name
        self._embedding = embedding
        self._documents: list[Document] = []
        self._vectors = np.empty((0, 0))

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        assert not self._documents
        self._documents = documents
        self._vectors = np.array(self._embedding.embed_documents([document.page_content for document in documents]))
        return [str(at) for at in range(len(documents))]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        cosines = self._vectors @ np.array(self._embedding.embed_query(query))
        return [self._documents[at] for at in np.argsort(-cosines, kind="stable")[:k]]

    @classmethod
    def from_texts(cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, **kwargs: Any) -> ExactChroma:
        raise NotImplementedError("the page does not use it")


@pytest.fixture(params=["exact", "chroma"])
def chroma(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "exact":
        module = ModuleType("langchain_chroma")
        module.Chroma = ExactChroma  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "langchain_chroma", module)
    elif importlib.util.find_spec("langchain_chroma") is None or importlib.util.find_spec("chromadb") is None:
        pytest.skip("langchain-chroma and chromadb are not installed: make bench-peers")


@pytest.fixture(scope="module", params=[SCIFACT, CMRC])
def data(request: pytest.FixtureRequest) -> JudgedSet:
    found = judged_set(request.param, QUESTIONS)
    if found is None:
        pytest.skip(f"{request.param} is not in {shared_folder()}: set SHOAL_DATA to the folder that holds it")
    return found


@pytest.fixture(scope="module")
def after(data: JudgedSet, shared_cluster: RoleCluster) -> Iterator[dict[str, Any]]:
    """Return what the program of today has made."""
    assert AFTER.count("localhost:7600") == 1
    with shoal.connect(shared_cluster.address) as client:
        with contextlib.suppress(shoal.NotFound):
            client.drop_collection("knowledge")
        yield run(AFTER.replace("localhost:7600", shared_cluster.address), data)
        client.drop_collection("knowledge")


def run(program: str, data: JudgedSet) -> dict[str, Any]:
    """Run a program of the page and return its names."""
    documents = [Document(page_content=embedded_text(chunk), metadata={"at": at}) for at, chunk in enumerate(data.chunks)]
    names = {"embedding": Known(data), "documents": documents, "question": data.questions[0].text}
    exec(compile(program, "docs/guide/from-chroma.md", "exec"), names)
    assert 0 < len(names["found"]) <= 10
    return names


def quality(retriever: Any, data: JudgedSet) -> tuple[float, float]:
    """Return nDCG@10 and recall@10 over the questions."""
    found = [[document.metadata["at"] for document in retriever.invoke(question.text)[:10]] for question in data.questions]
    judged = [question.judged for question in data.questions]
    pairs = list(zip(found, judged, strict=True))
    return (
        float(np.mean([ndcg(ids, grades) for ids, grades in pairs])),
        float(np.mean([recall_at(ids, grades) for ids, grades in pairs])),
    )


@pytest.mark.timeout(360)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_new_program_finds_at_least_what_the_old_one_finds(chroma: None, after: dict[str, Any], data: JudgedSet) -> None:
    before = run(BEFORE, data)
    old, new = quality(before["retriever"], data), quality(after["retriever"], data)
    best = quality(after["retriever"].model_copy(update={"fusion": "zscore"}), data)
    print(f"{data.name}: nDCG@10, recall@10 before {old}, after {new}, zscore {best}")
    assert new[0] >= old[0]
    assert new[1] >= old[1]
    if data.name == CMRC:
        # BM25Retriever splits at spaces: a Chinese text is one word.
        assert new[0] >= old[0] + 0.05
    with contextlib.suppress(AttributeError):
        before["vectors"].delete_collection()
