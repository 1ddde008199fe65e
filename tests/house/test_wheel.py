"""What the wheel holds: our packages, the types marker and the stubs; neither tests, bench nor proto."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools

from tests.house.source_tree import PACKAGES
from tests.support.repository import ROOT

RECENT_SETUPTOOLS = 77
"""The first that understands our pyproject.toml (a licence expression)."""

recent = int(setuptools.__version__.split(".")[0]) >= RECENT_SETUPTOOLS


def configured() -> dict[str, Any]:
    setup: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return setup


def test_the_folders_of_the_roles_are_links_below_shoal() -> None:
    assert {link.name: str(link.readlink()) for link in (ROOT / "shoal").iterdir() if link.is_symlink()} == {
        name: f"../{name}" for name in PACKAGES if name != "shoal"
    }


def test_each_folder_with_python_files_is_a_package() -> None:
    """Or it would be missing in the wheel."""
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_types_travel() -> None:
    assert {"py.typed", "*.pyi"} <= set(configured()["package-data"]["*"])
    assert (ROOT / "shoal/py.typed").exists()


@pytest.mark.skipif(not recent, reason=f"building a wheel needs setuptools {RECENT_SETUPTOOLS}; the two tests above hold its recipe")
def test_a_built_wheel(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "shoal-data"))
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
    assert tops == {"shoal", next(top for top in tops if top.endswith(".dist-info"))}, "the wheel owns one name"
    wanted = {file.relative_to(ROOT) for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    below = {str(file) if file.parts[0] == "shoal" else f"shoal/{file}" for file in wanted}
    assert {name for name in names if name.endswith(".py")} == below
    assert {"shoal/py.typed", "shoal/v1/points_pb2.pyi"} <= set(names)
