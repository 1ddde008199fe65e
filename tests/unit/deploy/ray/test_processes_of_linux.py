from __future__ import annotations

import os
import signal
import subprocess
import sys

from shoal.deploy.ray.session import children_of, is_alive, name_of


def test_a_child_is_seen_by_its_name_until_it_ends() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert child.pid in children_of(os.getpid())
    while name_of(child.pid) != "cat":
        # Popen returns when exec closes its pipe. The kernel sets the new name only after that.
        pass
    assert is_alive(child.pid)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(child.pid), "it only waits to be waited for"
    child.communicate()
    assert not is_alive(child.pid)
    assert name_of(child.pid) == ""
    assert child.pid not in children_of(os.getpid())


def test_a_name_with_a_bracket_does_not_confuse(tmp_path) -> None:
    program = tmp_path / "a) Z ("
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as child:
        while name_of(child.pid) != "a) Z (":
            pass
        assert is_alive(child.pid)
        child.communicate(b"\n")
