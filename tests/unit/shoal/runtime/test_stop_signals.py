"""Test the signals that end a process, with real processes. A signal that comes while libraries are imported is not
lost, and it prints no traceback.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from shoal.runtime.stop_signals import ENDING, taken_signals
from tests.support.scope import cells

TIMEOUT_S = 60

TWICE = """
import os, signal, sys
from shoal.runtime.stop_signals import StopSignals
stop = StopSignals()
number = int(sys.argv[1])
os.kill(os.getpid(), number)
os.kill(os.getpid(), number)
import threading
told = threading.Event()
stop.when_asked(told.set)
assert told.wait(30) and stop.asked()
again = threading.Event()
stop.when_asked(again.set)
assert again.is_set()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
os.kill(os.getpid(), signal.SIGTERM)
print("ended as it wanted")
"""

AGAIN = """
import os, signal, threading
from shoal.runtime.stop_signals import StopSignals
stop = StopSignals()
told, again = threading.Event(), threading.Event()
stop.when_asked(told.set)
stop.when_asked_again(again.set)
os.kill(os.getpid(), signal.SIGTERM)
assert told.wait(30) and not again.is_set()
os.kill(os.getpid(), signal.SIGINT)
assert again.wait(30)
print("heard twice")
"""

IGNORED = """
import os, signal
from shoal.runtime.stop_signals import StopSignals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stop = StopSignals()
os.kill(os.getpid(), signal.SIGHUP)
assert signal.SIGHUP not in signal.sigpending()
os.kill(os.getpid(), signal.SIGTERM)
while not stop.asked():
    pass
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
print("ended by the other")
"""

AT_IMPORT = """
import os, runpy, signal, sys
module, when, *arguments = sys.argv[1:]

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == when:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module as a program. Ctrl-C is pressed twice when it begins to import the module `when`."""


def run(source: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", source, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_an_ignored_hangup_ends_nothing() -> None:
    assert taken_signals(hangup_ignored=False) == ENDING == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    assert taken_signals(hangup_ignored=True) == {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize("number", sorted(ENDING))
def test_a_signal_is_heard_once_or_twice_and_no_handler_of_a_library_is_called(number: int) -> None:
    done = run(TWICE, int(number))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended as it wanted\n", "")


def test_a_second_signal_is_told_apart() -> None:
    done = run(AGAIN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "heard twice\n", "")


def test_under_nohup_a_hangup_is_not_even_pending() -> None:
    done = run(IGNORED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended by the other\n", "")


ROLES = [
    (module, when) for module in ("coordinator", "shard_worker", "router") for when in ("shoal.core.errors", "grpc", "numpy", "uvloop")
]
SOME = [("coordinator", "grpc"), ("shard_worker", "uvloop"), ("router", "shoal.core.errors")]


@pytest.mark.parametrize(("module", "when"), cells(ROLES, SOME))
def test_ctrl_c_while_a_role_imports_is_a_clean_end(module: str, when: str, tmp_path) -> None:
    data = [f"--data={tmp_path / 'data'}"] if module == "shard_worker" else []
    done = run(AT_IMPORT, module, when, "--etcd=127.0.0.1:1", *data)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("when", cells(["shoal.cli.main", "typer", "grpc", "shoal.cli.recall"], ["shoal.cli.main", "grpc"]))
def test_ctrl_c_while_the_command_imports_is_one_line(when: str) -> None:
    done = run(AT_IMPORT, "shoal.cli.entry", when, "status", "--address=127.0.0.1:1")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "error: interrupted; run it again to go on, nothing is done twice\n"
