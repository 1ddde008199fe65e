"""Maximal marginal relevance of the cluster picks what langchain-core picks, on 1,000 random cases."""

from __future__ import annotations

import numpy as np
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from shoal.core.diversity import cosines_to, diverse_picks


def test_picks_are_those_of_langchain():
    rng = np.random.default_rng(29)
    for case in range(1_000):
        rows, dim, count = int(rng.integers(1, 40)), int(rng.integers(2, 24)), int(rng.integers(1, 12))
        vectors = rng.normal(size=(rows, dim)).astype(np.float32)
        vectors[rows // 2 :] += vectors[: rows - rows // 2] * rng.integers(0, 3)
        query, lambda_mult = rng.normal(size=dim).astype(np.float32), float(rng.uniform())
        near = np.argsort(-cosines_to(query, vectors), kind="stable")
        wanted = maximal_marginal_relevance(query, list(vectors[near]), lambda_mult, count)
        picks = diverse_picks(cosines_to(query, vectors[near]), vectors[near], 1.0 - lambda_mult, count)
        assert picks.places.tolist() == wanted, case
