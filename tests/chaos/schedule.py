"""Decides which faults come when: pure, from a seed.

One or two faults at a time, never two on one process, and a wiped disk alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Fault(StrEnum):
    """The kinds of faults, with what operators do while something else may fail.

    CUT_FROM_WORKER: messages from one worker to another are lost, in this direction only; PLAN_APPLIED: a plan of
    moves, or the way back of the last one, if nothing is to be moved; PLAN_CANCELLED: the same, and it is cancelled;
    WORKER_DRAINED, WORKER_YIELDS: it is to hold nothing, or only to lead nothing, and is taken back at the end;
    NEWCOMER_ADDED: one more worker, which gets its share, and is drained, stopped and forgotten at the end.
    """

    WORKER_KILLED = "worker killed"
    WORKER_FROZEN = "worker frozen"
    WORKER_ISOLATED = "worker isolated"
    CUT_FROM_ETCD = "worker cut from etcd"
    CUT_FROM_WORKER = "worker cut from another"
    REPLICA_WIPED = "replica wiped"
    WORKER_WIPED = "worker wiped"
    COORDINATOR_KILLED = "coordinator killed"
    COORDINATOR_FROZEN = "coordinator frozen"
    ROUTER_KILLED = "router killed"
    ROUTER_FROZEN = "router frozen"
    ETCD_KILLED = "etcd killed"
    ETCD_FROZEN = "etcd frozen"
    PLAN_APPLIED = "plan applied"
    PLAN_CANCELLED = "plan cancelled"
    WORKER_DRAINED = "worker drained"
    WORKER_YIELDS = "worker drained of primaries"
    NEWCOMER_ADDED = "newcomer added"


WIPES = (Fault.REPLICA_WIPED, Fault.WORKER_WIPED)
MENDABLE = (Fault.WORKER_ISOLATED, Fault.CUT_FROM_ETCD, Fault.CUT_FROM_WORKER)
"""Faults of the network, which need a network that can be cut."""
OPERATIONS = (Fault.PLAN_APPLIED, Fault.PLAN_CANCELLED, Fault.WORKER_DRAINED, Fault.WORKER_YIELDS, Fault.NEWCOMER_ADDED)
"""What operators do. None of it harms a process."""

_LIKELY: Mapping[Fault, int] = {
    Fault.WORKER_KILLED: 6,
    Fault.WORKER_FROZEN: 4,
    Fault.WORKER_ISOLATED: 3,
    Fault.WORKER_WIPED: 1,
    Fault.PLAN_APPLIED: 4,
    Fault.WORKER_DRAINED: 4,
    Fault.NEWCOMER_ADDED: 1,
}
_USUAL = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A planned fault.

    target: number of the process; other: number of a second process, if the fault needs one; after_s: when it begins,
    within its round.
    """

    fault: Fault
    target: int
    other: int
    after_s: float
    lasts_s: float

    @property
    def role(self) -> str:
        """Return the role of the process that it harms, or what an operator uses: one plan, one newcomer."""
        return role_of(self.fault)


def role_of(fault: Fault) -> str:
    """Return worker, coordinator, router, etcd, plan or newcomer."""
    word = fault.value.split()[0]
    return "worker" if word == "replica" else word


def rounds(chance: Random, faults: Sequence[Fault], counts: Mapping[str, int], ttl_s: float) -> Iterator[tuple[Planned, ...]]:
    """Yield rounds of faults without end: first each fault once, in any order, then random ones.

    counts: number of processes of each role.
    """
    first = chance.sample(faults, len(faults))
    while True:
        fault = first.pop() if first else _drawn(chance, faults)
        planned = _planned(chance, fault, counts, ttl_s)
        beside = _planned(chance, _drawn(chance, faults), counts, ttl_s)
        alone = chance.random() < 0.5 or planned.fault in WIPES or beside.fault in WIPES
        same = (planned.role, planned.target) == (beside.role, beside.target)
        yield (planned,) if alone or same else (planned, beside)


def _drawn(chance: Random, faults: Sequence[Fault]) -> Fault:
    return chance.choices(faults, [_LIKELY.get(fault, _USUAL) for fault in faults])[0]


def _planned(chance: Random, fault: Fault, counts: Mapping[str, int], ttl_s: float) -> Planned:
    count = counts[role_of(fault)]
    target = chance.randrange(count)
    return Planned(
        fault=fault,
        target=target,
        other=(target + chance.randrange(1, max(2, count))) % count,
        after_s=chance.uniform(0.0, ttl_s),
        lasts_s=chance.uniform(0.1, 3.0) * ttl_s,
    )
