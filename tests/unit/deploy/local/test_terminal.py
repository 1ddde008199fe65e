"""Test lines for the terminal when nobody reads them: they are in the log, and nothing waits for the terminal."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shoal.deploy.local import terminal
from shoal.deploy.local.terminal import Terminal


@contextmanager
def standard_output(descriptor: int) -> Iterator[None]:
    """Make `descriptor` the standard output (number 1) of this process within the context."""
    kept = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def terminal_on(descriptor: int) -> Terminal:
    with standard_output(descriptor):
        return Terminal()


def test_lines_come_in_order_and_all_before_the_end(capfd: pytest.CaptureFixture[str]) -> None:
    with Terminal() as opened:
        for number in range(100):
            opened.say(f"line {number}")
    assert capfd.readouterr().out.split("\n")[:-1] == [f"line {number}" for number in range(100)]


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def terminal_that_is_gone() -> int:
    main, side = pty.openpty()
    os.close(main)
    return side


def full_device() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("made", [closed_pipe, terminal_that_is_gone, full_device])
def test_output_that_is_lost_ends_nothing_and_is_said_once_in_the_log(made, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lost = made()
    with terminal_on(lost) as opened:
        for number in range(3):
            opened.say(f"line {number}")
    os.close(lost)
    assert sum("output_lost" in line for line in caplog.messages) == 1
    assert [line for line in caplog.messages if line.startswith("line")] == ["line 0", "line 1", "line 2"]


def test_output_that_is_back_is_used_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    file = (tmp_path / "out").open("wb")
    opened = Terminal()
    os.dup2(full := full_device(), opened._out)
    opened.say("not shown")
    while "output_lost" not in caplog.text:
        pass
    os.dup2(file.fileno(), opened._out)
    with opened:
        opened.say("shown")
    os.close(full)
    assert (tmp_path / "out").read_text() == "shown\n"
    assert "output_is_back lines_not_shown=1" in caplog.text


def test_a_reader_that_is_stuck_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal after Ctrl-S or a pipe into a pager may block a write for ever."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    monkeypatch.setattr(terminal, "CLOSE_TIMEOUT_S", 0.1)
    with terminal_on(writing) as stuck:
        for number in range(5_000):
            stuck.say(f"line {number}")
    assert os.read(reading, 4096).startswith(b"line 0\nline 1\n")
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_a_descriptor_that_does_not_block_gets_every_line() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    wanted = "".join(f"line {number}\n" for number in range(900)).encode()
    with terminal_on(writing) as opened:
        for number in range(900):
            opened.say(f"line {number}")
        got = b""
        while len(got) < len(wanted):
            got += os.read(reading, 4096)
    assert got == wanted
    for descriptor in (reading, writing):
        os.close(descriptor)
