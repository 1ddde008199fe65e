"""Test the writer between its callers and the state machine."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from shoal.core.errors import DeadlineExceeded
from shoal.core.ids import CollectionId, ReplicaId, RequestId, Seq, ShardId, Term
from shoal.shard_worker.logic.replication.append import Append
from shoal.shard_worker.logic.replication.events import AppendAsked, AppendRecords, ApplyRecords, CallerLeft, WriteAsked
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.logic.replication.work_pieces import MOST_APPLIED
from shoal.shard_worker.replica.writer import Writer
from shoal.shard_worker.resources.open_stores import OpenStores
from shoal.shard_worker.resources.writer_pool import WriterPool

SHARD = ShardId(CollectionId("c"), 0)
REQUEST = RequestId("client", 1)


def a_writer(heard: list[object]) -> Writer:
    """Return a writer whose machine adds each event to `heard` and has no effects."""

    def handle(event: object) -> list[object]:
        heard.append(event)
        return []

    machine = SimpleNamespace(shard=SHARD, role_name="primary", applied_seq=0, wants_ticks=False, kept_for_others=(1, 1), handle=handle)
    engine = SimpleNamespace(log_base=(0, 0), keep_log=lambda *kept: None, wake=lambda: False)
    return Writer(
        machine=machine,
        engine=engine,
        thread=WriterPool(1).executor(),
        files=OpenStores(most=1, idle_s=60.0).use(),
        progressed=lambda: None,
        wants_ticks=lambda: None,
        outward=lambda effect: None,
        wall_ms=lambda: 7,
    )


def write(writer: Writer, timeout_s: float):
    return writer.write(request_id=REQUEST, kind=RecordKind.UPSERT, body=b"x", timeout_s=timeout_s)


ASKED = WriteAsked(ticket=1, request_id=REQUEST, kind=RecordKind.UPSERT, body=b"x", now_ms=7)


def test_a_write_whose_time_is_over_is_let_go_of_by_the_machine():
    async def run():
        heard: list[object] = []
        writer = a_writer(heard)
        with pytest.raises(DeadlineExceeded, match=r"not acknowledged within 0\.0 s; it may be applied"):
            await write(writer, 0.01)
        assert heard == [ASKED, CallerLeft(ticket=1)]
        assert writer.waiting == 0
        await writer.close()

    asyncio.run(run())


def test_a_write_whose_caller_is_cancelled_is_let_go_of_by_the_machine():
    async def run():
        heard: list[object] = []
        writer = a_writer(heard)
        caller = asyncio.create_task(write(writer, 60.0))
        await asyncio.sleep(0)
        assert writer.waiting == 1
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert heard == [ASKED, CallerLeft(ticket=1)]
        assert writer.waiting == 0
        await writer.close()

    asyncio.run(run())


def test_an_append_whose_time_is_over_is_refused():
    async def run():
        heard: list[object] = []
        writer = a_writer(heard)
        append = Append(
            shard=SHARD,
            term=Term(1),
            primary=ReplicaId("p"),
            to=ReplicaId("r"),
            prev_term=Term(0),
            prev_seq=Seq(0),
            records=(),
            commit_seq=Seq(0),
        )
        with pytest.raises(DeadlineExceeded, match="0 records were not durable in time"):
            await writer.append(append, 0.01)
        assert heard == [AppendAsked(ticket=1, append=append)]
        await writer.close()

    asyncio.run(run())


def test_what_is_appended_does_not_wait_until_many_records_are_applied():
    async def run():
        many = records(1, 3 * MOST_APPLIED)
        effects = {"catch up": [ApplyRecords(records=many)], "append": [AppendRecords(records=records(5_000, 1))]}
        writer = a_writer([])
        writer.machine.handle = lambda event: effects.get(event, [])
        done, applying, go_on = list[tuple[str, int]](), threading.Event(), threading.Event()
        loop, all_done = asyncio.get_running_loop(), asyncio.Event()

        def apply(group):
            applying.set()
            assert go_on.wait(20.0)
            done.append(("applied", len(group)))
            if sum(count for what, count in done if what == "applied") == len(many):
                loop.call_soon_threadsafe(all_done.set)
            return (0,) * len(group)

        vars(writer._engine).update(apply=apply, append=lambda group: done.append(("appended", len(group))), checkpoint_if_due=lambda: None)
        writer.feed("catch up")
        await asyncio.to_thread(applying.wait, 20.0)
        writer.feed("append")
        go_on.set()
        async with asyncio.timeout(20.0):
            await all_done.wait()
        assert done == [("applied", MOST_APPLIED), ("appended", 1), ("applied", MOST_APPLIED), ("applied", MOST_APPLIED)]
        await writer.close()

    asyncio.run(run())


def records(first: int, count: int) -> tuple[Record, ...]:
    seqs = map(Seq, range(first, first + count))
    return tuple(Record(term=Term(1), seq=seq, kind=RecordKind.NOOP, time_ms=0, request_id=None, body=b"") for seq in seqs)
