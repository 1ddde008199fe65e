"""`python -m bench.text_indexing`: how many documents a second a growing segment's text index takes, on one core.

Documents of 60 words, drawn by Zipf from 60,000; abstracts of 225 words (SciFact); passages of 400 Han characters (CMRC
2018). In batches of 500: cut into words, made a table, merged with others. Time of the thread, as readers of payloads
have parsed them. Cold: each measurement is a process of its own, whose analyzer has seen no word. Warm: the same
documents once more, in the same process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.text import BATCH, Documents
from examples.knowledge_base.documents import in_data_set
from shoal.core.text_fields import TextField
from shoal.shard_worker.text.field_texts import field_texts
from shoal.shard_worker.text.growing import GrowingTexts

KINDS = (("60 words", "zipf", 25_000), ("225 words", "scifact-docs", 6_000), ("400 Han characters", "cmrc2018-zh-docs", 5_000))
"""Name, where they come from, and documents a second that are wanted (cold)."""

DRAWN = 20_000
MOST = 5_000
"""Documents of a data set that are taken."""


def main() -> int:
    """Measure and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.text_indexing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="processes for each kind (default: %(default)s)")
    options = parser.parse_args()
    table = Table("documents/s, median (best)", "cold", "wanted", "warm")
    context = multiprocessing.get_context("spawn")
    for name, source, wanted in KINDS:
        found: list[tuple[float, float]] = []
        for _ in range(options.rounds):
            with context.Pool(1) as pool:
                found.append(pool.apply(rates, (source,)))
        cold, warm = zip(*found, strict=True)
        table.add_row(name, _shown(cold), f"{wanted:,}", _shown(warm))
    Console().print(table)
    return 0


def rates(source: str) -> tuple[float, float]:
    """Return documents a second, cold and warm. source: "zipf", or the name of a data set."""
    batches = _batches(source)
    # Libraries and tables load with the first text, once in the life of a worker.
    field_texts((TextField(name="other"),)).indexed([{"other": "first 首先"}])
    return _rate(batches), _rate(batches)


def _rate(batches: Sequence[Sequence[dict[str, str]]]) -> float:
    texts = field_texts((TextField(name="body"),))
    growing = GrowingTexts(texts.names, texts.fingerprint)
    began = time.thread_time()
    for batch in batches:
        growing.append(texts.indexed(batch), len(batch))
        growing.part()
    return sum(map(len, batches)) / (time.thread_time() - began)


def _batches(source: str) -> list[list[dict[str, str]]]:
    if source == "zipf":
        documents = Documents()
        return [[{"body": " ".join(words)} for words in documents.drawn(BATCH)] for _ in range(DRAWN // BATCH)]
    held = in_data_set(source)
    if held is None:
        raise SystemExit(f"error: data set {source!r} is absent; name the folder that holds it with SHOAL_DATA")
    rows = [{"body": f"{each.title}\n{each.text}"} for each in held.documents[:MOST]]
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _shown(found: Sequence[float]) -> str:
    return f"{statistics.median(found):,.0f} ({max(found):,.0f})"


if __name__ == "__main__":
    raise SystemExit(main())
