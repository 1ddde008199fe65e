"""Decides which reads at a primary certainly show every write acknowledged before they began (invariant 6)."""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.ids import Revision, Seq, Term
from shoal.core.shard_config import leads
from shoal.shard_worker.logic.replication.machine import ReplicaMachine
from shoal.shard_worker.logic.replication.roles import Leading


def served_term(machine: ReplicaMachine) -> Term | None:
    """Return the term that a replica leads and serves, as far as it knows; None if it does not.

    Its no-op is applied then, and with it everything acknowledged before.
    """
    return machine.role.config.term if isinstance(machine.role, Leading) and machine.serves_writes else None


def sure_term(machine: ReplicaMachine, registration: Revision, lease_held: Callable[[Revision], bool]) -> Term | None:
    """Return the term that a replica certainly leads and serves now; None if it may not lead, or does not serve yet.

    registration: of its worker; lease_held: returns whether the lease of a registration is certainly held at this
    moment.
    """
    if not isinstance(machine.role, Leading) or not leads(machine.role.config, machine.replica, registration):
        return None
    return served_term(machine) if lease_held(registration) else None


def is_lost(seq: Seq, machine: ReplicaMachine, sure: Term | None) -> bool:
    """Return whether the write acknowledged with this seq is lost for good, so that no read needs to wait for it.

    sure: the `sure_term` now. A primary with a sure term has every acknowledged write, except those that an operator
    gave up with --accept-data-loss.
    """
    return sure is not None and seq > machine.last_seq


def is_sure(began: Term | None, fixed: Term | None) -> bool:
    """Return whether a read is sure. began, fixed: the `sure_term` at its beginning and after its result was fixed.

    A read that began before the no-op was applied could miss writes that an earlier primary acknowledged, even if the
    primary serves when the read ends.
    """
    return began is not None and began == fixed
