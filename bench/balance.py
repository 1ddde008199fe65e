"""`make bench-balance`: plans of the balancer for large clusters, against the least bytes that any plan has to move.

Each plan is made twice, the second time with workers and shards shuffled, and a plan is made for the state after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from shoal.coordinator.logic.balance import planned
from shoal.coordinator.logic.balance_model import BalanceOutcome, PlannerSettings
from tests.support.balance_scenes import SCENARIOS, Scene, after, large_scene

SHARDS, WORKERS = 10_000, 200

MOST_SECONDS, MOST_RATIO = 5.0, 1.1
SMALL_SHARD = 0.1
"""The bar for bytes holds where shards take, in the mean, less than this part of what a worker holds."""

WHOLE = PlannerSettings(most_moves=10**6, most_hand_overs=10**6)
"""Not cut: the whole way."""

console = Console()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BalanceFigures:
    """One plan.

    off_before, off_after: how far the worst worker is off its target, as a part of it; ratio: bytes moved for each byte
    that has to be, 0 if none has to be; usual: a shard of mean size as a part of what a worker holds; seconds: CPU time
    of one plan.
    """

    scenario: str
    workers: int
    shards: int
    replicas: int
    off_before: float
    off_after: float
    moves: int
    gib: float
    ratio: float
    usual: float
    hand_overs: int
    seconds: float
    same_shuffled: bool
    second_empty: bool

    @property
    def failures(self) -> list[str]:
        """Return which bars it misses, in words."""
        found = [] if self.seconds < MOST_SECONDS else [f"{self.seconds:.1f} s"]
        if self.usual < SMALL_SHARD and self.ratio > MOST_RATIO:
            found.append(f"{self.ratio:.2f} times the least bytes")
        found += [] if self.same_shuffled else ["depends on the order of its input"]
        return found + ([] if self.second_empty else ["a second plan is not empty"])


def main() -> int:
    """Measure, print a table, write JSON. Returns 1 if a plan misses a bar."""
    parser = argparse.ArgumentParser(prog="bench-balance", description="Plans of the balancer for large clusters.")
    parser.add_argument("--shards", type=int, default=SHARDS)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--json", type=Path, default=Path("bench-results/balance.json"))
    options = parser.parse_args()
    table = Table("scenario", "rf", "worst off", "moves", "GiB", "x least", "hand-overs", "s", "bars", box=None)
    every = []
    for replicas in (1, 2, 3):
        for scenario in SCENARIOS:
            found = measured(scenario, options.workers, options.shards, replicas)
            every.append(found)
            console.print(f"  {found}", style="dim")
            off = f"{100 * found.off_before:.0f} -> {100 * found.off_after:.1f} %"
            counted = (f"{replicas}", off, f"{found.moves:,}", f"{found.gib:,.1f}", f"{found.ratio:.2f}", f"{found.hand_overs:,}")
            table.add_row(scenario, *counted, f"{found.seconds:.2f}", ", ".join(found.failures) or "kept")
    console.print(table)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([dataclasses.asdict(each) for each in every], indent=1), encoding="utf-8")
    console.print(f"wrote {options.json}")
    return 1 if any(each.failures for each in every) else 0


def measured(scenario: str, workers: int, shards: int, replicas: int) -> BalanceFigures:
    """Return the figures of one plan."""
    scene = large_scene(scenario, workers=workers, shards=shards, replicas=replicas)
    began = time.process_time()
    outcome = planned(*scene, WHOLE)
    seconds = time.process_time() - began
    rng = random.Random(1)
    shuffled = planned(rng.sample(scene[0], workers), rng.sample(scene[1], shards), WHOLE)
    again = planned(scene[0], after(scene[1], outcome), WHOLE)
    size = {shard.id: shard.memory_bytes for shard in scene[1]}
    moved = sum(size[move.shard] for move in outcome.moves)
    return BalanceFigures(
        scenario=scenario,
        workers=workers,
        shards=shards,
        replicas=replicas,
        off_before=_worst_off(scene, outcome, after_it=False),
        off_after=_worst_off(scene, outcome, after_it=True),
        moves=len(outcome.moves),
        gib=moved / 2**30,
        ratio=moved / outcome.least_bytes if outcome.least_bytes else 0.0,
        usual=sum(size.values()) / len(size) * workers / sum(outcome.targets.values()),
        hand_overs=len(outcome.hand_overs),
        seconds=seconds,
        same_shuffled=shuffled == outcome,
        second_empty=not again.moves and not again.hand_overs,
    )


def _worst_off(scene: Scene, outcome: BalanceOutcome, *, after_it: bool) -> float:
    load = outcome.after if after_it else outcome.before
    staying = [worker.id for worker in scene[0] if not worker.draining]
    return max(abs(load[worker] / outcome.targets[worker] - 1) for worker in staying)


if __name__ == "__main__":
    raise SystemExit(main())
