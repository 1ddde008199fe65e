"""What only a real etcd can do wrong: endpoints that refuse, hang or freeze, a server that dies and comes back, or
comes back empty.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from shoal.core.errors import Unavailable
from shoal.store.etcd.channels import EtcdEndpoints
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.etcd.watch_progress import Changes
from shoal.store.etcd.watch_stream import EtcdWatchStream
from shoal.store.interface import Delta, Listed, OutcomeUnknown, Put, StoreUnavailable, Transaction, Versioned
from tests.contract.store.eventually import Replica, connected, disconnected, eventually, heard
from tests.contract.store.worlds import CALL_S, put
from tests.support.etcd.process import EtcdProcess
from tests.support.network.ports import free_port
from tests.support.network.tcp_proxy import TcpProxy

PREFIX = "/faults/"
SILENCE_S = 0.5
SLACK_S = 1.0
"""A call may end so much after its deadline on a busy machine."""


@asynccontextmanager
async def _client(*endpoints: str) -> AsyncIterator[EtcdStore]:
    """A client that notices silence fast."""
    store = EtcdStore(EtcdSettings(endpoints=endpoints, silence_s=SILENCE_S))
    try:
        yield store
    finally:
        await store.close()


def test_the_second_endpoint_answers_when_the_first_refuses(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(f"127.0.0.1:{free_port()}", shared_etcd.endpoint) as store:
            await _everything_works(store, "refused/")

    asyncio.run(scenario())


def test_the_second_endpoint_answers_when_the_first_accepts_and_says_nothing(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with _client(f"127.0.0.1:{mute.getsockname()[1]}", shared_etcd.endpoint) as store:
                await _everything_works(store, "mute/")

    asyncio.run(scenario())


def test_it_works_under_uvloop(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(shared_etcd.endpoint) as store:
            await _everything_works(store, "uvloop/")

    uvloop.run(scenario())


def test_with_all_endpoints_dead_nothing_was_applied_and_it_is_said_soon() -> None:
    async def scenario() -> None:
        async with _client(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}") as store:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await _put(store, "a", 10.0)
            with pytest.raises(StoreUnavailable):
                await store.get(PREFIX, 10.0)
            with pytest.raises(StoreUnavailable):
                await asyncio.to_thread(store.lease_connection().keep_alive, 1, 10.0)  # type: ignore[arg-type]
            assert time.monotonic() - started < 5.0

    asyncio.run(scenario())


def test_a_frozen_etcd_ends_calls_at_their_deadline_with_the_right_error(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(own_etcd.endpoint) as store:
            await _put(store, "a", CALL_S)
            own_etcd.freeze()
            calls: tuple[tuple[Callable[[], Awaitable[object]], type[Unavailable]], ...] = (
                (lambda: store.get(PREFIX + "a", 0.5), StoreUnavailable),
                (lambda: store.list(PREFIX, 0.5), StoreUnavailable),
                (lambda: store.keep_alive(1, 0.5), StoreUnavailable),  # type: ignore[arg-type]
                (lambda: _put(store, "b", 0.5), OutcomeUnknown),
                (lambda: store.grant_lease(5, 0.5), OutcomeUnknown),
            )
            for call, error in calls:
                started = time.monotonic()
                with pytest.raises(error):
                    await call()
                assert time.monotonic() - started < 0.5 + SLACK_S
            own_etcd.thaw()
            await eventually(lambda: store.get(PREFIX + "a", CALL_S))

    asyncio.run(scenario())


def test_a_watch_notices_a_frozen_etcd_and_goes_on_when_it_wakes(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(own_etcd.endpoint) as store, store.watch(PREFIX) as watch:
            await heard(watch)
            await connected(watch)
            own_etcd.freeze()
            started = time.monotonic()
            await disconnected(watch)
            assert time.monotonic() - started < 4 * SILENCE_S + SLACK_S
            own_etcd.thaw()
            await connected(watch)
            revision = await put(store, PREFIX + "a", b"")
            assert await heard(watch) == Delta(revision=revision, changed=(await _present(store, "a"),), deleted=())

    asyncio.run(scenario())


def test_watch_and_calls_move_on_from_a_frozen_endpoint(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        first, second = TcpProxy(shared_etcd.client_port), TcpProxy(shared_etcd.client_port)
        await first.start()
        await second.start()
        async with _client(first.endpoint, second.endpoint) as store, store.watch(PREFIX) as watch:
            await heard(watch)
            await connected(watch)
            first.swallow_requests = first.swallow_answers = True
            with pytest.raises(OutcomeUnknown):
                await _put(store, "moved", 0.5)
            revision = await put(store, PREFIX + "moved", b"2")
            assert (await heard(watch)).revision == revision
            await connected(watch)
            assert (await _present(store, "moved")).value == b"2"
        await first.cut()
        await second.cut()

    asyncio.run(scenario())


def test_a_commit_whose_answer_is_lost_is_not_sent_again_to_the_other_endpoint(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        first = TcpProxy(shared_etcd.client_port)
        await first.start()
        async with _client(first.endpoint, shared_etcd.endpoint) as store, _client(shared_etcd.endpoint) as outside:
            await put(outside, PREFIX + "counter", b"0")
            before = await _present(outside, "counter")
            await store.get(PREFIX, CALL_S)
            first.swallow_answers = True
            commit = asyncio.create_task(_put(store, "counter", 30.0))

            async def applied() -> bool:
                return (await _present(outside, "counter")).mod_revision > before.mod_revision

            await eventually(applied)
            once = await _present(outside, "counter")
            await first.cut()
            with pytest.raises(OutcomeUnknown):
                await commit
            assert await _present(outside, "counter") == once

    asyncio.run(scenario())


def test_a_read_that_meets_a_frozen_endpoint_is_answered_by_the_other_in_time(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        first = TcpProxy(shared_etcd.client_port)
        await first.start()
        async with _client(first.endpoint, shared_etcd.endpoint) as store:
            await store.get(PREFIX, CALL_S)
            first.swallow_requests = first.swallow_answers = True
            started = time.monotonic()
            await store.get(PREFIX, 2.0)
            assert time.monotonic() - started < 2.0 + SLACK_S
        await first.cut()

    asyncio.run(scenario())


def test_nothing_is_missed_when_etcd_is_killed_and_comes_back(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        replica = Replica()
        async with _client(own_etcd.endpoint) as store, store.watch(PREFIX) as watch:
            reading = asyncio.create_task(replica.read(watch))
            stop = asyncio.Event()
            writing = asyncio.create_task(_write_through(store, stop))
            await replica.grown_to(20)
            for _ in range(2):
                own_etcd.kill()
                await disconnected(watch)
                await asyncio.to_thread(own_etcd.start)
                await connected(watch)
                await replica.grown_to(len(replica.values) + 20)
            stop.set()
            committed, unknown = await writing
            final = {entry.key for entry in (await store.list(PREFIX, CALL_S)).entries}
            await replica.grown_to(len(final))
            reading.cancel()
        assert set(replica.values) == final
        assert set(committed) <= final <= set(committed) | set(unknown)
        assert replica.listings == 1, "a restart on the same data needs no new listing"
        assert replica.revisions == sorted(set(replica.revisions))

    asyncio.run(scenario())


def test_a_watch_lists_again_when_etcd_comes_back_empty(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(own_etcd.endpoint) as store, store.watch(PREFIX) as watch:
            await heard(watch)
            for number in range(5):
                await put(store, f"{PREFIX}{number}", b"")
                await heard(watch)
            own_etcd.kill()
            shutil.rmtree(own_etcd.data_folder)
            await asyncio.to_thread(own_etcd.start)
            listed = await heard(watch)
            assert isinstance(listed, Listed)
            assert listed.entries == ()

    asyncio.run(scenario())


def test_a_quiet_watch_stays_connected(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(shared_etcd.endpoint) as store, store.watch("/quiet/") as watch:
            await heard(watch)
            await connected(watch)
            end = time.monotonic() + 5 * SILENCE_S

            async def over() -> bool:
                assert watch.connected, watch.problem
                return time.monotonic() > end

            await eventually(over)

    asyncio.run(scenario())


def test_a_backlog_larger_than_one_message_arrives_whole(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        line = TcpProxy(shared_etcd.client_port)
        await line.start()
        async with _client(shared_etcd.endpoint) as writer, _client(line.endpoint) as store, store.watch("/large/") as watch:
            await heard(watch)
            await connected(watch)
            await line.cut()
            await disconnected(watch)
            revisions = [await put(writer, f"/large/{number}", bytes([number]) * 1_000_000) for number in range(5)]
            halves = tuple(Put(key=f"/large/half{number}", value=bytes(500_000)) for number in range(3))
            revisions.append((await writer.commit(Transaction(then=halves), CALL_S)).revision)
            await line.restore()
            deltas = [await heard(watch) for _ in revisions]
            assert [delta.revision for delta in deltas] == revisions
            assert [len(delta.changed) for delta in deltas if isinstance(delta, Delta)] == [1, 1, 1, 1, 1, 3]
        await line.cut()

    asyncio.run(scenario())


def test_etcd_cuts_a_large_backlog_into_bounded_messages(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        endpoints = EtcdEndpoints(EtcdSettings(endpoints=(shared_etcd.endpoint,)))
        async with _client(shared_etcd.endpoint) as writer:
            revisions = [await put(writer, f"/pieces/{number}", bytes(1_000_000)) for number in range(4)]
        stream = EtcdWatchStream(endpoint=endpoints.preferred(), prefix="/pieces/", start=revisions[0], silence_s=5.0)
        pieces: list[Changes] = []
        while sum(len(piece.events) for piece in pieces) < len(revisions):
            message = await stream.receive()
            pieces.extend([message] if isinstance(message, Changes) else [])
        assert max(len(piece.events) for piece in pieces) < len(revisions)
        assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
        await stream.close()
        await endpoints.close()

    asyncio.run(scenario())


def test_a_store_that_is_closed_during_a_commit_does_not_cancel_the_committer(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(own_etcd.endpoint) as store:
            await _put(store, "a", CALL_S)
            own_etcd.freeze()
            commit = asyncio.create_task(_put(store, "b", 30.0))
            await asyncio.sleep(0.1)
            await store.close()
            with pytest.raises(OutcomeUnknown):
                await commit

    asyncio.run(scenario())


def test_a_cancelled_commit_is_cancelled(own_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        async with _client(own_etcd.endpoint) as store:
            await _put(store, "a", CALL_S)
            own_etcd.freeze()
            commit = asyncio.create_task(_put(store, "b", 30.0))
            await asyncio.sleep(0.1)
            commit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await commit

    asyncio.run(scenario())


def test_nothing_is_left_running_after_close(shared_etcd: EtcdProcess) -> None:
    async def scenario() -> None:
        before = asyncio.all_tasks()
        async with _client(shared_etcd.endpoint) as store:
            await _everything_works(store, "left/")
        await eventually(lambda: _no_more_than(before))

    asyncio.run(scenario())


async def _no_more_than(before: set[asyncio.Task[object]]) -> bool:
    return asyncio.all_tasks() <= before | {asyncio.current_task()}


async def _everything_works(store: EtcdStore, name: str) -> None:
    prefix = PREFIX + name
    lease = await store.grant_lease(30, CALL_S)
    async with store.watch(prefix) as watch:
        await heard(watch)
        revision = await put(store, prefix + "a", b"v", lease_id=lease.id)
        assert (await heard(watch)).revision == revision
    assert [entry.value for entry in (await store.list(prefix, CALL_S)).entries] == [b"v"]
    assert await store.keep_alive(lease.id, CALL_S) == 30
    connection = store.lease_connection()
    assert await asyncio.to_thread(connection.keep_alive, lease.id, CALL_S) == 30
    connection.close()
    await store.revoke_lease(lease.id, CALL_S)
    assert await store.get(prefix + "a", CALL_S) is None


async def _write_through(store: EtcdStore, stop: asyncio.Event) -> tuple[list[str], list[str]]:
    """Write new keys until told to stop. Returns those surely committed and those perhaps."""
    committed, unknown = list[str](), list[str]()
    for number in itertools.count():
        if stop.is_set():
            return committed, unknown
        key = f"{PREFIX}{number}"
        try:
            await put(store, key, b"")
            committed.append(key)
        except OutcomeUnknown:
            unknown.append(key)
        except Unavailable:
            await asyncio.sleep(0.02)
    raise AssertionError("unreachable")


async def _put(store: EtcdStore, name: str, timeout_s: float) -> object:
    return await store.commit(Transaction(then=(Put(key=PREFIX + name, value=b"1"),)), timeout_s)


async def _present(store: EtcdStore, name: str) -> Versioned:
    entry = await store.get(PREFIX + name, CALL_S)
    assert entry is not None
    return entry
