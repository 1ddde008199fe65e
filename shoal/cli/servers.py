"""How a command becomes a program of the servers, which this package may not import."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence

from shoal.core.errors import NotInstalled
from shoal.runtime.stop_signals import block_ending_signals, unblock_ending_signals


def become(command: str, program: str, words: Iterable[str], needed: Sequence[str]) -> None:
    """Replace this process by `python -m program words...`; its exit code is then the command's.

    needed: packages of others that must be installed. Raises NotInstalled naming the first that is not.
    """
    missing = next((name for name in needed if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise NotInstalled(f"`{command}` needs {missing}, a server package that is not installed: pip install 'shoal[server]'")
    # Until the program takes them, they wait: its start takes long enough to be interrupted.
    block_ending_signals()
    try:
        # Nothing of the current folder is taken for a package.
        os.execve(sys.executable, [sys.executable, "-m", program, *words], {**os.environ, "PYTHONSAFEPATH": "1"})
    finally:
        unblock_ending_signals()
