"""`python -m tests.chaos.run --minutes N`, or `make chaos MINUTES=N`: random faults on a cluster under load.

Most of the time runs on plain processes in a network that can be cut, the rest on processes that Ray hosts. Exit code 1
if anything acknowledged was lost, an answer was wrong, a call failed in its time, replicas differ, or the cluster did
not heal by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.campaign import Figures, campaign
from tests.chaos.grounds import Ground, PlainGround, plain_cluster
from tests.chaos.outages import in_words
from tests.chaos.ray_ground import RayGround, ray_cluster
from tests.chaos.schedule import Fault
from tests.support.network.private_network import why_no_network

RAY_SHARE = 0.2
LEAST_MINUTES_WITH_RAY = 10.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of a run. only: faults to use; all if empty."""

    minutes: float
    ray_minutes: float
    only: Sequence[Fault]
    evidence: Path


def run(figures: Figures, options: Options, console: Console) -> None:
    """Run both parts; the second one only if the first is good."""
    plain_s, ray_s = 60 * (options.minutes - options.ray_minutes), 60 * options.ray_minutes

    def campaign_on(ground: Ground, prefix: str, seconds: float) -> None:
        if options.only:
            ground.faults = [fault for fault in ground.faults if fault in options.only]
        tell = partial(console.print, style="dim")
        campaign(ground, figures, prefix=prefix, seconds=seconds, evidence=options.evidence, tell=tell)

    if (why := why_no_network()) is not None:
        console.print(f"the network is not cut: {why}", style="yellow")
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, plain_cluster(Path(folder), int(figures.ttl_s)) as cluster:
        campaign_on(PlainGround(cluster), "plain", plain_s)
    if ray_s and figures.good:
        console.print("and now hosted by Ray", style="dim")
        with tempfile.TemporaryDirectory(prefix="chaos-ray-") as folder, ray_cluster(Path(folder), int(figures.ttl_s)) as hosted:
            campaign_on(RayGround(hosted), "ray", ray_s)


def drawn(figures: Figures) -> Table:
    """Return the figures for people."""
    table = Table("what", "how much", box=None)
    for name, value in figures.document().items():
        if name not in ("findings", "evidence"):
            shown = ", ".join(f"{key} {count}" for key, count in value.items()) or "0" if isinstance(value, dict) else str(value)
            table.add_row(name.replace("_", " "), shown)
    return table


def main(arguments: Sequence[str]) -> int:
    """Run, print the figures and write them to a file."""
    parser = argparse.ArgumentParser(
        prog="chaos", description="Random faults on a cluster under load; what was lost, and how long it took."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="in all, without starting and stopping (10)")
    parser.add_argument("--ray-minutes", type=float, help="of these, hosted by Ray (a fifth of 10 or more)")
    parser.add_argument(
        "--seed", type=int, default=int(time.time()) % 100_000, help="of the faults and of what clients do (another each time)"
    )
    parser.add_argument("--ttl-s", type=int, default=2, help="of leases (2)")
    parser.add_argument("--only", action="append", choices=list(Fault), help="this fault and no other; may be given several times")
    parser.add_argument("--json", type=Path, default=Path("bench-results/chaos.json"), help="where the figures go")
    given = parser.parse_args(arguments)
    usual = RAY_SHARE * given.minutes if given.minutes >= LEAST_MINUTES_WITH_RAY else 0.0
    options = Options(
        minutes=given.minutes,
        ray_minutes=usual if given.ray_minutes is None else given.ray_minutes,
        only=[Fault(name) for name in given.only or ()],
        evidence=given.json.parent / f"chaos-seed-{given.seed}",
    )
    console, figures = Console(width=None if sys.stdout.isatty() else 140), Figures(seed=given.seed, ttl_s=given.ttl_s)
    console.print(f"seed {given.seed}")
    run(figures, options, console)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(figures.document(), indent=1))
    console.print(drawn(figures))
    console.print(in_words(figures.outages, figures.ttl_s))
    for finding in figures.findings[:20]:
        console.print(finding, style="bold red")
    if figures.evidence:
        console.print(f"the logs of all roles are in {figures.evidence}", style="bold red")
    return 0 if figures.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
