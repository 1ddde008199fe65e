"""Data sets whose questions have known answers: SciFact (English) and CMRC 2018 (Chinese), from the shared folder."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from examples.knowledge_base.chunks import Chunk
from examples.knowledge_base.documents import json_lines, shared_folder
from examples.knowledge_base.embedding import LsaEmbedding, Matrix
from examples.knowledge_base.questions import Question

SCIFACT, CMRC = "scifact", "cmrc2018-zh"
_SCIFACT_VECTORS = "scifact-minilm384.npz"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JudgedSet:
    """Texts and judged questions.

    embedding: what made the vectors; chunks: whole documents, whose ids are their positions; vectors: (chunks, dim) and
    question_vectors: (questions, dim), float32 of unit length.
    """

    name: str
    embedding: str
    chunks: tuple[Chunk, ...]
    vectors: Matrix
    questions: tuple[Question, ...]
    question_vectors: Matrix


def judged_set(name: str, most_questions: int | None = None) -> JudgedSet | None:
    """Return one of the data sets; None if it is absent.

    most_questions: only as many, spread over all. Questions without a text are left out: CMRC has two.
    """
    folder = shared_folder()
    docs, queries, qrels = (folder / f"{name}-{part}" for part in ("docs.jsonl.gz", "queries.jsonl.gz", "qrels.tsv"))
    if not (docs.is_file() and queries.is_file() and qrels.is_file()):
        return None
    rows, asked = json_lines(docs), [row for row in json_lines(queries) if row["text"].strip()]
    if most_questions is not None and most_questions < len(asked):
        asked = [asked[each] for each in np.linspace(0, len(asked) - 1, most_questions).astype(int).tolist()]
    at = {row["id"]: place for place, row in enumerate(rows)}
    grades = _grades(qrels, at)
    chunks = tuple(Chunk(file=row["id"], title=row["title"], heading="", offset=0, text=row["text"]) for row in rows)
    questions = tuple(Question(text=row["text"], judged=grades[row["id"]]) for row in asked)
    embedding, vectors, question_vectors = _vectors(folder / _SCIFACT_VECTORS, name, [*at], [row["id"] for row in asked], chunks, questions)
    return JudgedSet(name=name, embedding=embedding, chunks=chunks, vectors=vectors, questions=questions, question_vectors=question_vectors)


def _grades(path: Path, at: dict[str, int]) -> defaultdict[str, dict[int | str, float]]:
    """Return for each question the grades of documents by position."""
    grades: defaultdict[str, dict[int | str, float]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for query, document, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            grades[query][at[document]] = float(grade)
    return grades


def _vectors(
    made: Path, name: str, ids: list[str], query_ids: list[str], chunks: Sequence[Chunk], questions: Sequence[Question]
) -> tuple[str, Matrix, Matrix]:
    """Return the name of the embedding, and vectors of texts and questions: of a model where they are in the folder."""
    if name == SCIFACT and made.is_file():
        with np.load(made) as archive:
            rows = {each: at for at, each in enumerate(archive["doc_ids"].tolist())}
            asked = {each: at for at, each in enumerate(archive["query_ids"].tolist())}
            vectors, question_vectors = archive["doc_embeddings"], archive["query_embeddings"]
        return (
            "all-MiniLM-L6-v2, 384 dimensions",
            vectors[[rows[each] for each in ids]],
            question_vectors[[asked[each] for each in query_ids]],
        )
    lsa = LsaEmbedding(texts := [embedded_text(each) for each in chunks])
    return lsa.name, lsa.vectors(texts), lsa.vectors([each.text for each in questions])


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded of a chunk: its headings, too."""
    return f"{chunk.name}\n{chunk.text}"
