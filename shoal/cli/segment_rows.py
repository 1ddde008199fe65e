"""How segments were searched by vectors, as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.core.shard_calls import SegmentExplain

_COLUMNS = (
    "shard",
    "segment",
    "state",
    "index",
    "rows",
    "plan",
    "expected",
    "match",
    "scored",
    "breadth",
    "fallbacks",
    "filter us",
    "search us",
    "score us",
)


def explain_table(segments: Sequence[SegmentExplain]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Return the columns and the rows of a table. Of named vectors, it has their names."""
    rows = list(map(_row, segments))
    if not any(each.vector for each in segments):
        return _COLUMNS, rows
    head, *columns = _COLUMNS
    return (head, "vector", *columns), [(row[0], each.vector, *row[1:]) for row, each in zip(rows, segments, strict=True)]


def _row(each: SegmentExplain) -> tuple[Any, ...]:
    matched = f"{each.filter_us:.0f}{' (known)' if each.filter_cached else ''}"
    shares = (f"{100 * share:.2f}%" for share in (each.estimated_selectivity, each.selectivity))
    breadth = f"{each.breadth_name} {each.breadth}" if each.breadth_name else ""
    head = (each.shard, each.segment, each.state, each.index, each.rows, each.plan, *shares)
    return (*head, each.candidates, breadth, each.fallbacks, matched, f"{each.search_us:.0f}", f"{each.score_us:.0f}")
