"""`python -m tests.simulation.run --seeds 500` plays seeds on all cores; `--seed 7 --trace` plays one with a trace."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.seeds import Outcome, run_seed

AT_ONCE, CHUNKS_A_PROCESS = 4, 25


def main() -> int:
    """Return the exit status: 0 if no invariant was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    console = Console(stderr=False, width=150 if asked.trace else None)
    if asked.seed is not None:
        return play_one(asked.seed, console, trace=asked.trace)
    return play_many(range(asked.first, asked.first + asked.seeds), asked.processes, console)


def play_one(seed: int, console: Console, *, trace: bool) -> int:
    """Play one seed, with its story."""
    outcome = run_seed(seed, trace=trace)
    for line in outcome.lines:
        console.print(line, markup=False, highlight=False)
    missing = f"; does not count: {', '.join(outcome.missing)}" if outcome.missing else ""
    console.print(f"seed {seed}: {outcome.simulated_s:.1f} s in {outcome.wall_s:.2f} s, history {outcome.digest}{missing}", highlight=False)
    console.print(outcome.violation or "no invariant fell", markup=False, highlight=False)
    return int(outcome.violation is not None)


def play_many(seeds: range, processes: int, console: Console) -> int:
    """Play many seeds, with progress and sums."""
    counts: Counter[str] = Counter()
    fallen: list[Outcome] = []
    counted, simulated_s = 0, 0.0
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("0 violations", total=len(seeds))
        for outcome in outcomes(seeds, processes):
            counts.update(outcome.counts)
            counted, simulated_s = counted + (not outcome.missing), simulated_s + outcome.simulated_s
            if outcome.violation is not None:
                fallen.append(outcome)
                progress.console.print(f"seed {outcome.seed}: {outcome.violation}", markup=False, highlight=False)
            progress.update(bar, advance=1, description=f"{len(fallen)} violations")
    console.print(summary(len(seeds), counted, simulated_s, counts, len(fallen)))
    for outcome in fallen[:5]:
        console.print(f"again: python -m tests.simulation.run --seed {outcome.seed} --trace", highlight=False)
    return int(bool(fallen))


def outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    """Yield the outcomes as they come."""
    if processes == 1:
        yield from map(run_seed, seeds)
        return
    # Each process is forked from one that has the modules, and ends before what its seeds have left behind grows large:
    # to collect that after each seed would take longer.
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.simulation.seeds"])
    with context.Pool(processes, initializer=gc.disable, maxtasksperchild=CHUNKS_A_PROCESS) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=AT_ONCE)


def summary(played: int, counted: int, simulated_s: float, counts: Counter[str], violations: int) -> Table:
    """Return the sums as a table."""
    table = Table("what", "how much", title="simulation")
    table.add_row("seeds played", f"{played:,}")
    table.add_row("seeds that did enough to count", f"{counted:,}")
    table.add_row("simulated time", f"{simulated_s / 3600:,.1f} h")
    faults = {name: number for name, number in counts.items() if name.startswith("fault: ")}
    for name, number in sorted(counts.items()):
        if name not in faults:
            table.add_row(name, f"{number:,}")
    table.add_row("faults", f"{sum(faults.values()):,}")
    for name, number in sorted(faults.items(), key=lambda fault: -fault[1]):
        table.add_row(f"  {name.removeprefix('fault: ')}", f"{number:,}")
    table.add_row("violations", f"{violations:,}", end_section=True)
    return table


if __name__ == "__main__":
    sys.exit(main())
