"""A learner that joins a shard with text fields finds what the others find, to the last bit: whether it takes the log
or a snapshot, before and after later writes, and as primary.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shoal.core.errors import PreconditionFailed, Unavailable
from shoal.core.filter import In
from shoal.core.ids import ReplicaId, Seq
from shoal.core.shard_calls import QueryGroup
from shoal.core.text_calls import TextFound, TextSearchCall
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import Match, TextAsk
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.storage.folders.snapshot_manifest import SnapshotAsked, SnapshotManifest
from tests.support.worker.fleet import SHARD, SPEC, Fleet, Member, fleet, until
from tests.support.worker.replica_texts import PointsWithTexts

TEXT = text_fields_from_input({"title": "auto", "body": "cjk"})
WORDS = ("red", "reds", "green", "light_blue", "blue", "数据库", "数据", "库", "向量", "RocksDB", "v1.5")
ASKS = (
    TextAsk(text="red 数据库 blue"),
    TextAsk(text="RocksDB", must=("green",)),
    TextAsk(text="light blue", phrases=("数据库",)),
    TextAsk(text="reds 向量", must_not=("green",), match=Match.ALL),
    TextAsk(prefix="gre", fields=(("title", 2.0), ("body", 1.0))),
)
Payloads = dict[int | str, dict[str, Any]]


class Points:
    """Points that are written, and what they hold now."""

    def __init__(self, world: Fleet) -> None:
        self._world, self._random = world, Random(14)
        self.payloads: Payloads = {}

    async def change(self, primary: Member, rounds: int) -> Seq:
        """Write points with texts, some of them anew, and delete some. Return the seq of the last change."""
        for number in range(rounds):
            ids = self._random.sample(range(120), 15)
            made: Payloads = {each: {"n": each % 2, "title": self._text(3), "body": [self._text(9), self._text(2)]} for each in ids}
            encoded = tuple(json.dumps(made[each]).encode() for each in ids)
            await self._world.upsert(primary, ids, float(number), payloads=encoded)
            self.payloads |= made
            gone = self._random.sample(range(120), 3)
            ack = await self._world.delete(primary, gone)
            for each in gone:
                self.payloads.pop(each, None)
        return ack.seq

    def expected(self, ask: TextAsk, wanted: int | None) -> list[tuple[int | str, float]]:
        allowed = {each for each, payload in self.payloads.items() if wanted is None or payload["n"] == wanted}
        return PointsWithTexts(TEXT, self.payloads).search(ask, 9, set(allowed))

    def _text(self, most: int) -> str:
        return " ".join(self._random.choices(WORDS, k=self._random.randint(0, most)))


async def found(member: Member, wanted: int | None, at_least: Seq) -> TextFound:
    """Return what a replica that has applied `at_least` finds; it may just have joined."""
    group = QueryGroup(k=9, filter=None if wanted is None else In(("n",), (wanted,)))
    call = TextSearchCall(shards=(SHARD,), asks=ASKS, groups=(group,), min_seqs={SHARD: at_least}, shares=True)
    async with asyncio.timeout(20.0):
        while True:
            answer = await member.host.text_search(call, 10.0)
            if not answer.failed:
                return answer
            (error,) = answer.failed.values()
            assert isinstance(error, Unavailable | PreconditionFailed), error
            await asyncio.sleep(0.01)


async def agree(points: Points, members: list[Member], at_least: Seq) -> None:
    """Hits, scores and shares of words are the same at all replicas, and those of brute force."""
    for wanted in (None, 1):
        answers = [await found(member, wanted, at_least) for member in members]
        expected = [points.expected(ask, wanted) for ask in ASKS]
        assert sum(map(len, expected)) > 20
        for answer in answers:
            hits = answer.hits
            assert hits.counts.tolist() == list(map(len, expected))
            assert list(zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)) == [hit for each in expected for hit in each]
            assert hits.shares == answers[0].hits.shares


def is_primary(member: Member) -> bool:
    return member.replica is not None and member.replica.role == "primary"


def snapshots_of(member: Member) -> list[ReplicaId]:
    """Return a list to which each replica is added that takes a snapshot of a member from now on."""
    taken: list[ReplicaId] = []
    begin = member.source.begin

    async def noted(asked: SnapshotAsked) -> SnapshotManifest:
        taken.append(asked.replica)
        return await begin(asked)

    member.source.begin = noted  # type: ignore[method-assign]
    return taken


@pytest.mark.parametrize("by_snapshot", [False, True], ids=["log", "snapshot"])
@pytest.mark.parametrize("sealed", [False, True], ids=["growing", "sealed"])
def test_a_third_replica_finds_texts_as_the_others_do(tmp_path: Path, by_snapshot: bool, sealed: bool) -> None:
    settings = EngineSettings(growing_rows=40 if sealed else 10_000)
    if by_snapshot:
        settings = dataclasses.replace(settings, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)

    async def run() -> None:
        async with fleet(tmp_path, settings) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            await world.place(a, b, min_isr=1, spec=dataclasses.replace(SPEC, text=TEXT))
            await world.until_isr(2)
            await until(lambda: is_primary(a))
            points, snapshots = Points(world), snapshots_of(a)
            seq = await points.change(a, 12)
            if sealed:
                assert a.replica is not None
                await a.replica.optimize(20.0)
                seq = await points.change(a, 2)
            config, name = await world.config(), ReplicaId("placed-late")
            await world.put(None, dataclasses.replace(config, learners=(name,), worker_of={**config.worker_of, name: c.id}, rf=3))
            config = await world.until_isr(3)
            assert c.replica is not None
            assert bool(snapshots) == by_snapshot
            await agree(points, [a, b, c], seq)
            await agree(points, [a, b, c], await points.change(a, 4))
            await c.replica.optimize(20.0)
            await agree(points, [a, b, c], await points.change(a, 1))
            assert a.replica is not None
            old = a.replica.id
            world.cut.add(a.id)
            await world.elect(c, without=(old,))
            await until(lambda: is_primary(c))
            await agree(points, [b, c], await points.change(c, 3))

    asyncio.run(run())
