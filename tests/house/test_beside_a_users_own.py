"""The programs of the servers start beside modules of a user that are called as our folders are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source_tree import PACKAGES


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A user's folder with a package for each of our folders."""
    for name in PACKAGES[1:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the module of the user was taken')\n")
    return tmp_path


@pytest.mark.parametrize("name", ["coordinator", "router", "shard_worker"])
def test_a_role_starts_beside_modules_of_the_same_names(application: Path, name: str) -> None:
    command = [sys.executable, "-P", "-m", f"shoal.{name}", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(application)}
    done = subprocess.run(command, env=environment, cwd=application, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: python -m shoal.{name}" in done.stdout
