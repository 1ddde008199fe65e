from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shoal.core.api_keys import key_text
from shoal.core.errors import InvalidArgument
from shoal.runtime.key_file import key_from_file, write_key_file

TEXT = key_text("0a" * 6, bytes(32))


def test_a_key_that_was_written_is_read_and_not_written_over(tmp_path: Path) -> None:
    path = str(tmp_path / "key")
    write_key_file(path, TEXT, "admin_key_file")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert key_from_file(path, "admin_key_file") == TEXT
    with pytest.raises(InvalidArgument, match="File exists"):
        write_key_file(path, TEXT, "admin_key_file")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text(TEXT)
    path.chmod(mode)
    with pytest.raises(InvalidArgument, match=f"mode {mode:04o}"):
        key_from_file(str(path), "admin_key_file")


@pytest.mark.parametrize("text", ["", "secret", TEXT + "\n" + TEXT, "é" + TEXT, TEXT + " " * 1_100])
def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    if text.startswith(TEXT + "  "):
        assert key_from_file(str(path), "x") == TEXT
        return
    with pytest.raises(InvalidArgument, match="holds no key") as refused:
        key_from_file(str(path), "admin_key_file")
    assert refused.value.details.field == "admin_key_file"
    assert "secret" not in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="No such file"):
        key_from_file(str(tmp_path / "none"), "admin_key_file")
    with pytest.raises(InvalidArgument, match="Is a directory"):
        key_from_file(str(tmp_path), "admin_key_file")
