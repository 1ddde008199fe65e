"""Test the replicas of one shard on several workers in one process. Logs and stores are real, and the calls between
workers can be cut.
"""

import asyncio
import dataclasses
import threading

import numpy as np
import pytest

from shoal.core.errors import DeadlineExceeded, Unavailable
from shoal.core.filter import HasId
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Seq, ShardId, Term
from shoal.core.points import PointColumns, id_array
from shoal.core.shard_calls import Consistency, ReadTerms, ShardDeleteMatching, ShardScroll, ShardUpsert
from shoal.shard_worker.logic.memory_ledger import ReplicaCost, empty_growing
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.replica.reading import ReplicaReading
from shoal.shard_worker.snapshots import fetch as snapshot_fetch
from shoal.shard_worker.storage.folders.snapshot_manifest import SEGMENTS_FOLDER
from tests.support.worker.fleet import DIM, SHARD, Fleet, FleetPeers, Member, fleet, until

THE_FIRST_TWO = HasId(ids=(1, 2))


async def trio(world: Fleet, *, min_isr: int = 2) -> tuple[Member, Member, Member]:
    members = [await world.add(name) for name in "abc"]
    await world.place(*members, min_isr=min_isr)
    await world.until_isr(3)
    await until(lambda: members[0].replica is not None and members[0].replica.role == "primary")
    return members[0], members[1], members[2]


def serves(member: Member) -> bool:
    return member.replica is not None and member.replica.role == "primary"


async def candidate_that_does_not_serve(world: Fleet) -> Member:
    """Return the member of a candidate. It was elected, but it cannot commit its no-op while the other workers are cut
    off. Points 1 and 2 were acknowledged before.
    """
    a, b, c = await trio(world)
    await world.upsert(a, [1, 2], 1.0)
    old = a.replica.id
    world.cut |= {a.id, c.id}
    await world.elect(b, without=(old,))
    await until(lambda: b.replica.role == "starting")
    return b


def test_what_is_acknowledged_is_on_every_member_of_the_isr(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = await trio(world)
            await world.upsert(a, range(20), 1.0)
            await world.upsert(a, range(5), 2.0)
            ack = await world.delete(a, [19])
            expected = {each: 2.0 if each < 5 else 1.0 for each in range(19)}
            for member in (a, b, c):
                assert await world.content(member, ack.seq) == expected

    asyncio.run(run())


def test_a_member_that_is_cut_off_leaves_the_isr_and_comes_back_with_all_it_missed(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = await trio(world)
            world.cut.add(c.id)
            await world.upsert(a, range(10), 1.0)
            config = await world.until_isr(2)
            assert c.id not in {config.worker_of[each] for each in config.isr}
            ack = await world.upsert(a, range(10, 20), 3.0)
            world.cut.clear()
            await world.until_isr(3)
            assert await world.content(c, ack.seq) == await world.content(b, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_below_min_isr_writes_are_refused_and_nothing_is_acknowledged(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = await trio(world, min_isr=3)
            ack = await world.upsert(a, [1], 1.0)
            world.cut.add(c.id)
            with pytest.raises(DeadlineExceeded):
                await world.upsert(a, [1], 2.0, timeout_s=1.0)
            with pytest.raises(Unavailable, match="cannot leave the isr"):
                await world.upsert_until_refused(a, [1], 3.0)
            assert await world.content(b, ack.seq) == {1: 1.0}
            assert len((await world.config()).isr) == 3

    asyncio.run(run())


def test_after_a_failover_the_new_primary_has_everything_and_knows_what_was_written(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = await trio(world)
            await world.upsert(a, range(10), 1.0, request_id=RequestId("other", 7))
            old = a.replica.id
            world.cut.add(a.id)
            await world.elect(b, without=(old,))
            await until(lambda: serves(b))
            again = await world.upsert(b, range(10), 9.0, request_id=RequestId("other", 7))
            assert await world.content(b) == dict.fromkeys(range(10), 1.0)
            ack = await world.upsert(b, [3], 4.0)
            assert again.seq < ack.seq
            world.cut.clear()
            await world.until_isr(3)
            assert await world.content(a, ack.seq) == await world.content(c, ack.seq) == {**dict.fromkeys(range(10), 1.0), 3: 4.0}

    asyncio.run(run())


def test_what_an_old_primary_alone_had_is_cut_when_it_comes_back(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = await trio(world)
            await world.upsert(a, [1], 1.0)
            old = a.replica.id
            world.cut.add(a.id)
            lonely = asyncio.create_task(world.upsert(a, [2], 2.0))
            await until(lambda: a.replica.log_end[1] > b.replica.log_end[1])
            await world.elect(b, without=(old,))
            with pytest.raises(Unavailable):
                await lonely
            await until(lambda: serves(b))
            ack = await world.upsert(b, [3], 3.0)
            world.cut.clear()
            await world.until_isr(3)
            assert await world.content(a, ack.seq) == await world.content(c, ack.seq) == {1: 1.0, 3: 3.0}

    asyncio.run(run())


def test_a_new_member_takes_a_snapshot_when_the_log_begins_too_late(tmp_path):
    async def run():
        settings = EngineSettings(growing_rows=50, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)
        async with fleet(tmp_path, settings) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            await world.place(a, b, min_isr=1)
            await world.until_isr(2)
            await until(lambda: serves(a))
            for number in range(40):
                await world.upsert(a, range(number * 5, number * 5 + 8), float(number))
            await world.delete(a, range(0, 200, 7))
            config = await world.config()
            name = ReplicaId("placed-late")
            worker_of = {**config.worker_of, name: c.id}
            await world.put(None, dataclasses.replace(config, learners=(name,), worker_of=worker_of, rf=3))
            await world.until_isr(3)
            ack = await world.upsert(a, [1_000], 5.0)
            assert c.replica.id != name
            await until(lambda: c.replica.role == "backup")
            assert await world.content(c, ack.seq) == await world.content(a)
            assert await world.content(b, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_a_primary_that_waits_for_a_member_gives_it_the_snapshot_it_needs(tmp_path):
    """A restarted primary has fewer members than min_isr, so it cannot commit its no-op and serves nothing. The learner
    that could join the isr first needs a snapshot.
    """

    async def run():
        settings = EngineSettings(growing_rows=50, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)
        async with fleet(tmp_path, settings) as world:
            a, c = [await world.add(name) for name in "ac"]
            await world.place(a, min_isr=1)
            await until(lambda: serves(a))
            for number in range(40):
                await world.upsert(a, range(number * 5, number * 5 + 8), float(number))
            config = await world.config()
            name = ReplicaId("placed-late")
            changed = {"learners": (name,), "worker_of": {**config.worker_of, name: c.id}, "rf": 3, "min_isr": 2}
            term = Term(config.term + 1)
            await world.put(None, dataclasses.replace(config, term=term, **changed))
            await world.until_isr(2)
            await until(lambda: serves(a))
            ack = await world.upsert(a, [1_000], 5.0)
            assert await world.content(c, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_what_an_old_primary_promised_its_callers_is_given_back(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, _ = await trio(world)
            old = a.replica.id
            world.cut.add(a.id)
            with pytest.raises(DeadlineExceeded):
                await world.upsert(a, range(100), 2.0, timeout_s=0.2)
            await world.elect(b, without=(old,))
            world.cut.clear()
            await world.until_isr(3)
            await until(lambda: a.replica.role == "backup")
            assert a.host.memory.promised_bytes == 0

    asyncio.run(run())


def test_a_primary_read_that_began_before_the_primary_served_is_refused_though_it_serves_when_the_read_ends(tmp_path, monkeypatch):
    """Such a read may miss points that an earlier primary acknowledged and the new one has not yet applied. Found by
    seed 101370 of the simulation.
    """

    async def run():
        async with fleet(tmp_path) as world:
            b = await candidate_that_does_not_serve(world)
            began, serves_now = threading.Event(), threading.Event()
            scroll = ReplicaReading.scroll

            def scroll_slowly(reading, call, turn):
                found = scroll(reading, call, turn)
                began.set()
                assert serves_now.wait(20.0)
                return found

            monkeypatch.setattr(ReplicaReading, "scroll", scroll_slowly)
            terms = ReadTerms(consistency=Consistency.PRIMARY)
            call = ShardScroll(shard=SHARD, after=None, limit=10, filter=None, with_payload=False, with_vectors=True, terms=terms)
            read = asyncio.create_task(b.host.scroll(call, 20.0))
            await until(lambda: began.is_set() or read.done())
            world.cut.clear()
            await until(lambda: serves(b))
            serves_now.set()
            with pytest.raises(Unavailable):
                await read
            assert (await b.host.scroll(call, 20.0)).ids.tolist() == [1, 2]

    asyncio.run(run())


def fill_disk(member: Member, full: bool) -> None:
    member.assignments.tell_space("disk full" if full else None)


def fill_memory(member: Member, full: bool) -> None:
    other = ShardId(CollectionId("other"), 0)
    if full:
        member.host.memory.open(other, ReplicaCost(held=1, growing=empty_growing(DIM, 1)))
        member.host.memory.update(other, ReplicaCost(held=member.host.memory.budget_bytes, growing=empty_growing(DIM, 1)))
    else:
        member.host.memory.close(other)


@pytest.mark.parametrize(("fill", "limit"), [(fill_disk, "disk"), (fill_memory, "memory")])
def test_a_learner_whose_worker_is_full_follows_without_joining_until_it_has_room_and_upserts_go_on(tmp_path, fill, limit):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, c = [await world.add(name) for name in "abc"]
            world.cut.add(c.id)
            await world.place(a, b, c, min_isr=2)
            await world.until_isr(2)
            await until(lambda: serves(a) and c.replica is not None)
            fill(c, True)
            world.cut.clear()
            leadership = a.replica._writer.machine.role.leadership
            await until(lambda: c.replica.id in leadership.peers)
            ack = await world.upsert(a, range(10), 1.0)
            await until(lambda: leadership.peers[c.replica.id].match >= ack.seq)
            ack = await world.upsert(a, range(5), 2.0)
            await until(lambda: leadership.peers[c.replica.id].match >= ack.seq)
            no_room = leadership.peers[c.replica.id].no_room
            assert no_room is not None
            assert no_room.limit == limit
            assert c.replica.id in (await world.config()).learners
            fill(c, False)
            await world.until_isr(3)

    asyncio.run(run())


def test_a_record_that_a_slow_link_does_not_carry_in_the_time_of_a_small_one_is_committed(tmp_path, monkeypatch):
    send = FleetPeers.append

    async def over_a_slow_link(self, worker, append, timeout_s):
        if sum(len(record.body) for record in append.records) > timeout_s * 1_000_000:
            raise DeadlineExceeded("the link is slow")
        return await send(self, worker, append, timeout_s)

    monkeypatch.setattr(FleetPeers, "append", over_a_slow_link)

    async def run():
        async with fleet(tmp_path) as world:
            a, b = [await world.add(name) for name in "ab"]
            await world.place(a, b, min_isr=2)
            await world.until_isr(2)
            await until(lambda: serves(a))
            large = PointColumns(
                ids=id_array([1]), vectors=np.ones((1, DIM), dtype=np.float32), payloads=(b'{"text":"%s"}' % (b"x" * 4_000_000),)
            )
            call = ShardUpsert(shard=SHARD, request_id=RequestId("other", 1), points=large)
            ack = await a.host.write(call, 20.0)
            assert await world.content(b, ack.seq) == {1: 1.0}

    asyncio.run(run())


def test_a_learner_that_was_restarted_in_the_middle_of_a_snapshot_fetches_no_piece_of_an_index_file_again(tmp_path, monkeypatch):
    """lives: for each life of the learner, the pieces of index files that it fetched. The first life gets
    two pieces.
    """
    lives: list[list[tuple[str, int]]] = [[]]
    stopped = asyncio.Event()
    read = FleetPeers.read_snapshot

    async def read_and_note(self, worker, snapshot, name, offset, max_bytes, timeout_s):
        if name.startswith(SEGMENTS_FOLDER):
            if len(lives) == 1 and len(lives[0]) == 2:
                stopped.set()
                raise Unavailable("stopped")
            lives[-1].append((name, offset))
        return await read(self, worker, snapshot, name, offset, max_bytes, timeout_s)

    monkeypatch.setattr(snapshot_fetch, "PIECE_BYTES", 1024)
    monkeypatch.setattr(FleetPeers, "read_snapshot", read_and_note)

    async def run():
        settings = EngineSettings(growing_rows=50, log_file_bytes=2_000, checkpoint_bytes=1, retained_bytes=1)
        async with fleet(tmp_path, settings) as world:
            a, c = [await world.add(name) for name in "ac"]
            await world.place(a, min_isr=1)
            await until(lambda: serves(a))
            for number in range(40):
                await world.upsert(a, range(number * 5, number * 5 + 8), float(number))
            await a.replica.optimize(20.0)
            config = await world.config()
            worker_of = {**config.worker_of, ReplicaId("late"): c.id}
            await world.put(None, dataclasses.replace(config, learners=(ReplicaId("late"),), worker_of=worker_of, rf=2))
            await asyncio.wait_for(stopped.wait(), 20.0)
            await world.stop(c)
            lives.append([])
            c = await world.add("c")
            await world.until_isr(2)
            assert lives[1]
            assert set(lives[0]).isdisjoint(lives[1])
            ack = await world.upsert(a, [1_000], 5.0)
            assert await world.content(c, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_a_read_of_what_was_given_up_waits_at_backups_only(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, _ = await trio(world)
            ack = await world.upsert(a, [1], 1.0)
            terms = ReadTerms(consistency=Consistency.SESSION, min_seq=Seq(ack.seq + 10))
            call = ShardScroll(shard=SHARD, after=None, limit=10, filter=None, with_payload=False, with_vectors=True, terms=terms)
            assert (await a.host.scroll(call, 20.0)).ids.tolist() == [1]
            with pytest.raises(Unavailable, match=f"the read needs {terms.min_seq}"):
                await b.host.scroll(call, 20.0)
            a.sure_of_lease = False
            with pytest.raises(DeadlineExceeded):
                await a.host.scroll(call, 0.2)

    asyncio.run(run())


def test_a_delete_by_filter_is_refused_by_a_primary_that_does_not_serve_yet(tmp_path):
    """A search for the points to delete could miss points that were acknowledged before."""

    async def run():
        async with fleet(tmp_path) as world:
            b = await candidate_that_does_not_serve(world)
            call = ShardDeleteMatching(shard=SHARD, request_id=RequestId("deleter", 1), filter=THE_FIRST_TWO)
            with pytest.raises(Unavailable, match="not served by this replica") as caught:
                await b.host.write(call, 10.0)
            assert caught.value.details.applied == {str(SHARD): "no"}
            world.cut.clear()
            await until(lambda: serves(b))
            ack = await b.host.write(call, 10.0)
            assert (ack.affected, await world.content(b, ack.seq)) == (2, {})

    asyncio.run(run())


def test_a_delete_by_filter_is_refused_when_another_term_begins_while_it_looks_for_points(tmp_path, monkeypatch):
    async def run():
        async with fleet(tmp_path) as world:
            a, _, _ = await trio(world)
            await world.upsert(a, [1, 2], 1.0)
            found, goes_on = threading.Event(), threading.Event()
            matching = ReplicaReading.matching

            def match_slowly(*asked, **options):
                matched = matching(*asked, **options)
                found.set()
                assert goes_on.wait(20.0)
                return matched

            monkeypatch.setattr(ReplicaReading, "matching", match_slowly)
            call = ShardDeleteMatching(shard=SHARD, request_id=RequestId("deleter", 1), filter=THE_FIRST_TWO)
            deleting = asyncio.create_task(a.host.write(call, 20.0))
            await until(lambda: found.is_set() or deleting.done())
            await world.elect(a, without=())
            term = (await world.config()).term
            await until(lambda: serves(a) and a.replica._writer.machine.role.config.term == term)
            goes_on.set()
            with pytest.raises(Unavailable, match="another term"):
                await deleting
            assert set(await world.content(a)) == {1, 2}

    asyncio.run(run())


def test_an_candidate_that_had_no_memory_while_it_followed_takes_upserts_when_it_has(tmp_path):
    async def run():
        async with fleet(tmp_path) as world:
            a, b, _ = await trio(world)
            fill_memory(b, True)
            leadership = a.replica._writer.machine.role.leadership
            await until(lambda: leadership.peers[b.replica.id].no_room is not None)
            old = a.replica.id
            world.cut.add(a.id)
            await world.elect(b, without=(old,))
            await until(lambda: serves(b))
            fill_memory(b, False)
            ack = await world.upsert(b, [1], 1.0)
            assert await world.content(b, ack.seq) == {1: 1.0}

    asyncio.run(run())
