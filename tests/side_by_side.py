"""`python -m tests.side_by_side`: every test, in two pytest processes at once: one that computes, one that mostly waits
for clusters.

On two cores that takes little longer than the second of them alone. What waits is shown as it runs, what computes when
both have ended; the last lines name what failed in either and add up both summaries. Exit code: 0 when both have
passed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shoal.deploy.processes.die_with_parent import DYING_WITH_US

ROOT = Path(__file__).parents[1]
COMPUTING = (
    "tests/unit",
    "tests/house",
    "tests/contract",
    "tests/simulation",
    "tests/integration/test_damage.py",
    "tests/integration/test_kill_points.py",
    "tests/integration/test_memory_promise.py",
    "tests/integration/test_recall_targets.py",
)
"""The other process runs everything else, so that no test is left out of both."""

NO_TESTS = 5
"""Exit code of pytest when a part has none, as with `-k`."""

STOP_S = 60.0

_COUNT = re.compile(r"(\d+) (passed|failed|error|skipped|deselected|xfailed|xpassed|warning)")
_NAMED = ("FAILED ", "ERROR ")


def main(options: Sequence[str]) -> int:
    """Run both parts with these further options of pytest. Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoal-tests-") as folder:
        shown, quiet = Path(folder) / "waiting", Path(folder) / "computing"
        codes = _run_both(options, shown, quiet)
        sys.stdout.buffer.write(b"\n" + quiet.read_bytes())
        texts = [output.read_text(errors="replace") for output in (shown, quiet)]
    print(summary(texts, time.monotonic() - began), flush=True)
    return max(0 if code == NO_TESTS else abs(code) for code in codes)


def _run_both(options: Sequence[str], shown: Path, quiet: Path) -> tuple[int, int]:
    ignoring = [f"--ignore={path}" for path in COMPUTING]
    with (
        quiet.open("wb") as file,
        _pytest("computing", [*COMPUTING, *options], file) as computing,
        _pytest("waiting", ["tests", *ignoring, *options], subprocess.PIPE) as waiting,
    ):
        _show(waiting, shown)
        return waiting.wait(), computing.wait()


@contextmanager
def _pytest(name: str, arguments: Sequence[str], output: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """pytest as a process that does not outlive this one; when it still runs in the end, it is asked to end its
    clusters and itself.
    """
    command = [*DYING_WITH_US, str(os.getpid()), sys.executable, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{name}", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(STOP_S)


def _show(process: subprocess.Popen[bytes], copy: Path) -> None:
    """Pass on what it prints, and keep it."""
    assert process.stdout is not None
    with copy.open("wb") as kept:
        while some := os.read(process.stdout.fileno(), 65_536):
            kept.write(some)
            sys.stdout.buffer.write(some)
            sys.stdout.buffer.flush()


def summary(texts: Sequence[str], seconds: float) -> str:
    """What failed, and how many did what, as pytest says it."""
    counts, failed = Counter[str](), []
    for text in texts:
        lines = text.rstrip().splitlines() or [""]
        counts.update({word: int(count) for count, word in _COUNT.findall(lines[-1])})
        failed += [line for line in lines if line.startswith(_NAMED)]
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda each: each[0] != "failed")) or "no tests ran"
    return "\n".join([*failed, f" {told} in {seconds:.2f}s ".center(100, "=")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
