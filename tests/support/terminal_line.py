"""A figure that a test has measured, shown whether it passes or not."""

from __future__ import annotations

import pytest


def show(request: pytest.FixtureRequest, line: str) -> None:
    """Print a line past pytest's capture."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{line}", flush=True)
