"""Where in a Ray cluster an index build runs. Pure: what is known of the nodes in, a label selector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BUILDS_LABEL = "shoal-builds"
"""Of nodes that are there for builds; its value is "true". Where any node carries it, builds run on no other."""

NODE_ID_LABEL = "ray.io/node-id"
"""Ray gives it to every node."""

ROLES_CPUS = 0.5
"""Left to the roles that a node hosts: more than they ask of Ray, so that a build can ask for the rest and begin."""

_LEAST_CPUS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """One node that lives. cpus: that Ray may give away, free or not; for_builds: it carries BUILDS_LABEL; hosts: it
    may host roles.
    """

    id: str
    cpus: float
    for_builds: bool
    hosts: bool

    @property
    def room(self) -> float:
        """CPUs that a build may ask for."""
        return self.cpus - (ROLES_CPUS if self.hosts else 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """labels: what a node's labels must be, "!" before a value: anything else; cpus: what to ask of Ray; threads: to
    run there.
    """

    labels: Mapping[str, str]
    cpus: float
    threads: int


def place_build(nodes: Sequence[NodeFacts], *, own: str, threads: int) -> BuildPlace | None:
    """The place of a build that wants `threads` threads; None when there is none but here.

    Nodes that are there for builds, any but our own if there is another; without such nodes, any but our own. Fewer
    threads where none has so many CPUs.
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
    # Ray takes parts of a CPU below one, and whole ones above.
    whole = min(threads, int(max(node.room for node in chosen)))
    return BuildPlace(labels=labels, cpus=whole or _LEAST_CPUS, threads=max(1, whole))
