"""Test that an append gets the time that its bytes take: where the primary sends it, and on the wire to the other
worker.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.errors import DeadlineExceeded
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Revision, Seq, ShardId, Term, WorkerId
from shoal.runtime.clock import boot_s
from shoal.runtime.interceptors import call_table
from shoal.runtime.server import GrpcServer
from shoal.shard_worker.hosting.config_swaps import ConfigSwaps
from shoal.shard_worker.logic.replication.append import Append, Diverged, LogMatches, LogSummary, NoRoom, Refused
from shoal.shard_worker.logic.replication.events import PeerAnswered, PeerSilent
from shoal.shard_worker.logic.replication.leadership import STALLED_MS, SendAppend
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.replica.replicate import Replicate
from shoal.shard_worker.rpc.peers import GrpcPeers
from shoal.shard_worker.rpc.replication_service import ReplicationServicer
from shoal.store.keys import Keys
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

SHARD = ShardId(CollectionId("c"), 0)
P, B = ReplicaId("p"), ReplicaId("b")
OTHER = WorkerId("other")
SLOWEST_LINK_BYTES_PER_S = 1_000_000
MESSAGE_BYTES = 32 * 1024 * 1024


def append_of(*bodies: bytes) -> Append:
    records = tuple(
        Record(term=Term(2), seq=Seq(seq), kind=RecordKind.UPSERT, time_ms=7, request_id=RequestId("client", seq), body=body)
        for seq, body in enumerate(bodies, 5)
    )
    return Append(
        shard=SHARD, term=Term(2), primary=P, to=B, prev_term=Term(1), prev_seq=Seq(4), records=records, commit_seq=Seq(3), behind=False
    )


class SlowLink:
    """PeerCalls over a slow link. An append arrives if its timeout is long enough for its bytes."""

    def __init__(self) -> None:
        self.granted_s: list[float] = []

    async def append(self, worker, append, timeout_s):
        self.granted_s.append(timeout_s)
        if sum(len(record.body) for record in append.records) > timeout_s * SLOWEST_LINK_BYTES_PER_S:
            raise DeadlineExceeded("the link is slow")
        return LogMatches(through=append.through)

    def is_registered(self, worker):
        return False

    async def swap(self, config, base):
        raise AssertionError(f"a swap on {base}")


@pytest.mark.parametrize("sizes", [(), (1,), (4_000_000,), (2_500_000, 2_500_000), (MESSAGE_BYTES,)])
def test_an_append_of_any_size_gets_over_the_slowest_link_and_one_without_records_is_soon_given_up(sizes):
    async def run():
        heard, link, append = asyncio.Queue(), SlowLink(), append_of(*(bytes(size) for size in sizes))
        replicate = Replicate(peers=link, feed=heard.put_nowait, read_log=None)
        replicate.perform(SendAppend(worker=OTHER, serial=1, append=append))
        assert await asyncio.wait_for(heard.get(), 20.0) == PeerAnswered(peer=B, serial=1, answer=LogMatches(through=append.through))
        replicate.perform(SendAppend(worker=OTHER, serial=2, append=append_of()))
        await asyncio.wait_for(heard.get(), 20.0)
        assert link.granted_s[-1] * 1_000 < STALLED_MS
        await replicate.close()

    asyncio.run(run())


def test_an_append_that_is_not_answered_in_its_time_makes_its_member_silent():
    async def run():
        heard = asyncio.Queue()

        async def never(worker, append, timeout_s):
            raise DeadlineExceeded("nobody answers")

        registered = [OTHER]
        peers = SimpleNamespace(append=never, is_registered=lambda worker: worker in registered)
        replicate = Replicate(peers=peers, feed=heard.put_nowait, read_log=None)
        replicate.perform(SendAppend(worker=OTHER, serial=1, append=append_of(b"x")))
        assert await asyncio.wait_for(heard.get(), 20.0) == PeerSilent(peer=B, serial=1)
        registered.clear()
        replicate.perform(SendAppend(worker=OTHER, serial=2, append=append_of(b"x")))
        assert await asyncio.wait_for(heard.get(), 20.0) == PeerSilent(peer=B, serial=2, gone=True)
        await replicate.close()

    asyncio.run(run())


class Member:
    """The replica on the other worker. It records each append and gives one answer."""

    def __init__(self, answer) -> None:
        self.answer, self.heard = answer, []

    async def append(self, append, timeout_s):
        self.heard.append((append, timeout_s))
        return self.answer


@contextlib.asynccontextmanager
async def wire_to(member: Member) -> AsyncIterator[GrpcPeers]:
    server = GrpcServer(host="127.0.0.1", port=0, message_bytes=MESSAGE_BYTES)
    servicer = ReplicationServicer(SimpleNamespace(replica=lambda shard: member), None)
    server.add(call_table(servicer.calls()))
    address = await server.start()
    swaps = ConfigSwaps(store=MemoryStore(MemoryCluster(boot_s)), keys=Keys("test"), me=WorkerId("me"))
    peers = GrpcPeers(swaps=swaps, message_bytes=MESSAGE_BYTES)
    entry = WorkerEntry(id=OTHER, address=address, incarnation="i", pid=1, node="n", zone="", registration=Revision(1))
    peers.see_map(ClusterMap(workers={OTHER: entry}))
    try:
        yield peers
    finally:
        await peers.close()
        await server.stop(0.0)


@pytest.mark.parametrize(
    "answer",
    [
        LogMatches(through=Seq(5)),
        LogMatches(through=Seq(5), no_room=NoRoom(reason="too much", limit="memory")),
        Diverged(summary=LogSummary(last_seq=Seq(4), commit_seq=Seq(3), runs=((Term(1), Seq(1)),))),
        Refused(known_term=Term(9)),
    ],
)
def test_a_large_append_and_the_time_it_is_given_reach_the_member_and_its_answer_comes_back(answer):
    async def run():
        member, append = Member(answer), append_of(bytes(8_000_000))
        async with wire_to(member) as peers:
            assert await peers.append(OTHER, append, 50.0) == answer
        ((heard, timeout_s),) = member.heard
        assert heard == append
        assert 20.0 < timeout_s <= 50.0

    asyncio.run(run())
