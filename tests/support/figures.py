"""Figures that tests have measured, shown at the end of a run whether the tests pass or not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_FIGURE = "figure"


def show(request: pytest.FixtureRequest, line: str) -> None:
    """Have a line shown at the end of the run."""
    request.node.user_properties.append((_FIGURE, line))


def shown(reports: Iterable[object]) -> list[str]:
    """Return the lines of these reports, in their order. Reports come from this process or from another one."""
    calls = (report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call")
    return [str(value) for report in calls for name, value in report.user_properties if name == _FIGURE]
