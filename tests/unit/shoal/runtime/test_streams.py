"""Test standard streams that are closed or full, in real processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}

CLOSED = """
import os, sys
from shoal.runtime.streams import open_streams, tell
open_streams()
file = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
assert file > 2, file
tell("nobody hears this")
for stream in (sys.stdout, sys.stderr):
    try:
        print("nor this", file=stream, flush=True)
    except OSError as error:
        os.write(file, f"{error.errno} ".encode())
assert sys.stdin is not None and sys.stdin.fileno() == 0
sys.exit(3)
"""

FULL = """
import sys
from shoal.runtime.streams import open_streams, tell
open_streams()
tell("nobody hears this")
sys.stdout.write("nor this")
sys.exit(3)
"""


def run(source: str, redirections: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=ENVIRONMENT)


def test_closed_streams_lend_their_numbers_to_no_file_and_refuse_what_is_printed(tmp_path) -> None:
    done = run(CLOSED, "<&- >&- 2>&-", tmp_path / "file")
    assert done.returncode == 3
    assert (tmp_path / "file").read_text() == "9 9 "


@pytest.mark.parametrize("redirections", [">/dev/full", ">/dev/full 2>&1", "2>/dev/full"])
def test_what_cannot_be_printed_does_not_change_the_exit_code(redirections: str) -> None:
    done = run(FULL, redirections)
    assert done.returncode == 3
    assert "Exception ignored" not in done.stderr
