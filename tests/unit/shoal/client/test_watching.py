"""Progress of optimize: rows that are sealed, told while the call runs, and at its end."""

import asyncio
import dataclasses
import threading

import pytest

import shoal
from shoal.core.requests import DescribeCollection, OptimizeCollection
from tests.twins.router_answers import DictCluster, PausingClock, async_client_with, client_with


class Sealing:
    """A cluster that seals a row between two looks; the call ends after three of them. down: the looks fail."""

    def __init__(self, *, down=False, lost=False):
        self.cluster, self.looks, self.down, self.lost = DictCluster(), 0, down, lost
        self.seen_enough = threading.Event()

    def __call__(self, address, request, timeout_s):
        match request:
            case OptimizeCollection():
                assert self.seen_enough.wait(30)
                if self.lost:
                    raise shoal.ResourceExhausted("no room")
            case DescribeCollection():
                self.looks += 1
                if self.looks == 3 or self.down:
                    self.seen_enough.set()
                if self.down:
                    raise shoal.PermissionDenied("no looks")
                info = self.cluster(address, request, timeout_s)
                sealed = min(self.looks, 4)
                return dataclasses.replace(info, sealed_rows=sealed, growing_rows=4 - sealed)
        return self.cluster(address, request, timeout_s)


def blocking(sealing, progress):
    with client_with(sealing, clock=PausingClock()) as client:
        client.create_collection("c", dim=2)
        client.optimize("c", progress)


def awaited(sealing, progress):
    async def answer(*call):
        return await asyncio.to_thread(sealing, *call)

    async def whole():
        async with async_client_with(answer, clock=PausingClock()) as client:
            await client.create_collection("c", dim=2)
            await client.optimize("c", progress)

    asyncio.run(whole())


BOTH = pytest.mark.parametrize("run", [blocking, awaited])


@BOTH
def test_sealed_rows_are_told_until_all_are(run):
    told = []
    run(Sealing(), lambda *rows: told.append(rows))
    assert told[:3] == [(1, 4), (2, 4), (3, 4)]
    assert told[-1] == (4, 4)
    assert told == sorted(told)


@BOTH
def test_looks_that_fail_end_and_the_call_goes_on(run):
    told = []
    run(Sealing(down=True), lambda *rows: told.append(rows))
    assert told == [(0, 0)]


@BOTH
def test_a_call_that_fails_says_so(run):
    told = []
    with pytest.raises(shoal.ResourceExhausted, match="no room"):
        run(Sealing(lost=True), lambda *rows: told.append(rows))
    assert told[:3] == [(1, 4), (2, 4), (3, 4)]


@BOTH
def test_without_progress_nobody_looks(run):
    sealing = Sealing()
    sealing.seen_enough.set()
    run(sealing, False)
    assert sealing.looks == 0


@BOTH
def test_what_is_no_progress_is_refused_before_anything_is_sent(run):
    with pytest.raises(shoal.InvalidArgument, match="progress is 'yes'"):
        run(Sealing(), "yes")
