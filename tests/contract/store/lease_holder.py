"""A process that holds a key under a kept lease and says, when asked over its standard input, whether it still does."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.interface import Put, Transaction
from shoal.store.leases import LeaseKeeper, hold_lease

CALL_S = 5.0


def boot_s() -> float:
    """Seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def hold(endpoint: str, key: str, ttl_s: int) -> None:
    store = EtcdStore(EtcdSettings(endpoints=(endpoint,)))
    keeper = await hold_lease(store, ttl_s=ttl_s, timeout_s=CALL_S, clock=boot_s)
    await store.commit(Transaction(then=(Put(key=key, value=b"", lease_id=keeper.lease_id),)), CALL_S)
    ticking = asyncio.create_task(tick(keeper))
    _say(keeper)
    while await asyncio.to_thread(sys.stdin.readline):
        _say(keeper)
    ticking.cancel()
    await keeper.aclose()
    await store.close()


async def tick(keeper: LeaseKeeper) -> None:
    while True:
        keeper.tick()
        await asyncio.sleep(0.05)


def _say(keeper: LeaseKeeper) -> None:
    print(json.dumps({"held": keeper.is_held(boot_s()), "lost": keeper.lost}), flush=True)


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], sys.argv[2], int(sys.argv[3])))
