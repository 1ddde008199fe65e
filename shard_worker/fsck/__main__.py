"""`python -m shoal.shard_worker.fsck PATH...`: checks every file and record of stopped workers, and changes nothing.

If several replicas of a shard are given, they are also compared with each other.

Exit code: 0 clean, 1 damage was found, 2 not everything could be checked (a worker runs, a path is wrong, a disk does
not answer).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.core.errors import ShoalError
from shoal.core.ids import ClusterId
from shoal.runtime.stop_signals import unblock_ending_signals
from shoal.runtime.streams import open_streams, tell
from shoal.shard_worker.fsck.finding import Finding, ReplicaReport, Verdict, verdict_of
from shoal.shard_worker.fsck.targets import Targets, find_targets, locked

if TYPE_CHECKING:
    from shoal.shard_worker.fsck.shard_check import Compared

_SHOW_EVERY_S = 1.0
_INTERRUPTED = 130
_NO_READER = 141


def main(arguments: Sequence[str]) -> int:
    """Check the paths in the arguments. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m shoal.shard_worker.fsck", description="Check the data of stopped workers.", allow_abbrev=False
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder of `shoal up`, data folder of a worker, or folder of a replica")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    given = parser.parse_args(arguments)
    try:
        targets = find_targets([Path(path) for path in given.paths])
        with locked(targets):
            checked = _check(targets)
    except ShoalError as error:
        tell(f"error: {error.message}")
        return Verdict.UNCHECKED
    verdict = verdict_of([*checked.others, *(finding for report in checked.reports for finding in report.findings)])
    return _printed(_shown(given.json, checked, verdict)) or verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class _Checked:
    """The results of all checks. others: findings of workers and of comparisons."""

    reports: list[ReplicaReport]
    compared: list[Compared]
    others: list[Finding]


def _check(targets: Targets) -> _Checked:
    # numpy's BLAS reads this at its first import; otherwise it would start threads that are not needed.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from shoal.shard_worker.fsck.replica_check import check_replica, check_worker
    from shoal.shard_worker.fsck.shard_check import compare_replicas

    others: list[Finding] = []
    clusters: dict[Path, ClusterId | None] = {}
    known = [*targets.workers, *(target.worker for target in targets.replicas if target.worker is not None)]
    for worker in dict.fromkeys(known):
        findings, clusters[worker] = check_worker(worker)
        others += findings
    reports = []
    for number, target in enumerate(targets.replicas, start=1):
        show = _Progress(f"{number} of {len(targets.replicas)}, {'/'.join(target.replica.parts[-3:])}")
        reports.append(check_replica(target, clusters[target.worker] if target.worker else None, show))
    compared, differences = compare_replicas(reports)
    return _Checked(reports=reports, compared=compared, others=[*others, *differences])


def _shown(as_json: bool, checked: _Checked, verdict: Verdict) -> str:
    from shoal.shard_worker.fsck import report

    return (report.as_json if as_json else report.as_text)(checked.reports, checked.compared, checked.others, verdict)


def _printed(text: str) -> int:
    """Print the text. Return 0, or the exit code if it cannot be printed.

    If the reader has closed the pipe (`| head -1`), nothing is reported. Characters outside the encoding of stdout are
    escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return _NO_READER
    except OSError as error:
        tell(f"error: the report cannot be written: {error.strerror or error}")
        return Verdict.UNCHECKED
    return 0


class _Progress:
    """Shows a person at a terminal the progress of one replica, at most once per _SHOW_EVERY_S seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next_s = time.monotonic() + _SHOW_EVERY_S

    def __call__(self, text: str) -> None:
        if sys.stderr.isatty() and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _SHOW_EVERY_S
            print(f"replica {self._what}: {text}", file=sys.stderr, flush=True)


def _program() -> int:
    open_streams()
    try:
        # `shoal fsck` blocks these signals until here.
        unblock_ending_signals()
        return main(sys.argv[1:])
    except KeyboardInterrupt:
        tell("error: interrupted; nothing was changed")
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(_program())
