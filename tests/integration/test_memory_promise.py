"""Test that a worker does not run out of memory: in a process with a hard limit, a replica is filled until it refuses,
and all other calls go on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tests.support.scope import cells

EVERY = [("flat", 256, 10_000), ("hnsw", 768, 3_000), ("auto", 768, 9_000)]


@pytest.mark.parametrize(("index", "dim", "least"), cells(EVERY, [EVERY[1]]))
def test_a_replica_is_filled_until_it_refuses_and_searches_and_deletes_go_on(index: str, dim: int, least: int, tmp_path: Path) -> None:
    """least: number of points that it must take before it refuses.

    An automatic index gives up precision to save memory. So it takes more points than a graph with whole vectors.
    """
    # The limit counts the whole stack of each thread, so stacks are made small.
    child = f"ulimit -s 1024; exec {sys.executable} -m tests.integration.memory_child {tmp_path / 'worker'} {index} {dim} 160"
    environment = {"OMP_NUM_THREADS": "1", "OMP_STACKSIZE": "1M", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(["bash", "-c", child], capture_output=True, text=True, timeout=400, cwd=ROOT, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["most_used"] <= told["budget"]
    assert told["taken"] >= least, "it refused long before it was full"
    assert "no memory for 500 points" in told["refusal"]
    assert told["removed"] == told["taken"] // 2
    assert told["searched"] == [30, 30, 30, 30]
    assert told["again"] > told["taken"] // 4, "what was deleted gave no room"
    assert told["points"] == told["taken"] - told["removed"] + told["again"]
