"""Test that a point is encoded only once, by its sender: the worker keeps the bytes as they came, and parses each
payload once.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shoal.core.ids import Seq
from shoal.core.points import PointColumns
from shoal.core.shard_calls import ShardUpsert
from shoal.shard_worker.replica import engine
from shoal.v1 import worker_pb2
from shoal.wire.point_bytes import points_to_bytes
from shoal.wire.shard_calls import write_from_message, write_to_bytes
from tests.support.json_parses import counted_parses
from tests.support.worker.replica_bench import DIM, SHARD, Bench, opened

COUNT = 1_000
POINTS = PointColumns(
    ids=np.arange(COUNT),
    vectors=np.random.default_rng(3).normal(size=(COUNT, DIM)).astype(np.float32),
    payloads=tuple(json.dumps({"n": number, "tags": ["a", "b"]}).encode() for number in range(COUNT)),
)


async def upsert_as_sent(bench: Bench) -> None:
    """Do an upsert with the bytes that a router sends, and wait until it is acknowledged."""
    sent = write_to_bytes(ShardUpsert(shard=SHARD, request_id=bench.next_id(), points=POINTS))
    await bench.replica.write(write_from_message(worker_pb2.ShardWriteRequest.FromString(sent)), 20.0)


def test_an_upsert_parses_each_payload_once_in_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> Counter[str]:
        async with opened(tmp_path, term=1, growing_rows=2 * COUNT) as bench:
            parsed = counted_parses(monkeypatch)
            await upsert_as_sent(bench)
            return parsed

    assert asyncio.run(run()) == Counter(payload.decode() for payload in POINTS.payloads or () if payload is not None)


def test_the_log_keeps_the_bytes_that_came(tmp_path: Path) -> None:
    async def run() -> bytes:
        async with opened(tmp_path, term=1) as bench:
            await upsert_as_sent(bench)
            return bench.engine.read_log(Seq(2), 1 << 30)[0].body

    assert asyncio.run(run()) == points_to_bytes(POINTS)


def test_points_that_were_decoded_at_the_door_are_applied_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        async with opened(tmp_path, term=1) as bench:
            monkeypatch.setattr(engine, "points_from_bytes", lambda body: pytest.fail("the body was decoded again"))
            await upsert_as_sent(bench)
            return (await bench.replica.stats()).points

    assert asyncio.run(run()) == COUNT
