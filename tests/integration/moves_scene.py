"""A cluster whose replicas move: what is where, the command `shoal` as users run it, and what must hold at the end."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import shoal
from shoal.core.operations import RebalanceProgress
from shoal.core.rebalance import ItemState, RebalancePlan
from shoal.core.replies import ShardInfo
from tests.support.cluster.role_cluster import RoleCluster, wait_until

_COMMAND_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        """Return what it printed as JSON."""
        return json.loads(self.out)


class MovesScene:
    """client: waits long. Workers are named by their ids."""

    def __init__(self, cluster: RoleCluster, client: shoal.Client) -> None:
        self.cluster, self.client = cluster, client

    def begin(self, *words: object) -> subprocess.Popen[str]:
        """Begin `shoal` with these arguments, with nobody to ask."""
        command = [str(Path(sys.executable).parent / "shoal"), "--address", self.cluster.address, *map(str, words)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, begun: subprocess.Popen[str]) -> Ran:
        """Wait until a command has ended."""
        out, err = begun.communicate(timeout=_COMMAND_S)
        return Ran(code=begun.returncode, out=out, err=err)

    def run(self, *words: object) -> Ran:
        """Run `shoal` with these arguments."""
        return self.ended(self.begin(*words))

    def fill(self, name: str, count: int, dim: int, *, shards: int, replicas: int, index: str = "auto") -> npt.NDArray[np.float32]:
        """Create a collection of so many points, whose ids are their row numbers, and seal it. Return (count, dim)."""
        rows = np.random.default_rng(count).standard_normal((count, dim), dtype=np.float32)
        self.client.create_collection(name, dim=dim, shards=shards, replicas=replicas, index=index)
        self.client.upsert(name, np.arange(count), rows)
        self.client.optimize(name)
        self.cluster.wait_whole(self.client)
        return rows

    def shards(self, name: str) -> list[ShardInfo]:
        """Return the shards of a collection, once the router knows."""
        found: list[ShardInfo] = []

        def look() -> bool:
            with contextlib.suppress(shoal.Unavailable, shoal.DeadlineExceeded):
                found[:] = [each for each in self.client.cluster().shards if each.collection == name]
                return True
            return False

        wait_until(look, "the router tells of the cluster")
        return found

    def homes(self, name: str) -> dict[int, frozenset[str]]:
        """Return the workers of each shard."""
        return {shard.shard: frozenset(each.worker for each in shard.replicas) for shard in self.shards(name)}

    def plan(self, wanted: Callable[[RebalancePlan], bool] = lambda plan: True) -> RebalancePlan:
        """Return the plan once every worker has told the sizes of its replicas and the plan is as wanted."""
        found: list[RebalancePlan] = []

        def look() -> bool:
            with contextlib.suppress(shoal.Unavailable, shoal.DeadlineExceeded):
                found[:] = [self.client.rebalance.plan()]
                return not found[0].pinned and wanted(found[0])
            return False

        try:
            wait_until(look, "workers have told sizes and the plan is as wanted")
        except AssertionError as error:
            raise AssertionError(f"{error}; the last one was {found}") from None
        return found[0]

    def progress(self) -> RebalanceProgress | None:
        """Return how far the last plan is; None if nobody answers."""
        with contextlib.suppress(shoal.Unavailable, shoal.DeadlineExceeded, shoal.NotFound):
            return self.client.rebalance.progress()
        return None

    def await_copying(self, kind: str) -> RebalanceProgress:
        """Wait until a plan of this kind copies; return how far it is."""
        seen: list[RebalanceProgress] = []

        def copies() -> bool:
            progress = self.progress()
            if progress is None or progress.entry.plan.kind != kind or progress.over:
                return False
            seen[:] = [progress]
            return any(item.state is ItemState.COPYING and item.done_bytes > 0 for item in progress.items)

        wait_until(copies, f"a plan copies: {self.progress()}")
        return seen[0]

    def await_rest(self) -> None:
        """Wait until every shard is whole, no plan runs, and what no configuration names is deleted."""
        self.cluster.wait_whole(self.client)
        wait_until(lambda: (told := self.progress()) is None or told.over, "the plan ends")
        self.cluster.wait_whole(self.client)
        wait_until(lambda: self.unnamed() == [], f"no folder is left that no configuration names; see {self.cluster.folder}")

    def unnamed(self) -> list[Path]:
        """Return the folders of replicas that no configuration names."""
        named = {each.id for shard in self.client.cluster().shards for each in shard.replicas}
        return [path for path in self._folders() if path.name not in named]

    def folders(self, worker: str) -> list[Path]:
        """Return the folders of replicas of a worker."""
        data = self.cluster.data(self.cluster.worker_of_id(worker))
        return [path for path in self._folders() if data in path.parents]

    def _folders(self) -> list[Path]:
        """Return the folders of replicas, with those of snapshots that come.

        A snapshot whose fetcher was killed stays at its source (.pin-*) until the source forgets it, minutes later.
        """
        found = self.cluster.folder.glob("worker-*/*-*/[0-9]*/*/")
        return sorted(path for path in found if not path.name.startswith(".pin-"))


def worst_off(plan: RebalancePlan) -> float:
    """Return by which part of its share the worker is off, after the plan, that is off most."""
    return max(abs(each.after_bytes - each.target_bytes) / each.target_bytes for each in plan.workers)


def assert_finds_all(client: shoal.Client, name: str, rows: npt.NDArray[np.float32]) -> None:
    """Check that all points are there, with their vectors."""
    points = list(client.scroll(name, with_vectors=True, consistency="primary"))
    assert [point.id for point in points] == list(range(len(rows)))
    np.testing.assert_array_equal(np.array([point.vector for point in points], dtype=np.float32), rows)


def zones_of(homes: Mapping[int, Collection[str]], zone_of: Mapping[str, str]) -> dict[int, list[str]]:
    """Return the zones of each shard."""
    return {shard: sorted(zone_of[worker] for worker in workers) for shard, workers in homes.items()}


def one_line(err: str) -> Sequence[str]:
    """Return the lines of an error."""
    return [line for line in err.splitlines() if line.strip()]
