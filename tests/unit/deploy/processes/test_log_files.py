from __future__ import annotations

from pathlib import Path

import pytest

from shoal.deploy.processes import log_files
from shoal.deploy.processes.log_files import opened_log


def test_a_log_is_continued(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        with opened_log(tmp_path / "logs" / "a.log") as log:
            log.write(line)
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"one\ntwo\n"


def test_a_large_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "LARGE_BYTES", 3)
    file = tmp_path / "a.log"
    file.write_bytes(b"large")
    with opened_log(file) as log:
        log.write(b"new")
    assert file.read_bytes() == b"new"
    assert (tmp_path / "a.log.1").read_bytes() == b"large"
