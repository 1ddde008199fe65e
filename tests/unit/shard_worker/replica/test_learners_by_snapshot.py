"""Test how learners get their data, on several workers in one process: by a snapshot where the log is long, by the log
where they lack little of it, and what there is to see of it meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from shoal.core.errors import ResourceExhausted
from shoal.core.ids import ReplicaId
from shoal.core.shard_config import Move
from shoal.shard_worker.hosting import roomless_snapshots
from shoal.shard_worker.replica.engine import EngineSettings
from shoal.shard_worker.resources.memory import WorkerMemory
from shoal.shard_worker.snapshots import source as snapshot_source
from shoal.shard_worker.snapshots.pace import SendingPace
from shoal.shard_worker.storage.space import DiskSpace
from tests.support.worker.fleet import SHARD, Fleet, Member, fleet, until
from tests.unit.shard_worker.replica.test_texts_of_learners import is_primary, snapshots_of

SETTINGS = EngineSettings(growing_rows=50, replay_bytes=2_000)
LATE = ReplicaId("late")


async def led(world: Fleet, *names: str) -> list[Member]:
    """Place the shard on these members and write to it 200 points, more than may be replayed."""
    members = [await world.add(name) for name in names]
    await world.place(*members, min_isr=1)
    await world.until_isr(len(names))
    await until(lambda: is_primary(members[0]))
    for number in range(20):
        await world.upsert(members[0], range(number * 10, number * 10 + 10), float(number))
    return members


async def join(world: Fleet, member: Member, *, move: bool = False) -> None:
    config = await world.config()
    moves = Move(source=config.primary, target=LATE) if move else None
    worker_of = {**config.worker_of, LATE: member.id}
    await world.put(None, dataclasses.replace(config, learners=(LATE,), worker_of=worker_of, rf=config.rf + 1, move=moves))


def test_a_new_learner_takes_a_snapshot_although_the_log_holds_everything(tmp_path: Path) -> None:
    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            (a,) = await led(world, "a")
            c, taken = await world.add("c"), snapshots_of(a)
            assert a.replica is not None
            assert a.replica._engine.log_base == (0, 0)
            await join(world, c)
            await world.until_isr(2)
            ack = await world.upsert(a, [1_000], 5.0)
            assert taken == [a.replica.id]
            assert await world.content(c, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_a_former_member_that_lacks_less_than_it_has_gets_the_log(tmp_path: Path) -> None:
    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            a, b = await led(world, "a", "b")
            taken = snapshots_of(a)
            world.cut.add(b.id)
            await world.until_isr(1)
            for number in range(15):
                ack = await world.upsert(a, range(number * 10, number * 10 + 10), 99.0)
            world.cut.clear()
            await world.until_isr(2)
            assert await world.content(b, ack.seq) == await world.content(a)
            assert taken == []

    asyncio.run(run())


def test_what_is_written_during_the_snapshot_comes_by_the_log_and_there_is_no_second_snapshot(tmp_path: Path) -> None:
    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            (a,) = await led(world, "a")
            c, taken = await world.add("c"), snapshots_of(a)
            end, begun, go_on = a.source.end, asyncio.Event(), asyncio.Event()

            async def held_up(snapshot: str) -> None:
                begun.set()
                await go_on.wait()
                await end(snapshot)

            a.source.end = held_up  # type: ignore[method-assign]
            await join(world, c)
            await begun.wait()
            for number in range(60):
                ack = await world.upsert(a, range(number * 10, number * 10 + 10), 99.0)
            go_on.set()
            await world.until_isr(2)
            assert len(taken) == 1
            assert await world.content(c, ack.seq) == await world.content(a)

    asyncio.run(run())


def test_without_room_for_a_snapshot_at_the_primary_the_log_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            (a,) = await led(world, "a")
            c = await world.add("c")
            monkeypatch.setattr(snapshot_source, "disk_space", lambda path: DiskSpace(used_bytes=100, free_bytes=0))
            await join(world, c)
            await world.until_isr(2)
            assert await world.content(c) == await world.content(a)

    asyncio.run(run())


def test_a_worker_without_memory_for_a_replica_fetches_nothing_tells_so_and_goes_on_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roomless_snapshots, "FIRST_REST_S", 0.05)
    refused: list[int] = []
    real = WorkerMemory.refusal_of_filling

    def refusal(self: WorkerMemory, shard: object, need_bytes: int) -> str | None:
        refused.append(need_bytes)
        return "no memory for another replica" if len(refused) < 4 else real(self, SHARD, need_bytes)

    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            (a,) = await led(world, "a")
            monkeypatch.setattr(WorkerMemory, "refusal_of_filling", refusal)
            c = await world.add("c")
            await join(world, c)
            await until(lambda: "no memory for another replica" in c.host.unmade.get(SHARD, ""))
            assert "no room for a snapshot" in (await c.host.status(1.0)).failed[str(SHARD)]
            await world.until_isr(2)
            assert min(refused) > 0
            assert await world.content(c) == await world.content(a)
            assert (await c.host.status(1.0)).failed == {}

    asyncio.run(run())
    assert not list(tmp_path.glob("*/*/*/.get-*"))


def test_a_fetch_for_a_move_says_so_and_is_seen_in_the_status_of_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = SendingPace.wait

    async def held_up(self: SendingPace, size_bytes: int) -> None:
        begun.set()
        await go_on.wait()
        await real(self, size_bytes)

    monkeypatch.setattr(SendingPace, "wait", held_up)

    async def run() -> None:
        async with fleet(tmp_path, SETTINGS) as world:
            (a,) = await led(world, "a")
            c = await world.add("c")
            await join(world, c, move=True)
            await begun.wait()
            told = (await c.host.status(1.0)).replicas[str(SHARD)].snapshot
            assert told is not None
            assert told.total_bytes > told.done_bytes == 0
            assert [pin.move for pin in a.source._pins.values()] == [True]
            go_on.set()
            await world.until_isr(2)
            assert (await c.host.status(1.0)).replicas[str(SHARD)].snapshot is None

    asyncio.run(run())


def test_too_many_snapshots_at_once_are_no_failure() -> None:
    told: dict = {}
    roomless = roomless_snapshots.RoomlessSnapshots(told)
    assert roomless.refused(SHARD, ResourceExhausted("4 snapshots are being fetched")) == roomless_snapshots.FIRST_REST_S
    assert told == {}
