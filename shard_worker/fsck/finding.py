"""Findings and reports of a check, as plain values. Owns the verdict; reads no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

MOST_FINDINGS = 100
"""Most findings kept for one replica; more are only counted. A disk that lost a megabyte has lost thousands of rows."""


class Severity(StrEnum):
    """damage: stored data is not what was written; warning: nothing is lost; unchecked: data could not be read."""

    DAMAGE = "damage"
    WARNING = "warning"
    UNCHECKED = "unchecked"


class Verdict(IntEnum):
    """The outcome of a check; the value is the exit code."""

    CLEAN = 0
    DAMAGED = 1
    UNCHECKED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One finding. file: path; position: in the file, "" for all of it; meaning: what is wrong; advice: what to do."""

    severity: Severity
    file: str
    position: str
    meaning: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """Figures of one replica.

    log_first, log_last: seqs, 0 and 0 for an empty log; sealed_rows: live rows in sealed segments; growing_rows: live
    rows in no segment; digest: see fsck.store_check, "" if not every row could be read; content: the same over the
    versions of the points (shoal.shard_worker.fsck.agreement).
    """

    points: int = 0
    applied_seq: int = 0
    known_term: int = 0
    log_first: int = 0
    log_last: int = 0
    log_records: int = 0
    requests: int = 0
    segments: int = 0
    sealed_rows: int = 0
    growing_rows: int = 0
    bytes: int = 0
    digest: str = ""
    content: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The cluster, shard and replica id that a replica folder names."""

    cluster: str
    shard: str
    replica: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaReport:
    """The report of one replica.

    path: of its folder; replica: collection id/shard/replica id, from the path; unshown: number of findings beyond
    MOST_FINDINGS; ref: from its identity file, None if that cannot be read.
    """

    path: str
    replica: str
    figures: Figures
    findings: tuple[Finding, ...]
    unshown: int = 0
    ref: Reference | None = None

    @property
    def verdict(self) -> Verdict:
        """Return the worst of its findings."""
        return verdict_of(self.findings)


class Findings:
    """Collects findings, up to a bound."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self.unshown = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def damage(self, file: object, position: str, meaning: str, advice: str) -> None:
        """Note damage."""
        self._note(Finding(severity=Severity.DAMAGE, file=str(file), position=position, meaning=meaning, advice=advice))

    def warning(self, file: object, position: str, meaning: str, advice: str) -> None:
        """Note something odd but harmless."""
        self._note(Finding(severity=Severity.WARNING, file=str(file), position=position, meaning=meaning, advice=advice))

    def unchecked(self, file: object, meaning: str, advice: str) -> None:
        """Note that something could not be checked."""
        self._note(Finding(severity=Severity.UNCHECKED, file=str(file), position="", meaning=meaning, advice=advice))

    def _note(self, finding: Finding) -> None:
        worse = finding.severity is not Severity.WARNING
        if len(self._kept) >= MOST_FINDINGS and not (worse and self._drop_warning()):
            self.unshown += 1
            return
        self._kept.append(finding)

    def _drop_warning(self) -> bool:
        """Drop one warning, to keep a worse finding. Return whether there was one."""
        for at, kept in enumerate(self._kept):
            if kept.severity is Severity.WARNING:
                del self._kept[at]
                self.unshown += 1
                return True
        return False


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict of the findings: damage outranks unchecked."""
    found = {finding.severity for finding in findings}
    if Severity.DAMAGE in found:
        return Verdict.DAMAGED
    return Verdict.UNCHECKED if Severity.UNCHECKED in found else Verdict.CLEAN
