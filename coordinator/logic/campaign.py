"""Whether this coordinator leads, as far as it can tell: what it does next about the key `leader`.

The map may be stale, so nothing here is a right to act: every step compares the key's creation revision in the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from shoal.core.cluster_map import ClusterMap
from shoal.core.ids import Revision


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Try to create the key: nobody leads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Read the key: it names this address, so it may be ours, from an attempt whose outcome was unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StandBy:
    """Somebody else leads."""

    leader: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """Go on leading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepDown:
    """Lead no more."""

    reason: str


Move = Run | Look | StandBy | Lead | StepDown


def next_move(cluster: ClusterMap, *, address: str, leadership: Revision | None) -> Move:
    """What to do now. address: of this coordinator; leadership: creation revision of the key while we hold it, else
    None.
    """
    seen = cluster.leader
    if leadership is None:
        if seen is None:
            return Run()
        return Look() if seen.address == address else StandBy(leader=seen.address)
    if cluster.revision < leadership or (seen is not None and seen.created == leadership):
        return Lead()
    return StepDown(reason="the key was deleted" if seen is None else f"{seen.address} leads")
