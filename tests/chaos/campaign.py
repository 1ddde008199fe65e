"""Rounds of faults on a ground under load.

After each round everything must become whole again by itself, and every point is judged.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import shoal
from tests.chaos.grounds import HEALED_WITHIN_S, Ground
from tests.chaos.judge import Kind
from tests.chaos.mixed_load import Herd, MixedLoad
from tests.chaos.operators import Operations
from tests.chaos.outages import percentile
from tests.chaos.replicas import differences
from tests.chaos.schedule import OPERATIONS, Planned, rounds
from tests.support.cluster.role_cluster import state_of, wait_until

LEAVERS = 2
"""Callers that leave early, besides those that wait."""

LONGEST_CALL_S = 40.0
"""Most seconds that a call with a waiting caller may take: less than its timeout, and more than any fault makes it
wait.
"""

Tell = Callable[[str], None]


@dataclass
class Figures:
    """The results of a campaign.

    failed: client calls that did not succeed in their time, by error; counts: faults of the cluster by kind; findings:
    the first of them; outages: for each failover after a fault of one worker, the seconds in which its shard took no
    writes; tangled: the same, if there were other faults at that time, as of etcd or a router; hand_overs: terms that
    began in rounds in which nothing was harmed and only operators did something, waits: for each of them, the seconds
    in which its shard took no writes; operations: what became of calls of operators, moves and hand-overs of plans;
    left: calls whose callers left, by the way of leaving; longest_call_s: of all other calls.
    """

    seed: int
    ttl_s: float
    minutes: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    failovers: int = 0
    outages: list[float] = field(default_factory=list)
    tangled: list[float] = field(default_factory=list)
    hand_overs: int = 0
    waits: list[float] = field(default_factory=list)
    operations: Operations = field(default_factory=Operations)
    left: Counter[str] = field(default_factory=Counter)
    longest_call_s: float = 0.0
    evidence: str = ""

    @property
    def good(self) -> bool:
        """Return whether nothing was lost, no answer was wrong, no call failed or took too long, and all healed."""
        return not (self.counts or self.failed or self.findings or self.longest_call_s > LONGEST_CALL_S)

    def document(self) -> dict[str, object]:
        """Return the figures for programs."""
        return {
            "seed": self.seed,
            "minutes": round(self.minutes, 2),
            "rounds": self.rounds,
            "faults": dict(sorted(self.faults.items())),
            "acknowledged": self.acknowledged,
            "calls": self.calls,
            **{kind.value: self.counts[kind] for kind in Kind},
            "failed_calls": dict(self.failed),
            "left_calls": dict(sorted(self.left.items())),
            "longest_call_s": round(self.longest_call_s, 3),
            "failovers": self.failovers,
            "lease_ttl_s": self.ttl_s,
            "no_writes_s": _percentiles(self.outages),
            "no_writes_beside_other_faults_s": _percentiles(self.tangled),
            "hand_overs": self.hand_overs,
            "no_writes_in_hand_overs_s": _percentiles(self.waits),
            "operators_calls": dict(sorted(self.operations.outcomes.items())),
            "items_of_plans": dict(sorted(self.operations.items.items())),
            "findings": self.findings,
            "evidence": self.evidence,
        }


def herds(prefix: str) -> tuple[Herd, ...]:
    """Return a collection with two replicas, of which one may be missing, one with three, of which two must have a
    write, and one with named vectors.
    """
    return (
        Herd(name=f"{prefix}-two", shards=2, replicas=2),
        Herd(name=f"{prefix}-three", shards=3, replicas=3),
        Herd.named(f"{prefix}-named", shards=2, replicas=2),
    )


def campaign(ground: Ground, figures: Figures, *, prefix: str, seconds: float, evidence: Path, tell: Tell, pauses: float = 1.0) -> None:
    """Run rounds for `seconds`, then complete the figures. pauses: see MixedLoad.

    Stops at the first fault of the cluster, and keeps its logs.
    """
    chance, began = Random(f"{figures.seed} {prefix}"), time.monotonic()
    planned = rounds(chance, ground.faults, ground.counts, figures.ttl_s)
    with (
        shoal.connect(ground.addresses, timeout=10) as client,
        MixedLoad(ground.addresses, herds(prefix), leavers=LEAVERS, seed=figures.seed, pauses=pauses) as load,
    ):
        try:
            _await_calm(ground, client, load)
            while time.monotonic() - began < seconds and not load.findings:
                _round(ground, client, load, figures, next(planned))
                tell(_progress(figures, load, time.monotonic() - began))
        except AssertionError as error:
            figures.findings.append(f"{prefix}: {error}")
        finally:
            _complete(figures, load, time.monotonic() - began)
            figures.operations += ground.operators.operations
            if not figures.good:
                figures.evidence = str(evidence)
                ground.keep_logs(evidence)


def _round(ground: Ground, client: shoal.Client, load: MixedLoad, figures: Figures, planned: Sequence[Planned]) -> None:
    began, terms = time.monotonic(), _terms(client)
    steps = [(each.after_s, each, True) for each in planned] + [(each.after_s + each.lasts_s, each, False) for each in planned]
    for at_s, each, begins in sorted(steps, key=lambda step: step[0]):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        if begins:
            figures.faults[each.fault.value] += 1
            ground.begin(each, client)
        else:
            ground.end(each, client)
    _await_calm(ground, client, load)
    led_anew = {shard: term - terms[shard] for shard, term in _terms(client).items() if term > terms.get(shard, term)}
    figures.rounds += 1
    gaps = [load.probes[shard].gap_since(began) for shard in led_anew]
    if all(each.fault in OPERATIONS for each in planned):
        figures.hand_overs += sum(led_anew.values())
        figures.waits += gaps
    else:
        figures.failovers += sum(led_anew.values())
        measured = figures.outages if ground.is_plain_failover(planned) else figures.tangled
        measured += gaps
    load.pause()
    load.judge_all()
    for herd in load.herds:
        load.note(differences(client, herd.name, ground.reachable), f"{herd.name}, replicas")
    load.resume()


def _await_calm(ground: Ground, client: shoal.Client, load: MixedLoad) -> None:
    """Wait until everything is whole again by itself and every client succeeds."""
    try:
        wait_until(lambda: ground.is_whole(client), "everything is whole again", HEALED_WITHIN_S)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{state_of(client)}") from error
    now = time.monotonic()
    wait_until(lambda: load.all_succeeded_since(now), "every client goes on", HEALED_WITHIN_S)


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "failovers": len(seconds),
        "p50": round(percentile(seconds, 0.5), 3),
        "p99": round(percentile(seconds, 0.99), 3),
        "max": round(max(seconds, default=0.0), 3),
    }


def _terms(client: shoal.Client) -> dict[tuple[str, int], int]:
    return {(shard.collection, shard.shard): shard.term for shard in client.cluster().shards}


def _complete(figures: Figures, load: MixedLoad, seconds: float) -> None:
    figures.minutes += seconds / 60
    figures.acknowledged += load.acknowledged()
    figures.calls += sum(gauge.successes for gauge in load.gauges)
    figures.failed += load.failures()
    figures.left += load.leavers.left
    figures.longest_call_s = max(figures.longest_call_s, load.longest_call_s())
    figures.counts += load.counts
    figures.findings += [f"{finding.kind.value}: {finding.text}" for finding in load.findings]
    figures.findings += [f"a call failed: {message}" for message in load.messages()]
    if load.longest_call_s() > LONGEST_CALL_S:
        figures.findings.append(f"a call for which somebody waited took {load.longest_call_s():.1f} s, at most {LONGEST_CALL_S:.0f} s may")


def _progress(figures: Figures, load: MixedLoad, seconds: float) -> str:
    faults, failed = sum(figures.faults.values()), sum(load.failures().values())
    return (
        f"{seconds / 60:5.1f} min, {figures.rounds} rounds, {faults} faults, {figures.failovers} failovers, "
        f"{load.acknowledged()} acknowledged, {sum(load.counts.values())} wrong, {failed} failed calls"
    )
