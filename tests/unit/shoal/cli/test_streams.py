"""Test commands whose stdout or stderr refuses what they print: each ends with one `error:` line and an exit code,
never with a traceback.
"""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from shoal.cli import output
from shoal.cli.connection import Connection
from shoal.cli.main import app
from tests.twins.router_answers import PausingClock, client_with
from tests.unit.shoal.cli.files import npy

PRINTING = [
    ["status"],
    ["status", "--json"],
    ["collection", "list"],
    ["collection", "list", "--json"],
    ["collection", "show", "c"],
    ["collection", "create", "d", "--dim", "2"],
    ["collection", "drop", "c", "-y"],
    ["collection", "optimize", "c"],
    ["collection", "alter", "c", "--recall", "0.9"],
    ["search", "c", "--vector", "[0,1]"],
    ["search", "c", "--vector", "[0,1]", "--json"],
    ["search", "c", "--vector", "[0,1]", "--id-only"],
    ["search", "c", "--vectors", "QUERIES", "--json"],
    ["search", "c", "--vectors", "QUERIES"],
    ["get", "c", "--id", "1"],
    ["count", "c"],
    ["scroll", "c"],
    ["set-payload", "c", '{"t": "é"}', "--id", "1", "--yes"],
    ["delete", "c", "--id", "1", "--yes"],
    ["import", "QUERIES", "--collection", "c"],
    ["size", "--points", "1000", "--dim", "8"],
    ["audit"],
    ["--version"],
    ["--help"],
    ["scroll", "--help"],
]


@pytest.fixture
def filled(shoal):
    shoal("collection", "create", "c", "--dim", 2)
    client_with(shoal.answer, clock=PausingClock()).upsert("c", [1, "é👍"], [[0, 1], [1, 0]], [{"t": "é👍"}, {"n": 2}])
    return shoal


@pytest.fixture
def run(filled, tmp_path, monkeypatch):
    """Return a function that runs a command with these streams and returns its exit code."""
    queries = npy(tmp_path, np.eye(2))

    def with_streams(words, out, err):
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            app([str(queries) if word == "QUERIES" else word for word in words], obj=Connection(connect=filled.connect), prog_name="shoal")
        return ended.value.code

    return with_streams


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
def test_a_full_disk_under_stdout_is_one_line_in_every_command(run, words):
    said = io.StringIO()
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert run(words, full, said) == 1
    lines = said.getvalue().splitlines()
    assert lines[-1].startswith("error: ")
    assert "No space left on device" in lines[-1]
    assert len(lines) == 1


@pytest.mark.parametrize("words", PRINTING[::4], ids=" ".join)
def test_a_full_disk_under_stderr_is_not_reported(run, words):
    out = io.StringIO()
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert run(words, out, full) == 0
        # Closing the file writes the rest of its buffer again, so it must not be /dev/full any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
    assert out.getvalue()


def test_an_error_that_cannot_be_told_has_its_exit_code(run):
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert run(["count", "absent"], io.StringIO(), full) == 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize("words", PRINTING[::4], ids=" ".join)
def test_a_stdout_that_was_closed_before_is_no_matter(run, words):
    assert run(words, None, io.StringIO()) == 0


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize(
    "words", [["scroll", "c"], ["search", "c", "--vector", "[0,1]"], ["search", "c", "--vector", "[0,1]", "--json"], ["count", "👍é"]]
)
def test_what_an_encoding_lacks_is_escaped_as_in_json(run, words, encoding):
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    code = run(words, out, err)
    out.flush()
    err.flush()
    text = out.buffer.getvalue().decode(encoding) + err.buffer.getvalue().decode(encoding)
    assert (code, len(text.splitlines()) == 1) == ((1, True) if words[0] == "count" else (0, "--json" in words))
    assert ("👍" if encoding == "utf-8" else "\\ud83d\\udc4d") in text
    assert "é" in text
    if words[0] == "scroll":
        assert [json.loads(line)["id"] for line in text.splitlines()] == [1, "é👍"]


def test_half_a_character_that_an_older_version_stored_is_printed_as_it_was_written(run, filled):
    filled.cluster.points["c"][1] = (np.ones(2, dtype=np.float32), b'{"t":"\\ud800","n":1e400}')
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert run(["get", "c", "--id", "1"], out, io.StringIO()) == 0
    out.flush()
    assert out.buffer.getvalue().decode() == '{"id": 1, "payload": {"t": "\\ud800", "n": "Infinity"}}\n'


@pytest.mark.parametrize(
    "words",
    [["scroll", "c"], ["get", "c", "--id", "1"], ["search", "c", "--vector", "[0,1]", "--json"], ["search", "c", "--vector", "[0,1]"]],
)
def test_a_payload_deeper_than_python_likes_is_printed(run, filled, words):
    levels = 5 * sys.getrecursionlimit()
    filled.cluster.points["c"][1] = (np.ones(2, dtype=np.float32), b'{"a":' * levels + b"1" + b"}" * levels)
    out = io.StringIO()
    assert run(words, out, io.StringIO()) == 0
    deep = '{"a": ' * levels + "1" + "}" * levels
    assert (deep if words[-1] != "[0,1]" else deep[:90]) in out.getvalue()


def test_a_terminal_that_is_gone_is_one_line(run, monkeypatch):
    class Gone(io.StringIO):
        def isatty(self):
            return True

        def write(self, text):
            raise OSError(5, "Input/output error")

    said = io.StringIO()
    assert run(["collection", "list"], Gone(), said) == 1
    assert said.getvalue().splitlines() == [
        "error: the output cannot be written: Input/output error; what the command changed is changed; make room, or write it elsewhere"
    ]


@pytest.mark.parametrize("words", [["size", "--points", "1000", "--dim", "8"], ["--help"]])
def test_a_real_process_ends_with_one_line_and_says_so_by_its_exit_code(words):
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", "from shoal.cli.main import main; main()", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    assert "No space left on device" in ended.stderr


def test_json_of_any_depth_is_one_line():
    value = []
    for _ in range(5 * sys.getrecursionlimit()):
        value = [value]
    assert output.json_text(value).count("[") == 5 * sys.getrecursionlimit() + 1
