"""Where in a Ray cluster an index build runs. Pure: what is known of the nodes in, a label selector out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BUILDS_LABEL = "shoal-builds"
"""Of nodes that are there for builds; its value is "true". Where any node carries it, builds run on no other."""

NODE_ID_LABEL = "ray.io/node-id"
"""Ray gives it to every node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """One node that lives. cpus: that Ray may give away, free or not; for_builds: it carries BUILDS_LABEL."""

    id: str
    cpus: float
    for_builds: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """labels: what a node's labels must be, "!" before a value: anything else; cpus: what to ask of it, as many threads to run there."""

    labels: Mapping[str, str]
    cpus: int


def place_build(nodes: Sequence[NodeFacts], *, own: str, threads: int) -> BuildPlace | None:
    """The place of a build that wants `threads` threads; None when no node gives a whole CPU.

    Nodes that are there for builds, else all; of these any but our own, else our own; fewer threads where none has so many CPUs.
    """
    labelled = any(node.for_builds for node in nodes)
    fit = [node for node in nodes if node.cpus >= 1 and (node.for_builds or not labelled)]
    others = [node for node in fit if node.id != own]
    if not fit:
        return None
    labels = {BUILDS_LABEL: "true"} if labelled else {}
    if others:
        labels[NODE_ID_LABEL] = f"!{own}"
    return BuildPlace(labels=labels, cpus=min(threads, int(max(node.cpus for node in others or fit))))
