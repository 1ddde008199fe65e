"""Test the rate of what is sent of snapshots, in virtual time."""

import asyncio

import pytest

from shoal.shard_worker.snapshots import pace as pace_module
from shoal.shard_worker.snapshots.pace import LEAST_PIECE_BYTES, LOOK_S, PIECE_S, SendingPace


class Time:
    """Virtual seconds: a sleep ends at once, and the time has passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.slept = 0.0, 0
        monkeypatch.setattr(pace_module, "boot_s", lambda: self.now_s)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept += 1


@pytest.fixture
def time(monkeypatch):
    return Time(monkeypatch)


def test_pieces_together_keep_the_rate(time):
    async def run():
        pace = SendingPace(lambda: 1_000.0)
        for _ in range(11):
            await pace.wait(500)
        assert time.now_s == pytest.approx(5.0)

    asyncio.run(run())


def test_a_new_rate_counts_for_those_that_wait(time):
    rate = [1.0]

    async def run():
        pace = SendingPace(lambda: rate[0])
        await pace.wait(1_000)
        real = time.sleep

        async def then_faster(seconds):
            await real(seconds)
            rate[0] = 1e6

        asyncio.sleep = then_faster  # type: ignore[assignment]
        await pace.wait(1)
        assert time.now_s <= 2 * LOOK_S

    asyncio.run(run())


def test_what_was_not_sent_in_time_is_no_credit(time):
    async def run():
        pace = SendingPace(lambda: 1_000.0)
        time.now_s += 1_000.0
        await pace.wait(2_000)
        await pace.wait(1)
        assert time.now_s == pytest.approx(1_002.0)

    asyncio.run(run())


def test_a_low_rate_makes_pieces_small():
    assert SendingPace(lambda: 1e9).most_bytes(2_000_000) == 2_000_000
    assert SendingPace(lambda: 1e6).most_bytes(2_000_000) == int(PIECE_S * 1e6)
    assert SendingPace(lambda: 1.0).most_bytes(2_000_000) == LEAST_PIECE_BYTES
    assert SendingPace(lambda: 1.0).most_bytes(10) == 10
