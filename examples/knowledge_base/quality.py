"""How good the answers are: by vectors, by text, and by both, on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.knowledge_base.embedding import Matrix
from examples.knowledge_base.questions import Question
from shoal import Client
from shoal.core.points import PointId
from shoal.core.ranking_quality import Judged, ndcg, recall_at

DENSE, TEXT, HYBRID = "vectors", "text", "both"
METHODS = (DENSE, TEXT, HYBRID)
K = 10
_BATCH = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """Means over questions, each 0 to 1."""

    recall_1: float
    recall_10: float
    ndcg_10: float


def quality_of(found: Sequence[Sequence[PointId]], judged: Sequence[Judged]) -> Quality:
    """Return the quality of ids, best first, for each question. At least one question."""
    pairs = list(zip(found, judged, strict=True))
    return Quality(
        recall_1=float(np.mean([recall_at(ids, grades, 1) for ids, grades in pairs])),
        recall_10=float(np.mean([recall_at(ids, grades, K) for ids, grades in pairs])),
        ndcg_10=float(np.mean([ndcg(ids, grades, K) for ids, grades in pairs])),
    )


def measured(
    client: Client, name: str, questions: Sequence[Question], vectors: Matrix, options: Mapping[str, Any] | None = None
) -> dict[str, Quality]:
    """Return the quality of each method on a collection, whose ids are those that the questions judge.

    vectors: (questions, dim); options: more arguments of the searches by both.
    """
    asked: Mapping[str, Mapping[str, Any]] = {DENSE: {"exact": True}, TEXT: {}, HYBRID: options or {}}
    return {
        method: quality_of(answers(client, name, method, questions, vectors, more), [each.judged for each in questions])
        for method, more in asked.items()
    }


def answers(
    client: Client, name: str, method: str, questions: Sequence[Question], vectors: Matrix, options: Mapping[str, Any]
) -> list[list[PointId]]:
    """Return the ids of the first ten hits of each question."""
    found: list[list[PointId]] = []
    for start in range(0, len(questions), _BATCH):
        batch = slice(start, start + _BATCH)
        texts = None if method == DENSE else [each.text for each in questions[batch]]
        rows = None if method == TEXT else vectors[batch]
        pages = client.search_many(name, rows, k=K, text=texts, with_payload=False, **options)
        found.extend([hit.id for hit in page] for page in pages)
    return found
