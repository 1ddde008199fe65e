"""Test updates of points on several workers: replicas stay equal bit for bit, and no retry is applied again."""

import asyncio
import dataclasses

import numpy as np

from shoal.core.filter import Exists, In
from shoal.core.ids import ReplicaId, RequestId, Seq
from shoal.core.point_change import DeletePayload, ReplacePayload, SetPayload, UpdateVectors
from shoal.core.points import id_array
from shoal.core.shard_calls import ReadTerms, ShardScroll, ShardUpdate
from shoal.shard_worker.replica.engine import EngineSettings
from tests.support.worker.fleet import DIM, SHARD, fleet, until


def serves(member):
    return member.replica is not None and member.replica.role == "primary"


async def update(member, number, ids, change, filter=None, client="updater"):
    call = ShardUpdate(shard=SHARD, request_id=RequestId(client, number), ids=id_array(ids), change=change, filter=filter)
    return await member.host.write(call, 10.0)


async def bits(world, member, at_least=Seq(0)):
    """Return ids, vectors, payloads and rows of a replica that has applied `at_least`, bit for bit."""
    call = ShardScroll(shard=SHARD, after=None, limit=10_000, with_payload=True, with_vectors=True, terms=ReadTerms(min_seq=at_least))
    page = await world._when_ready(lambda: member.host.scroll(call, 10.0))
    live = member.replica._engine._store.live_rows()
    return page.ids.tolist(), page.vectors.tobytes(), page.payloads, live.rows.tolist(), live.ids.tolist()


async def write_much(world, member, rounds):
    for number in range(rounds):
        await world.upsert(member, range(number * 5, number * 5 + 8), float(number))
        ids = list(range(number * 5 + 12))
        await update(member, 5 * number, ids[::2], SetPayload(b'{"round":%d,"even":true}' % number))
        await update(member, 5 * number + 1, ids, SetPayload(b'{"of":{"x":1.50,"y":"\xc3\xa9"}}'), In(("round",), (number,)))
        await update(member, 5 * number + 2, ids[-9:], UpdateVectors(np.full((9, DIM), -number, dtype=np.float32)), Exists(("even",)))
        await update(member, 5 * number + 3, ids[::3], DeletePayload((("of", "x"), ("even",))))
        ack = await update(member, 5 * number + 4, ids[::7], ReplacePayload(b'{"whole": %d}' % number))
    return ack


def test_replicas_are_equal_bit_for_bit_through_failover_and_retry(tmp_path):
    """Client one sets a to 1 and loses the answer; client two sets it to 2; the retry of one at the new primary leaves
    2."""

    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            await world.place(a, b, c, min_isr=2)
            await world.until_isr(3)
            await until(lambda: serves(a))
            await write_much(world, a, 4)
            await world.upsert(a, [1, 2], 1.0)
            first = await update(a, 1, [1, 2], SetPayload(b'{"a":1}'), client="one")
            await update(a, 1, [1], SetPayload(b'{"a":2}'), client="two")
            old = a.replica.id
            world.cut.add(a.id)
            await world.elect(b, without=(old,))
            await until(lambda: serves(b))
            assert await update(b, 1, [1, 2], SetPayload(b'{"a":1}'), client="one") == first
            ack = await update(b, 2, [1], SetPayload(b'{"b":3}'), In(("a",), (2,)), client="one")
            assert ack.affected == 1
            world.cut.clear()
            await world.until_isr(3)
            one = await bits(world, b, ack.seq)
            assert one[2][one[0].index(1)] == b'{"a":2,"b":3}'
            assert await bits(world, a, ack.seq) == await bits(world, c, ack.seq) == one

    asyncio.run(run())


def test_a_member_that_took_a_snapshot_applies_the_updates_after_it_as_the_others_do(tmp_path):
    async def run():
        settings = EngineSettings(growing_rows=50, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)
        async with fleet(tmp_path, settings) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            await world.place(a, b, min_isr=1)
            await world.until_isr(2)
            await until(lambda: serves(a))
            await write_much(world, a, 6)
            config = await world.config()
            name = ReplicaId("placed-late")
            worker_of = {**config.worker_of, name: c.id}
            await world.put(None, dataclasses.replace(config, learners=(name,), worker_of=worker_of, rf=3))
            await world.until_isr(3)
            assert c.replica.id != name, "it has taken a snapshot"
            await until(lambda: c.replica.role == "backup")
            ack = await update(a, 1_000, range(40), SetPayload(b'{"late":true}'), Exists(("round",)))
            assert ack.affected > 5
            assert await bits(world, a, ack.seq) == await bits(world, b, ack.seq) == await bits(world, c, ack.seq)

    asyncio.run(run())
