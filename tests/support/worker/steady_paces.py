"""Costs of searches that are the same on every machine, so that a plan does not depend on how fast a test runs."""

from __future__ import annotations

from typing import Any

from shoal.shard_worker.index.search.paces import Paces


class SteadyPaces(Paces):
    """Costs that are the same on every machine: a microsecond for `floats_per_us` floats."""

    floats_per_us = 2_000.0

    def exact_us(self, *, queries: int, rows: int, dim: int, layout: Any) -> float:
        return queries * rows * dim / self.floats_per_us * (3.0 if layout == "scattered" else 1.0)


class UnlearningPaces(SteadyPaces):
    """Costs that are the same on every machine and in every search."""

    def learn_exact(self, **_: Any) -> None:
        """Do nothing."""

    def learn_index(self, key: int, **_: Any) -> None:
        """Do nothing."""
