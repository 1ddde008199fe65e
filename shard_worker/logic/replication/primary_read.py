"""Which reads at a primary are sure to show every write that was acknowledged before they began (invariant 6)."""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.ids import Revision, Seq, Term
from shoal.core.shard_config import leads
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.roles import Leading


def served_term(machine: ReplicaMachine) -> Term | None:
    """The term that a replica leads and serves, as far as it knows: its no-op is applied, and with it all that was
    acknowledged before.
    """
    return machine.role.config.term if isinstance(machine.role, Leading) and machine.serves_writes else None


def sure_term(machine: ReplicaMachine, registration: Revision, lease_held: Callable[[Revision], bool]) -> Term | None:
    """The term that a replica surely leads and serves now, None when it may lead no more, or does not serve yet.

    registration: of its worker; lease_held: whether the lease of a registration is certainly held at this moment.
    """
    if not isinstance(machine.role, Leading) or not leads(machine.role.config, machine.replica, registration):
        return None
    return served_term(machine) if lease_held(registration) else None


def is_lost(seq: Seq, machine: ReplicaMachine, sure: Term | None) -> bool:
    """Whether what was acknowledged with this seq is gone for good, so that no read need wait for it. sure: the
    `sure_term` now.

    A sure primary has every acknowledged write, but for those that an operator gave up with --accept-data-loss.
    """
    return sure is not None and seq > machine.last_seq


def is_sure(began: Term | None, fixed: Term | None) -> bool:
    """Whether a read is sure, by the `sure_term` when it began and the one after its result was fixed.

    One that began before the no-op was applied could miss what an earlier primary acknowledged, even if the primary
    serves when it ends.
    """
    return began is not None and began == fixed
