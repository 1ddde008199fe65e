"""Where the programs of the servers are, and that their names are nobody else's: with packages of a user that are called as ours are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoal import role
from tests.house.source_tree import PACKAGES, ROOT

ROLES = PACKAGES[1:]


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A user's folder with a package for each of our names."""
    for name in ROLES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the module of the user was taken')\n")
    return tmp_path


def test_in_a_checkout_it_is_the_root() -> None:
    assert role.folder() == ROOT


def test_ours_stand_first_once_and_the_others_keep_their_order() -> None:
    given = os.pathsep.join(["/a", str(ROOT), "/b"])
    made = role.environment({"PYTHONPATH": given, "X": "1"})
    assert made == {"X": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), "/a", "/b"]), "PYTHONSAFEPATH": "1"}
    assert role.environment(made) == made
    assert role.environment({})["PYTHONPATH"] == str(ROOT)


def test_a_process_that_ray_started_finds_ours_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/a", str(ROOT), "/b"])
    role.put_first()
    role.put_first()
    assert sys.path == [str(ROOT), "/a", "/b"]


@pytest.mark.parametrize("name", role.NAMES)
def test_a_role_starts_beside_modules_of_the_same_names(application: Path, name: str) -> None:
    command = [sys.executable, "-P", "-m", "shoal.role", name, "--help"]
    environment = {**os.environ, "PYTHONPATH": str(application)}
    done = subprocess.run(command, env=environment, cwd=application, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: python -m shoal.role {name}" in done.stdout


@pytest.mark.parametrize("words", [[], ["deploy.local"], ["--help"]])
def test_what_is_no_role_is_one_line(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "shoal.role", *words], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: usage: python -P -m shoal.role coordinator|router|shard_worker [--help]\n"
