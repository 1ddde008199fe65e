"""Runs programs without root's right to write everywhere and to listen below 1024, in tests that run as root."""

from __future__ import annotations

import os
import shutil

import pytest

_RIGHTS = ("dac_override", "dac_read_search", "fowner", "net_bind_service")

NOBODY = 65_534
"""A user to whom a folder can belong that is not ours."""


def unprivileged() -> tuple[str, ...]:
    """Return the words that go before a command line. Skips the test where we are not root: only root can give a folder
    to another user.
    """
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    return ("setpriv", "--inh-caps=-all", "--bounding-set=" + ",".join(f"-{right}" for right in _RIGHTS), "--")
