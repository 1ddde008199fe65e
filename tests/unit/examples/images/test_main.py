"""The command line of the image search."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from examples.images.__main__ import arguments, ends, main


def test_arguments() -> None:
    usual = arguments([])
    assert (usual.folder, usual.embedding, usual.port) == (None, None, None)
    own = arguments(["pictures", "--embedding", "m:f", "--port", "0"])
    assert (own.folder, own.embedding, own.port) == (Path("pictures"), "m:f", 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--port", "65536"], "--port is 65536, it must be from 0 to 65535"), (["--once", "--serve"], "not allowed with")],
)
def test_bad_arguments_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        arguments(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "terminal", "ended"), [([], True, False), ([], False, True), (["--serve"], False, False), (["--once"], True, True)]
)
def test_it_ends_by_itself_where_nobody_can_end_it(words: list[str], terminal: bool, ended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert ends(arguments(words)) is ended


def test_a_folder_without_pictures_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--port", "0"]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} holds no picture (.png, .jpg, .jpeg)\n"


def test_an_absent_data_set_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SHOAL_DATA", str(tmp_path))
    assert main(["--port", "0"]) == 1
    assert capsys.readouterr().err.startswith(f"error: fashion-mnist-784-l2.npz is absent from {tmp_path}")


def test_a_port_in_use_is_told_before_anything_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([str(tmp_path), "--port", str(port)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"error: cannot listen on 127.0.0.1:{port}: Address already in use\n")


def test_an_unknown_function_is_told_before_anything_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--embedding", "nowhere"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "error: --embedding is 'nowhere', it must be module:function\n")
