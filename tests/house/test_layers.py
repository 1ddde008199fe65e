"""Who may import whom: the contracts of pyproject.toml hold, and each of them would notice a breach."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.source_tree import PACKAGES
from tests.support.repository import ROOT

BREACHES = {
    "coordinator/planted.py": "import shoal.router.settings",
    "shoal/core/planted.py": "import asyncio",
    "shoal/core/planted_too.py": "import shoal.deploy.settings",
    "router/verbs/planted.py": "import faiss",
    "shoal/store/codecs.py": "import shoal.store.etcd.client",
    "router/cluster/planted.py": "import shoal.store.etcd.etcd_rpc_pb2",
    "router/logic/planted.py": "import shoal.router.verbs.reads",
    "shard_worker/logic/planted.py": "import shoal.shard_worker.replica.replica",
    "shard_worker/index/native/planted.py": "import shoal.shard_worker.index.search.planner",
    "shard_worker/storage/log/planted.py": "import shoal.shard_worker.storage.folders.worker_folder",
    "coordinator/logic/planted.py": "import shoal.coordinator.act",
    "deploy/ray/planted.py": "import shoal.deploy.local.up",
}
"""One for each contract, in their order."""


def lint_imports(folder: Path) -> tuple[int, str]:
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def verdicts(output: str) -> tuple[int, int]:
    """Contracts kept and broken."""
    found = re.search(r"Contracts: (\d+) kept, (\d+) broken", output)
    assert found, output
    return int(found.group(1)), int(found.group(2))


def test_contracts_hold() -> None:
    code, output = lint_imports(ROOT)
    assert code == 0, output
    assert verdicts(output) == (len(BREACHES), 0)


@pytest.fixture
def copy_of_tree(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_each_contract_notices_a_breach(copy_of_tree: Path) -> None:
    for file, source in BREACHES.items():
        with (copy_of_tree / file).open("a") as planted:
            planted.write(f"\n{source}\n")
    code, output = lint_imports(copy_of_tree)
    assert code != 0
    assert verdicts(output) == (0, len(BREACHES)), output
