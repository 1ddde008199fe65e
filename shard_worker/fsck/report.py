"""Formats the result of a check as text for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from shoal.shard_worker.fsck.finding import Finding, ReplicaReport, Verdict
from shoal.shard_worker.fsck.shard_check import Compared

_HEADINGS = ("replica", "points", "applied", "log", "segments", "sealed", "growing", "MiB", "digest", "verdict")
_LEFT = (0, 8, 9)
"""Columns of text; the others are numbers."""


def as_text(reports: Sequence[ReplicaReport], compared: Sequence[Compared], others: Sequence[Finding], verdict: Verdict) -> str:
    """Return a table with a line per replica, a line per comparison, a line per finding, and the outcome.

    others: findings that belong to no single replica.
    """
    lines = _table([_HEADINGS, *map(_cells, reports)]) if reports else []
    lines += [f"shard {each.shard}: {line}" for each in compared for line in each.lines]
    lines += map(_line, others)
    for report in reports:
        lines += map(_line, report.findings)
        if report.unshown:
            lines.append(f"... and {report.unshown} findings more in {report.path}")
    return "\n".join([*lines, _outcome(reports, verdict)])


def as_json(reports: Sequence[ReplicaReport], compared: Sequence[Compared], others: Sequence[Finding], verdict: Verdict) -> str:
    """Return one document: verdict, replicas with figures and findings, comparisons, findings of no single replica."""
    document = {
        "verdict": verdict.name.lower(),
        "replicas": [{**dataclasses.asdict(report), "verdict": report.verdict.name.lower()} for report in reports],
        "compared": [dataclasses.asdict(each) for each in compared],
        "findings": [dataclasses.asdict(finding) for finding in others],
    }
    return json.dumps(document, indent=1)


def _cells(report: ReplicaReport) -> tuple[str, ...]:
    figures = report.figures
    log = f"{figures.log_first}-{figures.log_last}" if figures.log_records else "-"
    numbers = (figures.segments, figures.sealed_rows, figures.growing_rows)
    return (
        report.replica,
        f"{figures.points:,}",
        f"{figures.applied_seq}",
        log,
        *(f"{number:,}" for number in numbers),
        f"{figures.bytes / 2**20:.1f}",
        figures.digest[:12] or "-",
        report.verdict.name.lower(),
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if at in _LEFT else cell.rjust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _line(finding: Finding) -> str:
    place = f"{finding.file}, {finding.position}" if finding.position else finding.file
    # A message of the storage room begins with the file, which is already in the line.
    meaning = finding.meaning.removeprefix(f"{finding.file}: ").removeprefix(f"{finding.file} ")
    return f"{finding.severity}: {place}: {meaning}; {finding.advice}"


def _outcome(reports: Sequence[ReplicaReport], verdict: Verdict) -> str:
    checked = f"{len(reports)} replica{'' if len(reports) == 1 else 's'} checked"
    match verdict:
        case Verdict.CLEAN:
            return f"{checked}: clean"
        case Verdict.DAMAGED:
            return f"{checked}: damage was found"
        case Verdict.UNCHECKED:
            return f"{checked}: not everything could be checked"
