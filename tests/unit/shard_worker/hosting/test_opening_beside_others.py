"""Test that a replica that takes long to open holds up nothing else on its worker: other shards commit and answer
meanwhile. A replica that fails to open leaves no file open.
"""

import asyncio
import dataclasses
import threading

import pytest

from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, ShardId
from shoal.core.shard_config import ShardState
from shoal.shard_worker.hosting import folders as replica_folders
from shoal.shard_worker.replica.engine import Engine
from shoal.shard_worker.rpc.replication_service import ReplicationServicer
from shoal.shard_worker.storage.failure import StorageFailed
from shoal.shard_worker.storage.folders.worker_folder import WorkerFolder
from shoal.store.codecs import encode_collection, encode_shard
from shoal.store.interface import Committed, Put, Transaction
from shoal.v1 import replication_pb2
from shoal.wire.shard_calls import shard_to_message
from tests.support.worker.fleet import DIM, KEYS, SHARD, Fleet, Member, fleet, until
from tests.twins.store.client import MemoryStore

SLOW = ShardId(CollectionId("slow"), 0)


async def place_slow(world: Fleet, member: Member) -> None:
    """Place a second shard with one replica, on this worker."""
    replica = ReplicaId("slow-replica")
    placed = dataclasses.replace(
        await world.config(),
        shard=SLOW,
        primary=replica,
        primary_reg=member.membership.registration,
        isr=(replica,),
        learners=(),
        worker_of={replica: member.id},
        min_isr=1,
        rf=1,
        state=ShardState.CREATING,
    )
    collection = Collection(
        id=SLOW.collection, spec=CollectionSpec(name="slow", dim=DIM), state=CollectionState.ACTIVE, request_id="slow-q"
    )
    puts = (
        Put(key=KEYS.collection(SLOW.collection), value=encode_collection(collection)),
        Put(key=KEYS.shard(SLOW), value=encode_shard(placed)),
    )
    assert isinstance(await MemoryStore(world.cluster).commit(Transaction(then=puts), 1.0), Committed)


class Gate:
    """Holds up one step of opening the slow shard until the test sets `opened`. free: for each wait, whether `opened`
    was set before its timeout.
    """

    def __init__(self) -> None:
        self.began, self.opened = threading.Event(), threading.Event()
        self.free: list[bool] = []

    def before(self, real, shard_of):
        def step(*arguments, **named):
            if shard_of(arguments) == SLOW:
                self.began.set()
                self.free.append(self.opened.wait(20.0))
            return real(*arguments, **named)

        return step


STEPS = {
    "finding its folder": (WorkerFolder, "open_replica", lambda arguments: arguments[1].shard),
    "pricing it": (replica_folders, "_cost_of", lambda arguments: arguments[0].ref.shard),
    "verifying and loading it": (Engine, "open", lambda arguments: arguments[0].ref.shard),
    "reading what is not applied": (Engine, "beginning", lambda arguments: arguments[0]._folder.ref.shard),
}


@pytest.mark.parametrize("step", STEPS)
def test_while_a_replica_opens_slowly_its_worker_takes_appends_and_answers_for_other_shards(tmp_path, monkeypatch, step):
    gate, (room, name, shard_of) = Gate(), STEPS[step]

    async def run():
        async with fleet(tmp_path) as world:
            a, b = await world.add("a"), await world.add("b")
            await world.place(a, b, min_isr=2)
            await world.until_isr(2)
            await place_slow(world, b)
            await until(lambda: SLOW in b.host.open and b.host.open[SLOW].role == "primary")
            await world.stop(b)
            held_up = gate.before(getattr(room, name), shard_of)
            monkeypatch.setattr(room, name, staticmethod(held_up) if name == "open" else held_up)
            b = await world.add("b")
            try:
                await until(lambda: gate.began.is_set() and b.replica is not None and b.replica.role == "backup")
                ack = await world.upsert(a, range(10), 1.0)
                assert await world.content(b, ack.seq) == dict.fromkeys(range(10), 1.0)
                assert str(SHARD) in (await b.host.status(1.0)).replicas
                asked = replication_pb2.LogEndsRequest(shards=[shard_to_message(SHARD), shard_to_message(SLOW)])
                ends = (await ReplicationServicer(b.host, b.source).LogEnds(asked, None)).ends
                assert [(end.replica, end.seq) for end in ends] == [(b.replica.id, ack.seq)]
                assert SLOW not in b.host.open
            finally:
                gate.opened.set()
            await until(lambda: SLOW in b.host.open)
            assert gate.free == [True]

    asyncio.run(run())


def test_a_replica_that_cannot_begin_leaves_no_files_open(tmp_path, monkeypatch):
    async def run():
        async with fleet(tmp_path) as world:
            a = await world.add("a")
            await world.place(a, min_isr=1)
            await until(lambda: a.replica is not None and a.replica.role == "primary")
            replica, spec = a.replica.id, a.observer.map.collections[SHARD.collection].spec
            await world.stop(a)
            closed = []
            real = Engine.close
            monkeypatch.setattr(Engine, "close", lambda engine: (closed.append(engine), real(engine)))

            def refuse(engine):
                raise StorageFailed("cannot be read")

            monkeypatch.setattr(Engine, "beginning", refuse)
            with pytest.raises(StorageFailed):
                await a.folders.open(SHARD, replica, spec)
            assert len(closed) == 1

    asyncio.run(run())
