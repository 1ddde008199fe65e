"""The keeper of a lease against a real etcd: held means that nobody else can have it, whatever stands still."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.interface import Put, Transaction
from shoal.store.leases import LeaseKeeper, hold_lease
from tests.contract.store.eventually import eventually
from tests.contract.store.lease_holder import boot_s, tick
from tests.contract.store.worlds import CALL_S
from tests.support.etcd.process import EtcdProcess

KEY = "/keeper/key"


def test_a_kept_lease_outlives_its_ttl_and_ends_with_its_keeper(shared_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        keeper = await _hold(store, ttl_s=3)
        ticking = asyncio.create_task(tick(keeper))
        end = boot_s() + 2 * keeper.ttl_s

        async def time_is_over() -> bool:
            assert keeper.is_held(boot_s())
            assert await store.get(KEY, CALL_S) is not None
            return boot_s() > end

        await eventually(time_is_over)
        await keeper.aclose()
        assert not keeper.is_held(boot_s())
        assert not keeper.lost
        assert await store.get(KEY, CALL_S) is None
        ticking.cancel()

    _run(shared_etcd, scenario)


def test_a_main_loop_that_hangs_loses_its_lease_before_others_may_take_it(shared_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        told = threading.Event()
        keeper = await _hold(store, ttl_s=2, on_lost=told.set)
        assert keeper.is_held(boot_s())

        async def gone() -> bool:
            absent = await store.get(KEY, CALL_S) is None
            assert not (absent and keeper.is_held(boot_s()))
            return absent

        await eventually(gone)
        assert not keeper.lost, "nobody asked etcd while the main loop hung"
        keeper.tick()
        await eventually(lambda: _is(lambda: keeper.lost and told.is_set()))
        await keeper.aclose()

    _run(shared_etcd, scenario)


def test_while_etcd_is_frozen_the_lease_is_held_only_until_its_deadline(own_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        keeper = await _hold(store, ttl_s=2)
        ticking = asyncio.create_task(tick(keeper))
        own_etcd.freeze()
        await eventually(lambda: _is(lambda: not keeper.is_held(boot_s())))
        assert boot_s() >= keeper.deadline
        assert not keeper.lost
        own_etcd.thaw()
        # etcd may still know the lease, or have ended it: the keeper must come to the same view.
        await eventually(lambda: _is(lambda: keeper.lost or keeper.is_held(boot_s())))
        assert keeper.lost is (await store.get(KEY, CALL_S) is None)
        ticking.cancel()
        await keeper.aclose()

    _run(own_etcd, scenario)


def test_a_restart_of_etcd_within_the_ttl_does_not_cost_the_lease(own_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        keeper = await _hold(store, ttl_s=10)
        ticking = asyncio.create_task(tick(keeper))
        own_etcd.kill()
        await asyncio.to_thread(own_etcd.start)
        before = keeper.deadline
        await eventually(lambda: _is(lambda: keeper.deadline > before))
        assert keeper.is_held(boot_s())
        assert not keeper.lost
        ticking.cancel()
        await keeper.aclose()

    _run(own_etcd, scenario)


def test_a_process_that_was_stopped_knows_on_waking_that_it_does_not_hold_the_lease(shared_etcd: EtcdProcess) -> None:
    async def scenario(store: EtcdStore) -> None:
        holder = _holder_process(shared_etcd.endpoint)
        try:
            assert await asyncio.to_thread(_answer, holder) == {"held": True, "lost": False}
            os.kill(holder.pid, signal.SIGSTOP)
            await eventually(lambda: _gone(store))
            os.kill(holder.pid, signal.SIGCONT)
            assert (await asyncio.to_thread(_ask, holder))["held"] is False

            async def lost() -> bool:
                state = await asyncio.to_thread(_ask, holder)
                assert state["held"] is False
                return bool(state["lost"])

            await eventually(lost)
            await asyncio.to_thread(holder.communicate, None, 10)
            assert holder.returncode == 0
        finally:
            holder.kill()
            holder.communicate()

    _run(shared_etcd, scenario)


def _holder_process(endpoint: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.contract.store.lease_holder", endpoint, KEY, "2"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(holder: subprocess.Popen[str]) -> dict[str, Any]:
    assert holder.stdin is not None
    holder.stdin.write("?\n")
    holder.stdin.flush()
    return _answer(holder)


def _answer(holder: subprocess.Popen[str]) -> dict[str, Any]:
    assert holder.stdout is not None
    answer: dict[str, Any] = json.loads(holder.stdout.readline())
    return answer


async def _hold(store: EtcdStore, *, ttl_s: int, on_lost: Callable[[], None] = lambda: None) -> LeaseKeeper:
    keeper = await hold_lease(store, ttl_s=ttl_s, timeout_s=CALL_S, clock=boot_s, on_lost=on_lost)
    await store.commit(Transaction(then=(Put(key=KEY, value=b"", lease_id=keeper.lease_id),)), CALL_S)
    return keeper


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


async def _gone(store: EtcdStore) -> bool:
    return await store.get(KEY, CALL_S) is None


def _run(etcd: EtcdProcess, scenario: Callable[[EtcdStore], Awaitable[None]]) -> None:
    async def bounded() -> None:
        store = EtcdStore(EtcdSettings(endpoints=(etcd.endpoint,)))
        async with asyncio.timeout(60):
            try:
                await scenario(store)
            finally:
                await store.close()

    asyncio.run(bounded())
