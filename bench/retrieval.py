"""Measures what searches by text, and by text and vectors together, find on judged questions, through a whole cluster:
`python -m bench.retrieval`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import shoal
from bench.identifiers import PLACES, identifiers_of, slices_of
from examples.knowledge_base.documents import in_data_set, shared_folder
from examples.knowledge_base.embedding import LsaEmbedding, Matrix
from examples.knowledge_base.fit import fit
from examples.knowledge_base.judged_sets import CMRC, SCIFACT, JudgedSet, judged_set
from examples.knowledge_base.quality import DENSE, HYBRID, TEXT, Quality, answers, measured, quality_of
from examples.knowledge_base.questions import Question
from shoal.deploy.local.foreground import ForegroundCluster

WEAK_DIMENSIONS = 64
PARTS = ("scifact", "cmrc", "identifiers")
_DOCUMENTATIONS = (
    ("milvus", "milvus-docs-en", None, 0.85),
    ("tidb", "tidb-docs-zh", 4_000, 0.85),
    ("tidb-all", "tidb-docs-zh", None, None),
)
"""Name, data set, first chunks that are taken (4,000 of TiDB's in ADR 27), and bar."""

_LOADED_AT_ONCE = 500
_TIMED = 200

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One figure. bar: what it should reach, None for a figure beside others."""

    what: str
    value: float
    bar: float | None = None
    at_most: bool = False

    @property
    def is_missed(self) -> bool:
        """Whether there is a bar, and the figure does not reach it."""
        return self.bar is not None and (self.value > self.bar if self.at_most else self.value < self.bar)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--shards", type=int, default=1, help="shards of each collection")
    parser.add_argument("--json", type=Path, default=Path("bench-results/retrieval.json"))
    options = parser.parse_args()
    console = Console(highlight=False)

    def tell(line: str) -> None:
        console.print(f"  {line}", style="dim", markup=False)

    found: list[Finding] = []
    with (
        tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder,
        ForegroundCluster(data=Path(folder) / "data", heard=tell) as cluster,
        shoal.connect(cluster.address, timeout=60) as client,
    ):
        bench = _Bench(client, cluster.address, Path(folder), options.shards, tell)
        for part in options.parts:
            found += {"scifact": bench.scifact, "cmrc": bench.cmrc, "identifiers": bench.identifiers}[part]()
    table = Table("what", "value", "bar", box=None)
    for each in found:
        bar = "" if each.bar is None else f"{'<=' if each.at_most else '>='} {each.bar:g}{'  MISSED' if each.is_missed else ''}"
        table.add_row(each.what, f"{each.value:.4f}", bar)
    console.print(table)
    options.json.parent.mkdir(exist_ok=True, parents=True)
    options.json.write_text(json.dumps([asdict(each) for each in found], indent=1), encoding="utf-8")
    return 1 if any(each.is_missed for each in found) else 0


class _Bench:
    def __init__(self, client: shoal.Client, address: str, folder: Path, shards: int, tell: Tell) -> None:
        self._client, self._address, self._folder, self._shards, self._tell = client, address, folder, shards, tell

    def scifact(self) -> list[Finding]:
        """SciFact with vectors of a model: fusions beside each other, pages, and what a search takes."""
        data = _needed(SCIFACT)
        one, two = "scifact", "scifact-fields"
        self._load(one, [{"text": f"{each.title}\n{each.text}"} for each in data.chunks], data.vectors, ["text"])
        self._load(two, [{"title": each.title, "body": each.text} for each in data.chunks], data.vectors, ["title", "body"])
        usual = measured(self._client, one, data.questions, data.question_vectors)
        found = [Finding(what=f"SciFact, {method}: nDCG@10", value=usual[method].ndcg_10) for method in (DENSE, TEXT)]
        for fusion in ("rrf", "minmax"):
            quality = self._both(one, data, {"fusion": fusion})
            found.append(Finding(what=f"SciFact, both, {fusion}: nDCG@10", value=quality.ndcg_10))
        found.append(Finding(what="SciFact, both, default: nDCG@10", value=usual[HYBRID].ndcg_10, bar=0.73))
        found.append(Finding(what="SciFact, both, title and body as two fields: nDCG@10", value=self._both(two, data, {}).ndcg_10))
        found += self._fit(two, data.questions, data.question_vectors, "SciFact, two fields")
        return [*found, self._pages(one, data), *self._latencies(one, data)]

    def cmrc(self) -> list[Finding]:
        """CMRC: text alone, questions in traditional characters, and a fit beside weak vectors."""
        data = _needed(CMRC)
        bodies = [each.text for each in data.chunks]
        weak = LsaEmbedding(bodies, WEAK_DIMENSIONS)
        vectors, asked = weak.vectors(bodies), weak.vectors([each.text for each in data.questions])
        name = "cmrc"
        self._load(name, [{"text": f"{each.title}\n{each.text}"} for each in data.chunks], vectors, ["text"])
        before = measured(self._client, name, data.questions, asked)
        traditional = [Question(text=_traditional(each.text), judged=each.judged) for each in data.questions]
        in_traditional = quality_of(answers(self._client, name, TEXT, traditional, asked, {}), [each.judged for each in traditional])
        chosen = self._fit(name, data.questions, asked, "CMRC, LSA")
        after = measured(self._client, name, data.questions, asked)
        return [
            Finding(what="CMRC, text: recall@1", value=before[TEXT].recall_1, bar=0.965),
            Finding(what="CMRC, text: recall@10", value=before[TEXT].recall_10, bar=0.997),
            Finding(what="CMRC, text, questions in traditional characters: recall@1", value=in_traditional.recall_1, bar=0.965),
            Finding(what=f"CMRC, LSA of {WEAK_DIMENSIONS} dimensions: recall@1", value=before[DENSE].recall_1),
            Finding(what="CMRC, LSA and text, default: recall@1", value=before[HYBRID].recall_1),
            *chosen,
            Finding(what="CMRC, LSA and text, as fitted: recall@1", value=after[HYBRID].recall_1, bar=0.96),
        ]

    def identifiers(self) -> list[Finding]:
        """Identifiers of documentation, asked for as separate words in lower case."""
        found = []
        for name, documents, most, bar in _DOCUMENTATIONS:
            data = in_data_set(documents)
            if data is None:
                raise SystemExit(f"error: {documents}.jsonl.gz is absent from {shared_folder()}; name its folder with SHOAL_DATA")
            slices = slices_of([each.text for each in data.documents])[:most]
            self._load(name, [{"text": each} for each in slices], np.ones((len(slices), 1), dtype=np.float32), ["text"])
            asked = identifiers_of(slices)
            questions = [Question(text=each.words, judged=dict.fromkeys(each.places, 1.0)) for each in asked]
            pages = answers(self._client, name, TEXT, questions, np.empty((len(questions), 1), dtype=np.float32), {})
            share = statistics.fmean(any(id in each.judged for id in page) for each, page in zip(questions, pages, strict=True))
            what = f"{name}: {len(questions)} identifiers of {len(slices):,} chunks, as words: share found in the top {PLACES}"
            found.append(Finding(what=what, value=share, bar=bar))
        return found

    def _load(self, name: str, payloads: Sequence[Mapping[str, str]], vectors: Matrix, fields: Sequence[str]) -> None:
        began = time.monotonic()
        metric = "cosine" if vectors.shape[1] > 1 else "l2"
        text = dict.fromkeys(fields, "auto")
        self._client.create_collection(name, dim=vectors.shape[1], metric=metric, text=text, shards=self._shards)
        for start in range(0, len(payloads), _LOADED_AT_ONCE):
            part = slice(start, start + _LOADED_AT_ONCE)
            ids = list(range(start, start + len(payloads[part])))
            self._client.upsert(name, ids, vectors[part], [dict(each) for each in payloads[part]])
        self._tell(f"{name}: {len(payloads):,} points in {time.monotonic() - began:.1f} s")

    def _both(self, name: str, data: JudgedSet, options: Mapping[str, Any]) -> Quality:
        found = answers(self._client, name, HYBRID, data.questions, data.question_vectors, options)
        return quality_of(found, [each.judged for each in data.questions])

    def _fit(self, name: str, questions: Sequence[Question], vectors: Matrix, what: str) -> list[Finding]:
        """Run the command, which saves what it may, and return what it says."""
        began = time.monotonic()
        told = fit(self._address, self._folder, name, questions, vectors)
        self._tell(f"{what}: fit took {time.monotonic() - began:.0f} s, saved: {told['saved']}, choice: {told['choice']}")
        return [
            Finding(what=f"{what}, fit: nDCG@10 at present", value=told["present"]),
            Finding(what=f"{what}, fit: nDCG@10 on held-out questions", value=told["held_out"]),
            Finding(what=f"{what}, fit: lower end of the gain", value=told["low"]),
            Finding(what=f"{what}, fit: saved", value=float(told["saved"])),
        ]

    def _pages(self, name: str, data: JudgedSet) -> Finding:
        """Tell for how many questions k = 20 is the pages 10 + 10."""
        equal = 0
        for question, vector in zip(data.questions, data.question_vectors, strict=True):
            whole, *pages = (
                [(hit.id, hit.score) for hit in self._client.search(name, vector, text=question.text, k=k, offset=offset)]
                for k, offset in ((20, 0), (10, 0), (10, 10))
            )
            equal += whole == pages[0] + pages[1]
        return Finding(what="SciFact: share of questions whose pages 10 + 10 are k = 20", value=equal / len(data.questions), bar=1.0)

    def _latencies(self, name: str, data: JudgedSet) -> list[Finding]:
        asked = [(vector, question.text) for question, vector in zip(data.questions, data.question_vectors, strict=True)][:_TIMED]
        searches: dict[str, Callable[[Any, str], object]] = {
            DENSE: lambda vector, _: self._client.search(name, vector, k=100, with_payload=False),
            TEXT: lambda _, text: self._client.search(name, text=text, k=100, with_payload=False),
            HYBRID: lambda vector, text: self._client.search(name, vector, text=text, k=10, with_payload=False),
        }
        took: dict[str, list[float]] = {method: [] for method in searches}
        for vector, text in asked:
            # In turns, so that each method has its share of whatever else the machine does.
            for method, search in searches.items():
                began = time.perf_counter()
                search(vector, text)
                took[method].append(time.perf_counter() - began)
        p50 = {method: statistics.median(each) * 1_000 for method, each in took.items()}
        parts = [Finding(what=f"SciFact, {method}: p50 ms at the client", value=p50[method]) for method in (DENSE, TEXT)]
        return [*parts, Finding(what="SciFact, both: p50 ms at the client", value=p50[HYBRID], bar=p50[DENSE] + p50[TEXT], at_most=True)]


def _needed(name: str) -> JudgedSet:
    data = judged_set(name)
    if data is None:
        raise SystemExit(f"error: {name} is absent from {shared_folder()}; name the folder that holds it with SHOAL_DATA")
    return data


def _traditional(text: str) -> str:
    """Return a text with each simplified character replaced by the first traditional one that is folded to it."""
    from shoal.shard_worker.text.analysis.folding_table import SIMPLIFIED, TRADITIONAL

    back: dict[str, str | int | None] = {}
    for traditional, simplified in zip(TRADITIONAL, SIMPLIFIED, strict=True):
        back.setdefault(simplified, traditional)
    return text.translate(str.maketrans(back))


if __name__ == "__main__":
    sys.exit(main())
