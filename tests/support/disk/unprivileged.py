"""Runs programs without root's right to write everywhere and to listen below 1024, in tests that run as root."""

from __future__ import annotations

import os
import shutil

import pytest

_RIGHTS = ("dac_override", "dac_read_search", "fowner", "net_bind_service")

NOBODY = 65_534
"""The id of another user, to whom a folder can belong."""


def unprivileged() -> tuple[str, ...]:
    """Return the command prefix. Skips the test if we are not root: only root can give a folder to another user."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    return ("setpriv", "--inh-caps=-all", "--bounding-set=" + ",".join(f"-{right}" for right in _RIGHTS), "--")
