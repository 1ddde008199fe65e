"""Test that the memory of replicas that were dropped, closed, reopened or failed is given back without the garbage
collector, and without anything that happens later. Threads that end may hold it for a moment longer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT

SETTLED = ("merged", "altered", "altered back", "reopened", "emptied by half")
GONE = ("closed", "failed", "not opened")


def test_replicas_give_their_memory_back_and_the_account_agrees_with_the_process(tmp_path: Path) -> None:
    child = [sys.executable, "-m", "tests.integration.give_back_child", str(tmp_path / "worker")]
    ended = subprocess.run(child, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    lines = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith('{"step"')]
    told = {line["step"]: line for line in lines}
    loaded = told["loaded 1"]["held"]
    for step in (*(f"dropped {number}" for number in range(1, 11)), *GONE):
        assert told[step]["held"] == 0
        assert told[step]["resident"] <= 0.2 * loaded, (step, lines)
    for step in SETTLED:
        held, resident = told[step]["held"], told[step]["resident"]
        assert 0.8 * (held - told[step]["reserve"]) <= resident <= 1.2 * held, (step, lines)
