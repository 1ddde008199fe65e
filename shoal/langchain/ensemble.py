"""The search of a ShoalRetriever, and the order that LangChain's EnsembleRetriever gives its hits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shoal.client.legs import DENSE_NAME, TEXT_NAME, Dense, Text
from shoal.client.results import Hit

_TIED = 4
"""Hits asked for beyond k: of hits with equal scores at the end, EnsembleRetriever takes others than the cluster."""


def needs_vector(weights: Sequence[float]) -> bool:
    """Return whether the search has a leg of vectors. weights: of text and vectors."""
    return weights[1] > 0 or weights[0] <= 0


def ensemble_search(
    query: str,
    vector: Any,
    *,
    k: int,
    weights: Sequence[float],
    fusion: str,
    c: float,
    fetch_k: int,
    diversity: float | None,
    fields: dict[str, float] | None,
) -> dict[str, Any]:
    """Return the arguments of `shoal.Client.search` for both legs, fused.

    weights: of text and vectors; a query of spaces only has no text leg. diversity: None without maximal marginal
    relevance.
    """
    candidates = max(fetch_k, k)
    legs: list[Any] = [] if not query.strip() else [Text(query, fields=fields, weight=weights[0])]
    if needs_vector(weights) or not legs:
        legs.append(Dense(vector, weight=weights[1] if legs else 1.0))
    searched: dict[str, Any] = {"legs": legs, "candidates": candidates, "k": k, "fusion": fusion}
    if fusion == "rrf":
        searched["c"] = c
    if diversity is not None:
        return searched | {"diversity": diversity}
    return searched | {"k": min(k + _TIED, candidates)} if fusion == "rrf" and len(legs) > 1 else searched


def in_order_of_ensemble(hits: Sequence[Hit], weights: Sequence[float], c: float) -> list[Hit]:
    """Return the hits by the sum of weight / (rank + c), as EnsembleRetriever adds it.

    Of equal sums, those of the text leg come first, by their rank there, then the others by theirs.
    """
    order = (TEXT_NAME, DENSE_NAME)

    def place(hit: Hit) -> tuple[float, int, int]:
        total, first = 0.0, (len(order), 0)
        for number, (name, weight) in enumerate(zip(order, weights, strict=True)):
            if name in hit.legs:
                rank = hit.legs[name].rank
                total += weight / (rank + c)
                first = min(first, (number, rank))
        return (-total, *first)

    return sorted(hits, key=place)
