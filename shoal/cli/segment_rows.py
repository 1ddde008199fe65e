"""How segments were searched by vectors, as rows of a table."""

from __future__ import annotations

from typing import Any

from shoal.core.shard_calls import SegmentExplain

EXPLAIN_COLUMNS = (
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


def explain_row(each: SegmentExplain) -> tuple[Any, ...]:
    """Return the cells of EXPLAIN_COLUMNS."""
    matched = f"{each.filter_us:.0f}{' (known)' if each.filter_cached else ''}"
    shares = (f"{100 * share:.2f}%" for share in (each.estimated_selectivity, each.selectivity))
    breadth = f"{each.breadth_name} {each.breadth}" if each.breadth_name else ""
    head = (each.shard, each.segment, each.state, each.index, each.rows, each.plan, *shares)
    return (*head, each.candidates, breadth, each.fallbacks, matched, f"{each.search_us:.0f}", f"{each.score_us:.0f}")
