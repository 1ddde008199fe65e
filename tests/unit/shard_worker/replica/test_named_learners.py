"""A learner that joins a shard with named vectors answers as the others do, to the last bit: whether it takes the log
or a snapshot, before and after later writes, and as primary."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from random import Random

import numpy as np
import pytest

from shoal.core.errors import Unavailable
from shoal.core.filter import In
from shoal.core.ids import ReplicaId, Seq
from shoal.core.point_change import SetPayload, UpdatePacked
from shoal.core.points import PointColumns, id_array
from shoal.core.shard_calls import Exact, QueryGroup, ShardDelete, ShardsFound, ShardsSearch, ShardUpdate, ShardUpsert
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.segment_names import vector_of
from tests.support.worker.fleet import SHARD, Fleet, Member, fleet, until
from tests.support.worker.named_vectors import DIMS, NAMED, Vectors, nearest_by, rows_of
from tests.unit.shard_worker.replica.test_texts_of_learners import is_primary, snapshots_of

QUERIES = {"image": [[1.0, -2.0, 0.5], [3.0, 3.0, 3.0]], "text": [[1.0, 0.25]], "sound_1-x": [[4.0], [-9.0]]}


class NamedPoints:
    """Points that are written, and what they hold now: their vectors and whether their number is odd."""

    def __init__(self, world: Fleet) -> None:
        self._world, self._random = world, Random(36)
        self.held: dict[int | str, tuple[dict[str, list[float]], int]] = {}

    async def change(self, primary: Member, rounds: int) -> Seq:
        """Write points, replace some of their vectors, change payloads, delete some. Return the seq of the last
        change."""
        for _ in range(rounds):
            ids = self._random.sample(range(120), 15)
            made = {each: (self._vectors(), each % 2) for each in ids}
            rows = rows_of([vectors for vectors, _ in made.values()])
            payloads = tuple(b'{"n":%d}' % odd for _, odd in made.values())
            points = PointColumns(ids=id_array(ids), vectors=rows, payloads=payloads)
            await primary.host.write(ShardUpsert(shard=SHARD, request_id=self._world._next(), points=points), 10.0)
            self.held |= made
            ids = self._random.sample(range(120), 6)
            changes = {each: self._vectors() for each in ids}
            packed = UpdatePacked(rows_of(list(changes.values())), DIMS)
            for change, filter in ((packed, In(("n",), (1,))), (SetPayload(b'{"n":1}'), None)):
                call = ShardUpdate(shard=SHARD, request_id=self._world._next(), ids=id_array(ids), change=change, filter=filter)
                await primary.host.write(call, 10.0)
            for each in set(ids) & self.held.keys():
                vectors, odd = self.held[each]
                self.held[each] = ({**vectors, **changes[each]} if odd else vectors, 1)
            gone = self._random.sample(range(120), 3)
            delete = ShardDelete(shard=SHARD, request_id=self._world._next(), ids=id_array(gone))
            ack = await primary.host.write(delete, 10.0)
            for each in gone:
                self.held.pop(each, None)
        return ack.seq

    def expected(self, name: str, query: list[float], wanted: int | None) -> list[int | str]:
        among: dict[int | str, Vectors] = {each: vectors for each, (vectors, odd) in self.held.items() if wanted in (None, odd)}
        return nearest_by(name, query, among, 9)

    def _vectors(self) -> dict[str, list[float]]:
        names = [each for each in NAMED.vectors if self._random.random() < 0.6]
        return {each.name: [float(self._random.randint(-8, 8)) / 4 for _ in range(each.dim)] for each in names}


async def found(member: Member, name: str, wanted: int | None, at_least: Seq) -> ShardsFound:
    """Return what a replica that has applied `at_least` finds; it may just have joined."""
    call = ShardsSearch(
        shards=(SHARD,),
        queries=np.array(QUERIES[name], dtype=np.float32),
        groups=(QueryGroup(k=9, filter=None if wanted is None else In(("n",), (wanted,))),),
        accuracy=Exact(),
        with_vectors=True,
        vector=name,
        min_seqs={SHARD: at_least},
    )
    async with asyncio.timeout(20.0):
        while True:
            answer = await member.host.search_shards(call, 10.0)
            if not answer.failed:
                return answer
            (error,) = answer.failed.values()
            assert isinstance(error, Unavailable), error
            await asyncio.sleep(0.01)


async def agree(points: NamedPoints, members: list[Member], at_least: Seq) -> None:
    """Hits, scores and packed rows are the same bits at all replicas, and the hits those of brute force."""
    for name, queries in QUERIES.items():
        for wanted in (None, 1):
            answers = [(await found(member, name, wanted, at_least)).hits for member in members]
            expected = [points.expected(name, query, wanted) for query in queries]
            assert sum(map(len, expected)) > 5
            for hits in answers:
                assert hits.vectors is not None
                assert answers[0].vectors is not None
                assert hits.ids.tolist() == [each for one in expected for each in one]
                assert hits.scores.tobytes() == answers[0].scores.tobytes()
                assert hits.vectors.tobytes() == answers[0].vectors.tobytes()


@pytest.mark.parametrize("by_snapshot", [False, True], ids=["log", "snapshot"])
@pytest.mark.parametrize("sealed", [False, True], ids=["growing", "sealed"])
def test_a_third_replica_finds_by_each_vector_what_the_others_find(tmp_path: Path, by_snapshot: bool, sealed: bool) -> None:
    settings = EngineSettings(growing_rows=40 if sealed else 10_000)
    if by_snapshot:
        settings = dataclasses.replace(settings, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)

    async def run() -> None:
        async with fleet(tmp_path, settings) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            await world.place(a, b, min_isr=1, spec=NAMED)
            await world.until_isr(2)
            await until(lambda: is_primary(a))
            points, snapshots = NamedPoints(world), snapshots_of(a)
            seq = await points.change(a, 12)
            assert a.replica is not None
            if sealed:
                await a.replica.optimize(20.0)
                seq = await points.change(a, 2)
            config, name = await world.config(), ReplicaId("placed-late")
            await world.put(None, dataclasses.replace(config, learners=(name,), worker_of={**config.worker_of, name: c.id}, rf=3))
            config = await world.until_isr(3)
            assert c.replica is not None
            assert bool(snapshots) == by_snapshot
            if by_snapshot and sealed:
                segments = c.folder.path / SHARD.collection / str(SHARD.number) / c.replica.id / "segments"
                assert {vector_of(each.name) for each in segments.iterdir()} == {"", *QUERIES}
            await agree(points, [a, b, c], seq)
            await agree(points, [a, b, c], await points.change(a, 4))
            await c.replica.optimize(20.0)
            await agree(points, [a, b, c], await points.change(a, 1))
            old = a.replica.id
            world.cut.add(a.id)
            await world.elect(c, without=(old,))
            await until(lambda: is_primary(c))
            await agree(points, [b, c], await points.change(c, 3))

    asyncio.run(run())
