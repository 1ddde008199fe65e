"""Test findings: their number is bounded, the worst are kept, and the verdict is that of the worst one."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.fsck.finding import MOST_FINDINGS, Finding, Findings, Severity, Verdict, verdict_of


def finding(severity):
    return Finding(severity=severity, file="f", position="", meaning="m", advice="a")


@given(st.lists(st.sampled_from(Severity), max_size=3 * MOST_FINDINGS))
def test_no_finding_is_forgotten_without_being_counted_and_warnings_go_first(severities):
    findings = Findings()
    for severity in severities:
        if severity is Severity.DAMAGE:
            findings.damage("f", "", "m", "a")
        elif severity is Severity.WARNING:
            findings.warning("f", "", "m", "a")
        else:
            findings.unchecked("f", "m", "a")
    kept = list(findings)
    assert len(kept) == min(len(severities), MOST_FINDINGS)
    assert len(kept) + findings.unshown == len(severities)
    worse = [each for each in severities if each is not Severity.WARNING]
    assert [each.severity for each in kept if each.severity is not Severity.WARNING] == worse[:MOST_FINDINGS]


@given(st.lists(st.sampled_from(Severity), max_size=5))
def test_the_verdict(severities):
    verdict = verdict_of([finding(severity) for severity in severities])
    if Severity.DAMAGE in severities:
        assert verdict is Verdict.DAMAGED
    elif Severity.UNCHECKED in severities:
        assert verdict is Verdict.UNCHECKED
    else:
        assert verdict is Verdict.CLEAN


def test_the_verdict_is_the_exit_code():
    assert {verdict.name: int(verdict) for verdict in Verdict} == {"CLEAN": 0, "DAMAGED": 1, "UNCHECKED": 2}
