"""Figures that tests have measured, shown at the end of a run whether the tests pass or fail."""

from __future__ import annotations

import pytest

_FIGURES = "shoal_figures"
_KEY = pytest.StashKey[list[str]]()


def show(request: pytest.FixtureRequest, line: str) -> None:
    """Show a line at the end of the run. A worker of pytest-xdist sends it to the controller when the worker ends."""
    worker: dict[str, list[str]] | None = getattr(request.config, "workeroutput", None)
    lines = shown(request.config) if worker is None else worker.setdefault(_FIGURES, [])
    lines.append(line)


def gather(config: pytest.Config, worker: dict[str, list[str]]) -> None:
    """Add the lines that a worker sent when it ended."""
    shown(config).extend(worker.get(_FIGURES, ()))


def shown(config: pytest.Config) -> list[str]:
    """Return the lines to show, including those of ended workers."""
    return config.stash.setdefault(_KEY, [])
