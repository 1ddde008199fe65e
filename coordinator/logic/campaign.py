"""Decides what a coordinator does next about the key `leader`: try to lead, stand by, go on, or step down.

The map may be stale, so no decision here is a right to act: every step compares the key's creation revision in the
store.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Try to create the key: no coordinator leads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Read the key. It names this address, so an attempt with an unknown outcome may have created it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandBy:
    """Wait: another coordinator leads."""

    leader: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """Go on leading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDown:
    """Stop leading."""

    reason: str


Move = Run | Look | StandBy | Lead | StepDown


def next_move(cluster: ClusterMap, *, address: str, leadership: Revision | None) -> Move:
    """Return what to do now. address: of this coordinator.

    leadership: creation revision of the key while this coordinator holds it, else None.
    """
    seen = cluster.leader
    if leadership is None:
        if seen is None:
            return Run()
        return Look() if seen.address == address else StandBy(leader=seen.address)
    if cluster.revision < leadership or (seen is not None and seen.created == leadership):
        return Lead()
    return StepDown(reason="the key was deleted" if seen is None else f"{seen.address} leads")
