"""What the wheel holds: our packages, the types marker and the stubs; neither tests, bench nor proto."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import setuptools

from tests.house.source_tree import PACKAGES, ROOT

FORBIDDEN = ("tests", "bench", "proto", "docs")
RECENT_SETUPTOOLS = 77
"""The first that understands our pyproject.toml (a licence expression)."""

recent = int(setuptools.__version__.split(".")[0]) >= RECENT_SETUPTOOLS


def configured() -> dict[str, list[str]]:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return {"include": tool["packages"]["find"]["include"], "data": tool["package-data"]["*"]}


def test_the_packages_are_ours() -> None:
    found = setuptools.find_packages(str(ROOT), include=configured()["include"])
    assert {name.split(".")[0] for name in found} == set(PACKAGES)
    folders = {str(file.parent.relative_to(ROOT)).replace("/", ".") for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert sorted(folders - set(found)) == [], "a folder with Python files lacks __init__.py"


def test_types_travel() -> None:
    assert {"py.typed", "*.pyi"} <= set(configured()["data"])
    assert (ROOT / "shoal/py.typed").exists()


@pytest.mark.skipif(not recent, reason=f"building a wheel needs setuptools {RECENT_SETUPTOOLS}; the two tests above hold its recipe")
def test_a_built_wheel(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "shoal-data"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        str(tree),
    ]
    subprocess.run(command, check=True, timeout=120)
    (wheel,) = tmp_path.glob("shoal-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops & set(FORBIDDEN) == set()
    assert tops - set(PACKAGES) == {next(top for top in tops if top.endswith(".dist-info"))}
    assert {"shoal/py.typed", "shoal/v1/points_pb2.pyi"} <= set(names)
