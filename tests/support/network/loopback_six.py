"""Whether this machine has ::1."""

from __future__ import annotations

import socket

import pytest


def has_six() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_six = pytest.mark.skipif(not has_six(), reason="this machine has no ::1")
