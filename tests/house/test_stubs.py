"""The generated stubs in the tree are those that the .proto files give now (make proto)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

PROTO = ROOT / "proto"


def committed() -> dict[str, str]:
    """Stubs in the tree, by path."""
    return texts_of(ROOT, [*(ROOT / "shoal/v1").glob("*_pb2*.py*"), *(ROOT / "shoal/store/etcd").glob("*_pb2*.py*")])


def texts_of(root: Path, files: list[Path]) -> dict[str, str]:
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("stubs")
    sources = [str(file.relative_to(PROTO)) for file in sorted(PROTO.rglob("*.proto"))]
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTO}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
    ]
    subprocess.run([*command, *sources], check=True, timeout=60)
    return texts_of(out, list(out.rglob("*_pb2*.py*")))


def test_there_is_a_stub_for_each_proto(generated: dict[str, str]) -> None:
    assert len(list(PROTO.rglob("*.proto"))) * 3 == len(generated)
    assert sorted(committed()) == sorted(generated)


def test_stubs_are_not_stale(generated: dict[str, str]) -> None:
    now = committed()
    assert [path for path in sorted(generated) if now.get(path) != generated[path]] == []


def test_proto_is_no_python_package() -> None:
    assert list(PROTO.rglob("__init__.py")) == []
