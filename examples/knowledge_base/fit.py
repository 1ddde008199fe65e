"""Runs `shoal collection fit` on judged questions, as a user does: two files, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.knowledge_base.embedding import Matrix
from examples.knowledge_base.questions import Question
from shoal.core.errors import Internal

TIMEOUT_S = 900.0


def fit(address: str, folder: Path, name: str, questions: Sequence[Question], vectors: Matrix) -> dict[str, Any]:
    """Let the command choose for a collection, and save what it may; return what it says with --json.

    folder: where the two files are written; vectors: (questions, dim). Raises Internal with what the command said if it
    failed.
    """
    queries, qrels = folder / f"{name}-queries.jsonl", folder / f"{name}-qrels.tsv"
    rows = enumerate(zip(questions, vectors.tolist(), strict=True))
    lines = [json.dumps({"id": str(at), "text": each.text, "vector": vector}) for at, (each, vector) in rows]
    queries.write_text("\n".join(lines) + "\n", encoding="utf-8")
    qrels.write_text("".join(_judgements(questions)), encoding="utf-8")
    program = Path(sys.executable).parent / "shoal"
    words = [program, "collection", "fit", name, "--queries", queries, "--qrels", qrels, "--save", "--json", "--address", address]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise Internal(f"shoal collection fit ended with {done.returncode}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _judgements(questions: Sequence[Question]) -> Iterator[str]:
    for at, question in enumerate(questions):
        for point, grade in question.judged.items():
            yield f"{at}\t{point}\t{grade:g}\n"
