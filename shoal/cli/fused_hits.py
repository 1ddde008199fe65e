"""How hits of searches with legs are shown: ranks in each leg, the words that were found, and how scores came about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from shoal.cli import output
from shoal.cli.segment_rows import explain_table
from shoal.cli.snippets import found_in
from shoal.client.results import Hit, Hits, LegHit, SearchExplain
from shoal.core.text_calls import TextExplain, WordShare

FOUND_COLUMNS = 72
"""Width of the line that shows what was found."""

_EXPLAIN_COLUMNS = 400


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FusedTable:
    """What is shown of hits.

    legs: their names; grouped, highlighted: whether groups, and what was found, are shown; first: rank of the first.
    """

    legs: tuple[str, ...]
    grouped: bool
    highlighted: bool
    first: int = 1

    def show(self, hits: Hits) -> None:
        """Print a table of hits."""
        last = "found" if self.highlighted else "payload"
        columns = ("rank", "id", "score", *self.legs, *(("group",) if self.grouped else ()), last)
        output.table(columns, [(rank, *self._row(hit)) for rank, hit in enumerate(hits, self.first)])

    def _row(self, hit: Hit) -> Sequence[Any]:
        ranks = (_ranked(hit.legs.get(name)) for name in self.legs)
        group = (output.json_text(hit.group),) if self.grouped else ()
        found = found_in(hit.payload, hit.highlights, FOUND_COLUMNS) if self.highlighted else hit.payload
        return (hit.id, f"{hit.score:.6g}", *ranks, *group, found)


def fused_document(hit: Hit) -> dict[str, Any]:
    """Return a hit as a document."""
    legs = {name: {"rank": leg.rank, "score": leg.score} for name, leg in hit.legs.items()}
    document = {"id": hit.id, "score": hit.score, "payload": hit.payload, "legs": legs, "group": hit.group}
    return document | {"highlights": {name: [list(span) for span in spans] for name, spans in hit.highlights.items()}}


def explain_document(explain: SearchExplain) -> dict[str, Any]:
    """Return how a search was done as a document."""
    told: dict[str, Sequence[Any]] = {"legs": explain.legs, "hits": explain.hits, "texts": explain.texts, "segments": tuple(explain)}
    return {name: [dataclasses.asdict(one) for one in each] for name, each in told.items()}


def show_explain(hits: Hits) -> None:
    """Print how each hit got its score, what each leg found, and how segments were searched."""
    explain = hits.explain
    rows = [
        (rank, hit.id, told.arithmetic, _words(told.words), f"{told.penalty:.4g}" if told.penalty else "")
        for rank, (hit, told) in enumerate(zip(hits, explain.hits, strict=True), 1)
    ]
    _behind(("rank", "id", "score is", "words", "penalty"), rows)
    legs = [
        (each.leg, each.hits, each.padded, f"{each.lowest:.4g}", f"{each.highest:.4g}", f"{each.deviation:.4g}", f"{each.us:.0f}")
        for each in explain.legs
    ]
    _behind(("leg", "hits", "padded", "lowest", "highest", "deviation", "us"), legs)
    _behind(
        ("shard", "segment", "state", "rows", "words", "postings", "plan", "eligible", "scored", "us"), list(map(_text_row, explain.texts))
    )
    _behind(*explain_table(explain))


def _behind(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table after an empty line, unless it has no rows."""
    if rows:
        output.line("")
        output.table(columns, rows, cell_columns=_EXPLAIN_COLUMNS)


def _ranked(leg: LegHit | None) -> str:
    return "" if leg is None else f"{leg.rank} ({leg.score:.4g})"


def _words(words: Sequence[WordShare]) -> str:
    return ", ".join(f"{each.field}:{each.word}{'*' if each.prefix else ''} {each.share:.4g}" for each in words)


def _text_row(each: TextExplain) -> Sequence[Any]:
    counts = (each.rows, each.words, each.postings, each.plan, each.eligible, each.scored)
    return (each.shard, each.segment, each.state, *counts, f"{each.us:.0f}")
