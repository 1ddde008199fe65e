"""Decides where in a Ray cluster an index build runs. Pure: facts about the nodes in, a label selector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BUILDS_LABEL = "shoal-builds"
"""Label of nodes that are reserved for builds; its value is "true". If a node has it, builds run on no other nodes."""

NODE_ID_LABEL = "ray.io/node-id"
"""A label that Ray gives to every node."""

ROLES_CPUS = 0.5
"""CPUs kept for the roles of a node. The roles request less from Ray, so a build can request the rest and begin."""

_LEAST_CPUS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """One live node. cpus: all CPUs that Ray may assign, free or not. for_builds: it has BUILDS_LABEL. hosts: it may
    host roles.
    """

    id: str
    cpus: float
    for_builds: bool
    hosts: bool

    @property
    def room(self) -> float:
        """CPUs that a build may request."""
        return self.cpus - (ROLES_CPUS if self.hosts else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """The place of a build. labels: values that a node's labels must have; "!" before a value means any other value.

    cpus: to request from Ray. threads: to run there.
    """

    labels: Mapping[str, str]
    cpus: float
    threads: int


def place_build(nodes: Sequence[NodeFacts], *, own: str, threads: int) -> BuildPlace | None:
    """Return the place of a build that wants `threads` threads; None if only this process is left.

    If nodes are reserved for builds, one of these is used, not our own if there is another. Else any node but our own
    is used. The build gets fewer threads if no node has that many CPUs.
    """
    labelled = any(node.for_builds for node in nodes)
    fit = [node for node in nodes if node.room >= _LEAST_CPUS and (node.for_builds or not labelled)]
    others = [node for node in fit if node.id != own]
    chosen = others or (fit if labelled else [])
    if not chosen:
        return None
    labels = {BUILDS_LABEL: "true"} if labelled else {}
    if others:
        labels[NODE_ID_LABEL] = f"!{own}"
    # Ray accepts fractions of a CPU only below one.
    whole = min(threads, int(max(node.room for node in chosen)))
    return BuildPlace(labels=labels, cpus=whole or _LEAST_CPUS, threads=max(1, whole))
