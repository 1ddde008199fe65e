"""`make bench`: measures Shoal over both wires, raw FAISS and other installed systems on the same work, then how the
cost of Shoal grows, in one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import control, growth, plot, report, shards, shoal_run
from bench.data import BenchData, load
from bench.peers.measure import installed

PARTS = ("shoal", "peers", "growth", "control", "shards")
MANY_SHARDS, IDLE_S = 1_000, 20.0

_PEER_S = 1_800.0
"""Most seconds that one other system may take for everything."""

console = Console(width=None if sys.stdout.isatty() else 160)
"""A log has no width, and the tables have many columns."""


def main() -> int:
    """Measure, print tables, write JSON, Markdown and plots. Returns the exit code."""
    options = _options()
    results: dict[str, Any] = {"machine": _machine(), "command": " ".join(["python -m bench", *sys.argv[1:]])}
    try:
        _measure(options, results)
    finally:
        # A part that fails does not take the figures of the others with it.
        report.show(results, console)
        _write(results, options.out)
    return 0


def _measure(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Measure all parts, and put their figures into the results."""
    if {"shoal", "peers"} & set(options.parts):
        data = load(options.data, options.rows)
        results |= {"rows": len(data.base), "dim": data.base.shape[1]}
        _search(options, data, results)
    if "growth" in options.parts:
        with tempfile.TemporaryDirectory(prefix="shoal-growth-") as folder:
            results["growth"] = growth.measure(Path(folder), min(options.seconds, 4.0), _tell)
    if "control" in options.parts:
        results["control"] = asdict(control.measure(said=lambda line: _tell(f"  {line}")))
    if "shards" in options.parts:
        _tell(f"measuring a worker with {MANY_SHARDS:,} empty shards ...")
        results["shards"] = asdict(shards.measure(MANY_SHARDS, IDLE_S, lambda line: _tell(f"  {line}")))


def _search(options: argparse.Namespace, data: BenchData, results: dict[str, Any]) -> None:
    if "shoal" in options.parts:
        with tempfile.TemporaryDirectory(prefix="shoal-bench-") as folder:
            results |= shoal_run.measure(data, Path(folder), options.workers, options.seconds, _tell)
    if "peers" in options.parts:
        results["peers"] = [_peer(name, options) for name in (options.peers or installed())]


def _peer(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one other system in a process of its own. Returns {"name": ..., "error": ...} if it fails."""
    _tell(f"measuring {name} ...")
    command = [sys.executable, "-W", "ignore", "-m", "bench.peers.measure", name, f"--seconds={options.seconds}"]
    command += [f"--data={options.data}"] if options.data else []
    command += [f"--rows={options.rows}"] if options.rows else []
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_PEER_S, check=False)
    except subprocess.TimeoutExpired:
        return {"name": name, "error": f"it took more than {_PEER_S:.0f} s"}
    last = (ended.stdout.strip().splitlines() or [""])[-1]
    if ended.returncode != 0:
        _tell(f"  {name} failed: {last}")
        return {"name": name, "error": last}
    figures: dict[str, Any] = json.loads(last)
    return figures


def _write(results: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    (folder / "bench.md").write_text(report.markdown(results), encoding="utf-8")
    drawn = plot.draw(results, folder)
    console.print(f"wrote {', '.join(str(path) for path in (folder / 'bench.json', folder / 'bench.md', *drawn))}")


def _machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder that holds the data set (default: SHOAL_DATA or ../shared/data)")
    parser.add_argument("--out", type=Path, default=Path("bench-results"), help="where the JSON, the tables and the plots go")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--rows", type=int, help="use only so many rows")
    parser.add_argument("--workers", type=int, default=1, help="shard workers; one shares its process with the router")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["shoal"], help="what to measure (default: shoal)")
    parser.add_argument("--peers", nargs="+", help="other systems to measure (default: all that are installed)")
    return parser.parse_args()


def _tell(line: str) -> None:
    console.print(line, style="dim" if line.startswith("  ") else None, highlight=False)


if __name__ == "__main__":
    raise SystemExit(main())
