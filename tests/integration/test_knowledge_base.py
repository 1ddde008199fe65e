"""`make demo-kb` on a folder of the user: what it says, and that Ctrl-C ends it and its cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT
from tests.support.scope import LONG

GUIDE = """# Scaling

## Adding a TiKV node

Run `tiup cluster scale-out` with a topology file. The new node takes Regions until all nodes hold equally many.

## Removing one node safely

Run `tiup cluster scale-in`. Wait until its Regions have moved.

# 备份与恢复

## 如何备份整个集群

使用 br 工具备份整个集群的数据，并保存到对象存储。
"""


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "guide.md").write_text(GUIDE, encoding="utf-8")
    (folder / "notes.txt").write_text("Cats sleep most of the day.\n\nDogs want to be walked.", encoding="utf-8")
    return folder


@pytest.fixture
def started(texts: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-u", "-m", "examples.knowledge_base", str(texts), "--ask", "how to add a TiKV node", "--ask", "备份集群"]
    environment = {**os.environ, "COLUMNS": "200", "TMPDIR": str(tmp_path), "NO_COLOR": "1"}
    with subprocess.Popen(
        [*command, "--plot", str(tmp_path / "plot.png")],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.timeout(170)
def test_a_folder_is_asked_and_judged(started: subprocess.Popen[str], tmp_path: Path) -> None:
    said, wrong = started.communicate(timeout=160)
    assert (started.returncode, wrong) == (0, "")
    answers = said.partition("? how to add a TiKV node\n")[2]
    assert answers.splitlines()[0].startswith(f"  1. guide.md, character {GUIDE.index('Run `tiup cluster scale-out`')}, score 1.000")
    assert "Scaling > Adding a TiKV node" in answers.splitlines()[1]
    assert "使用 br 工具备份整个集群的数据" in answers.partition("? 备份集群\n")[2]
    assert "3 headings as questions" in said
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert list(tmp_path.glob("shoal-kb-*")) == []


@pytest.mark.skipif(not LONG, reason="one more start; test_local_signals ends clusters in more ways")
@pytest.mark.timeout(170)
def test_ctrl_c_ends_it_and_its_cluster(started: subprocess.Popen[str], tmp_path: Path) -> None:
    assert started.stdout is not None
    before = next(line for line in started.stdout if "waiting for the router" in line or "ready" in line)
    assert before
    started.send_signal(signal.SIGINT)
    said, wrong = started.communicate(timeout=160)
    assert (started.returncode, wrong) == (130, "stopped by Ctrl-C\n")
    assert "stopped" in said
    assert list(tmp_path.glob("shoal-kb-*")) == []
