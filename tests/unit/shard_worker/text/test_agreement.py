"""Test that searches return what brute force over the living documents does, in order and scores, to the last bit:
however documents are spread over shards and segments, whatever was merged, and under any filter."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.support.scope import LONG
from tests.twins.texts import TextsTwin
from tests.unit.shard_worker.text.worlds import TextWorld, random_query

WORLDS = 280 if LONG else 10
AT_ONCE = 10
STATES, QUERIES = 3, 6
"""Of each world, and in each of its states. In the long form: 280 * 2 * 3 * 6 = 10,080 cases."""


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("first", range(0, WORLDS, AT_ONCE))
def test_searches_agree_with_brute_force(shards: int, first: int, tmp_path: Path) -> None:
    hits = 0
    for seed in range(first, first + AT_ONCE):
        random = Random(f"{shards} {seed}")
        world = TextWorld(random, shards, tmp_path)
        for _ in range(STATES):
            for _ in range(random.randint(1, 8) * (1 if shards == 1 else 2)):
                world.change()
            twin = TextsTwin(world.documents)
            for _ in range(QUERIES):
                query = random_query(random, world.documents.values())
                share = random.choice((None, None, 0.0, 0.05, 0.3, 0.9))
                allowed = None if share is None else {point_id for point_id in world.documents if random.random() < share}
                k = random.choice((1, 2, 5, 10, 1_000))
                expected = twin.search(query, k, allowed)
                assert world.search(query, k, allowed) == expected, (shards, seed, query, k)
                hits += len(expected)
    assert hits > AT_ONCE
