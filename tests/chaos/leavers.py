"""Callers that leave early: tiny deadlines, cancelled tasks, killed processes. Their reads are large; the outcome of
their writes is "maybe".

Each has points of its own. A write whose caller left may still be applied for some time, so its point rests for long
before it is written again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

import shoal
from tests.chaos.book import FORGET_AFTER_S, Version
from tests.chaos.crew import Member
from tests.chaos.named import ONE, columns_of
from tests.chaos.written import DIM, payload_of, vector_of
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from tests.chaos.mixed_load import Herd

FIRST_OF_LEAVERS = 500_000
POINTS_PER_LEAVER = 300
REST_S = FORGET_AFTER_S

_PAUSE_S = 0.1
_AT_ONCE = 6
_KILL_EVERY = 40
_LONGEST_S = 0.05
_QUERIES, _K = 100, 200

_KILLED = """
import json, sys, threading, shoal
address, name, ids, vectors, payloads, query, using = json.loads(sys.argv[1])
client = shoal.connect(address)
search = lambda: client.search_many(name, [query] * 100, k=200, using=using, timeout=60.0)
for work in [search] * 4 + [lambda: client.upsert(name, ids, vectors, payloads, timeout=60.0)]:
    threading.Thread(target=work).start()
print("begun", flush=True)
"""


class Leavers:
    """Makes members of a crew. left: number of calls that were left, by the way of leaving."""

    def __init__(
        self, addresses: Sequence[str], herds: Sequence[Herd], new_version: Callable[[], int], *, count: int, pauses: float = 1.0
    ) -> None:
        self._addresses, self._herds, self._new_version = list(addresses), herds, new_version
        self.left: Counter[str] = Counter()
        # One loop for all calls and for the whole process: gRPC logs errors if a loop is closed soon after its calls.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="leavers", daemon=True).start()
        self.members = [Member(partial(self._step, _Points(number, herds)), _PAUSE_S * pauses) for number in range(count)]

    def _step(self, points: _Points, client: shoal.Client, chance: random.Random) -> None:
        herd, step = chance.choice(self._herds), next(points.steps)
        if step % _KILL_EVERY == 1:
            self._killed(points, herd, chance)
        elif step % 2:
            self._on_loop(self._cancelled(points, herd, chance))
        else:
            self._late(points, herd, client, chance)

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _late(self, points: _Points, herd: Herd, client: shoal.Client, chance: random.Random) -> None:
        timeout_s = chance.uniform(0.001, _LONGEST_S)
        try:
            if chance.random() < 0.5:
                client.search_many(herd.name, _queries(chance), k=_K, using=_using(herd), timeout=timeout_s)
                return
            with self._maybe(points, herd, 1) as (ids, version):
                if ids and version is None:
                    client.delete(herd.name, ids, timeout=timeout_s)
                elif ids:
                    client.upsert(herd.name, ids, *_columns(herd, ids, version), timeout=timeout_s)
        except shoal.ShoalError as error:
            self.left[f"late: {type(error).__name__}"] += 1

    async def _cancelled(self, points: _Points, herd: Herd, chance: random.Random) -> None:
        async with shoal.connect_async(self._addresses) as client:
            with self._maybe(points, herd, 2) as (ids, version):
                works: list[Coroutine[Any, Any, Any]] = [
                    client.search_many(herd.name, _queries(chance), k=_K, using=_using(herd), timeout=60.0) for _ in range(_AT_ONCE)
                ]
                if ids and version is None:
                    works.append(client.delete(herd.name, ids))
                elif ids:
                    works.append(client.upsert(herd.name, ids, *_columns(herd, ids, version)))
                tasks = [asyncio.create_task(work) for work in works]
                await asyncio.sleep(chance.uniform(0.0, _LONGEST_S))
                self.left["cancelled"] += sum(task.cancel() for task in tasks)
                await asyncio.gather(*tasks, return_exceptions=True)

    def _killed(self, points: _Points, herd: Herd, chance: random.Random) -> None:
        with self._maybe(points, herd, 2, deletes=False) as (ids, version):
            vectors, payloads = _columns(herd, ids, version or 0)
            told = json.dumps([self._addresses, herd.name, ids, vectors, payloads, [0.0] * DIM, _using(herd)], default=np.ndarray.tolist)
            command = [sys.executable, "-c", _KILLED, told]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
            try:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(chance.uniform(0.0, _LONGEST_S))
            finally:
                process.kill()
                process.communicate()
            self.left["killed"] += 1

    @contextmanager
    def _maybe(self, points: _Points, herd: Herd, count: int, *, deletes: bool = True) -> Iterator[tuple[list[int], Version]]:
        """Yield points for a write, fewer than `count` if others rest. Whatever its outcome, it may be applied now,
        later or never.
        """
        ids = points.rested(herd, count)
        version = None if deletes and ids and ids[0] % 4 == 0 else self._new_version()
        ops = herd.book.begin(ids, version, time.monotonic())
        try:
            yield ids, version
        finally:
            now = time.monotonic()
            herd.book.fail(ops, now, surely_not_applied=False)
            points.rest(herd, ids, now)


class _Points:
    """The points of one leaver in each herd; they rest after each write. steps: number of the leaver's steps."""

    def __init__(self, number: int, herds: Sequence[Herd]) -> None:
        self.steps = itertools.count()
        first = FIRST_OF_LEAVERS + number * POINTS_PER_LEAVER
        self._free = {herd.name: deque((point, -REST_S) for point in range(first, first + POINTS_PER_LEAVER)) for herd in herds}

    def rested(self, herd: Herd, count: int) -> list[int]:
        free, now, taken = self._free[herd.name], time.monotonic(), list[int]()
        while free and len(taken) < count and free[0][1] + REST_S < now:
            taken.append(free.popleft()[0])
        return taken

    def rest(self, herd: Herd, points: Sequence[int], now: float) -> None:
        self._free[herd.name].extend((point, now) for point in points)


def _queries(chance: random.Random) -> np.ndarray:
    return np.random.default_rng(chance.randrange(1 << 30)).integers(-500, 500, (_QUERIES, DIM)).astype(np.float32)


def _using(herd: Herd) -> str | None:
    return ONE if herd.is_named else None


def _columns(herd: Herd, ids: Sequence[int], version: int) -> tuple[Any, list[dict[str, Any]]]:
    vectors = columns_of(ids, version) if herd.is_named else [vector_of(point, version) for point in ids]
    return vectors, [payload_of(point, version) for point in ids]
