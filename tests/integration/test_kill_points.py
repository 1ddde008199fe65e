"""Kill a replica at each step of what it writes. Opened again, it must hold exactly what it acknowledged.

The step during which the process died has happened as a whole or not at all. Each fault point of the product is such a
step.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from shoal.runtime.fault_points import FAULT_POINTS
from shoal.shard_worker.fsck.finding import Severity, Verdict
from shoal.shard_worker.fsck.replica_check import check_replica
from shoal.shard_worker.fsck.targets import find_targets
from tests.integration.replica_history import BASES, after, bench, check, history, live, spec_after
from tests.support.repository import ROOT
from tests.support.scope import cells

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
STEPS = history()
FIRST, MIDDLE = "the first time", "in the middle of its life"
ONE, NAMED = BASES
EVERY = [(base, point, moment) for base in BASES for point in FAULT_POINTS for moment in (FIRST, MIDDLE)]
SHORT = [(base, point, (FIRST, MIDDLE)[(number + at) % 2]) for at, base in enumerate(BASES) for number, point in enumerate(FAULT_POINTS)]
KILLS = cells(EVERY, [cell for cell in SHORT if FAULT_POINTS.index(cell[1]) % 4 == (2 if cell[0] == NAMED else 0)])
"""The short tests use every second fault point once, half of these with named vectors."""


class Nursery:
    """The process that forks one process for each run of the history."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.kill_child"],
            cwd=ROOT,
            env={**os.environ, **THREADS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def life(self, folder: Path, said: Path, base: str, fault: str = "") -> int:
        """Run the history to its end or to the fault. Return the exit code, negative for a signal."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "said": str(said), "base": base, "fault": fault}) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the nursery died"
        return str(json.loads(line))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    yield started
    started.close()


Reached = Callable[[str], Mapping[str, int]]


@pytest.fixture(scope="module")
def reached(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Reached:
    """Return a function that tells how often each fault point is reached in a run of a base without a fault."""

    @functools.cache
    def counted(base: str) -> Mapping[str, int]:
        folder = tmp_path_factory.mktemp("whole")
        assert nursery.life(folder / "data", folder / "said", base) == 0
        *acknowledged, counts = (folder / "said").read_text().splitlines()
        assert [int(each) for each in acknowledged] == list(range(len(STEPS)))
        asyncio.run(_look(folder / "data", len(STEPS), base))
        counts_by_point: Mapping[str, int] = json.loads(counts)
        return counts_by_point

    return counted


@pytest.mark.parametrize("base", BASES)
def test_the_history_reaches_every_point(reached: Reached, base: str) -> None:
    assert {name for name in FAULT_POINTS if not reached(base).get(name)} == set()


@pytest.mark.parametrize(("base", "point", "moment"), KILLS)
def test_killed_at_a_point_nothing_acknowledged_is_lost_and_it_lives_on(
    nursery: Nursery, reached: Reached, tmp_path: Path, base: str, point: str, moment: str
) -> None:
    time = 1 if moment == FIRST else max(1, reached(base)[point] // 2)
    acknowledged = _killed(nursery, tmp_path, base, f"{point}:{time}:kill")
    asyncio.run(_look(tmp_path / "data", acknowledged, base))
    asyncio.run(_live_on(tmp_path / "data", acknowledged, base))
    _is_sound(tmp_path / "data")


def _killed(nursery: Nursery, folder: Path, base: str, fault: str) -> int:
    """Run the history until the fault kills it. Return how many steps were acknowledged."""
    assert nursery.life(folder / "data", folder / "said", base, fault) == -signal.SIGKILL
    _is_sound(folder / "data")
    return len((folder / "said").read_text().splitlines())


def _is_sound(folder: Path) -> None:
    """Check that fsck finds nothing in the files except traces of a crash."""
    targets = find_targets([folder]).replicas if (folder / "lock").exists() else ()
    for target in targets:
        report = check_replica(target, None, lambda text: None)
        assert report.verdict is Verdict.CLEAN, report.findings
        assert all(each.severity is Severity.WARNING for each in report.findings)


async def _look(folder: Path, acknowledged: int, base: str) -> None:
    """Open the replica. Check that its state is that after the acknowledged steps, or after one step more."""
    may_be = [after(STEPS[:done], BASES[base]) for done in (acknowledged, acknowledged + 1) if done <= len(STEPS)]
    spec = spec_after(STEPS[: acknowledged + 1], BASES[base])
    async with bench(folder, 1_000, spec) as replica:
        await check(replica, may_be, spec)


async def _live_on(folder: Path, acknowledged: int, base: str) -> None:
    """Do the rest of the steps, beginning with the one that was interrupted. Check that the end is that of a run
    without a fault.
    """
    spec = BASES[base]
    await live(folder, STEPS, spec, begin=acknowledged, first_term=1_001, acknowledge=lambda number: None)
    async with bench(folder, 2_000, spec_after(STEPS, spec)) as replica:
        await check(replica, [after(STEPS, spec)], spec_after(STEPS, spec))
