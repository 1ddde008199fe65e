"""Replicas of the same points tell about the same size, in whatever way the points came: placement counts with it, and
a replica that was moved is in another state than before.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shoal.core.text_fields import text_fields_from_input
from tests.support.worker.replica_bench import SHARD, SPEC, Bench, opened

ROWS, WIDE = 600, 128
VECTORS = np.random.default_rng(5).normal(size=(ROWS, WIDE)).astype(np.float32)
PAYLOADS = tuple(f'{{"text":"{number} replicas of shard {number % 7}"}}'.encode() for number in range(ROWS))


async def in_pieces(bench: Bench) -> None:
    for start in range(0, ROWS, 50):
        await bench.upsert(range(start, start + 50), VECTORS[start : start + 50], PAYLOADS[start : start + 50])


async def at_once(bench: Bench) -> None:
    await bench.upsert(range(ROWS), VECTORS, PAYLOADS)


async def rewritten(bench: Bench) -> None:
    await at_once(bench)
    await bench.upsert(range(300), VECTORS[:300], PAYLOADS[:300])


async def moved_log(bench: Bench) -> None:
    await at_once(bench)
    await bench.rest()


async def sealed(bench: Bench) -> None:
    await at_once(bench)
    await bench.replica.optimize(60.0)


def told(folder: Path, fill: Callable[[Bench], Coroutine[Any, Any, None]]) -> tuple[int, int]:
    """Return the size that a replica tells when it is filled so, and what it takes from the budget."""

    async def run() -> tuple[int, int]:
        spec = dataclasses.replace(SPEC, dim=WIDE, index="flat", text=text_fields_from_input({"text": "auto"}))
        async with opened(folder, term=1, spec=spec) as bench:
            await fill(bench)
            return bench.replica.status.memory_bytes, bench.memory.awake_bytes_of(SHARD)

    return asyncio.run(run())


@pytest.mark.parametrize("fill", [in_pieces, rewritten, moved_log, sealed])
def test_a_replica_tells_what_it_takes_in_the_long_run(tmp_path: Path, fill: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    """The bar of a plan is 5 %; the rest is for pages of the store that are not full."""
    (usual, _), (other, taken) = told(tmp_path / "usual", at_once), told(tmp_path / "other", fill)
    assert other == pytest.approx(usual, rel=0.03)
    assert other <= taken


def test_the_account_counts_all_that_is_held(tmp_path: Path) -> None:
    size, taken = told(tmp_path, in_pieces)
    assert taken - size > ROWS * WIDE, "codes and room for rows to come are in the account"
