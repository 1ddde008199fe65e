"""What a check finds, and what it says of one replica: plain values. Owns the verdict; refuses to look at anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

MOST_FINDINGS = 100
"""Of one replica; more are counted. A disk that has lost a megabyte has lost thousands of rows."""


class Severity(StrEnum):
    """damage: stored data is not what was written; warning: nothing is lost; unchecked: it could not be read or
    told.
    """

    DAMAGE = "damage"
    WARNING = "warning"
    UNCHECKED = "unchecked"


class Verdict(IntEnum):
    """Outcome of a check; the value is the exit code."""

    CLEAN = 0
    DAMAGED = 1
    UNCHECKED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """file: path; position: where in it, "" for all of it; meaning: what it is; advice: what to do."""

    severity: Severity
    file: str
    position: str
    meaning: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was read of one replica. log_first, log_last: seqs, 0 and 0 for an empty log; sealed_rows: live rows in
    sealed segments; growing_rows: live rows in none; digest: see fsck.store_check, "" when not every row could be
    read; content: the same over the versions of the points (shoal.shard_worker.fsck.agreement)."""

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
    """Whose replica of which shard it is."""

    cluster: str
    shard: str
    replica: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaReport:
    """One replica. path: of its folder; replica: collection id/shard/replica id, by its place; unshown: findings beyond
    MOST_FINDINGS; ref: what its identity says, None when that cannot be read."""

    path: str
    replica: str
    figures: Figures
    findings: tuple[Finding, ...]
    unshown: int = 0
    ref: Reference | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings."""
        return verdict_of(self.findings)


class Findings:
    """Findings as they are made, bounded."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self.unshown = 0

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def damage(self, file: object, position: str, meaning: str, advice: str) -> None:
        """Note damage."""
        self._note(Finding(severity=Severity.DAMAGE, file=str(file), position=position, meaning=meaning, advice=advice))

    def warning(self, file: object, position: str, meaning: str, advice: str) -> None:
        """Note what is odd, and harmless."""
        self._note(Finding(severity=Severity.WARNING, file=str(file), position=position, meaning=meaning, advice=advice))

    def unchecked(self, file: object, meaning: str, advice: str) -> None:
        """Note what could not be checked."""
        self._note(Finding(severity=Severity.UNCHECKED, file=str(file), position="", meaning=meaning, advice=advice))

    def _note(self, finding: Finding) -> None:
        worse = finding.severity is not Severity.WARNING
        if len(self._kept) >= MOST_FINDINGS and not (worse and self._drop_warning()):
            self.unshown += 1
            return
        self._kept.append(finding)

    def _drop_warning(self) -> bool:
        """Make room for something worse."""
        for at, kept in enumerate(self._kept):
            if kept.severity is Severity.WARNING:
                del self._kept[at]
                self.unshown += 1
                return True
        return False


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """What findings come to: damage counts for more than what could not be checked."""
    found = {finding.severity for finding in findings}
    if Severity.DAMAGE in found:
        return Verdict.DAMAGED
    return Verdict.UNCHECKED if Severity.UNCHECKED in found else Verdict.CLEAN
