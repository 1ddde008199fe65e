from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.deploy.logic.build_placement import BUILDS_LABEL, NODE_ID_LABEL, BuildPlace, NodeFacts, place_build

ELSEWHERE = {NODE_ID_LABEL: "!own"}


def node(name: str, cpus: float = 4, *, for_builds: bool = False, hosts: bool = False) -> NodeFacts:
    return NodeFacts(id=name, cpus=cpus, for_builds=for_builds, hosts=hosts)


def test_nodes_for_builds_come_first() -> None:
    nodes = [node("own"), node("other", 64), node("builder", for_builds=True)]
    assert place_build(nodes, own="own", threads=2) == BuildPlace(labels={BUILDS_LABEL: "true", **ELSEWHERE}, cpus=2, threads=2)


def test_without_them_any_other_node_will_do() -> None:
    assert place_build([node("own"), node("other")], own="own", threads=2) == BuildPlace(labels=ELSEWHERE, cpus=2, threads=2)


def test_our_own_node_only_where_it_is_there_for_builds() -> None:
    own = node("own", for_builds=True)
    assert place_build([own, node("other")], own="own", threads=2) == BuildPlace(labels={BUILDS_LABEL: "true"}, cpus=2, threads=2)
    assert place_build([node("head", 0), node("own")], own="own", threads=2) is None


def test_no_more_is_asked_than_a_node_has() -> None:
    assert place_build([node("own", 8), node("other", 1.5)], own="own", threads=4) == BuildPlace(labels=ELSEWHERE, cpus=1, threads=1)


def test_roles_keep_their_part_of_a_node() -> None:
    for cpus, asked, threads in ((4, 3, 3), (2, 1, 1), (1, 0.5, 1)):
        assert place_build([node("other", cpus, hosts=True)], own="own", threads=4) == BuildPlace(
            labels=ELSEWHERE, cpus=asked, threads=threads
        )


def test_nobody_has_a_cpu() -> None:
    assert place_build([], own="own", threads=1) is None
    assert place_build([node("other", 0)], own="own", threads=1) is None
    assert place_build([node("other", 0.7, hosts=True)], own="own", threads=1) is None
    assert place_build([node("own"), node("other"), node("builder", 0, for_builds=True)], own="own", threads=1) is None


NODES = st.lists(
    st.builds(
        NodeFacts,
        id=st.sampled_from("abcd"),
        cpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.5]),
        for_builds=st.booleans(),
        hosts=st.booleans(),
    ),
    unique_by=lambda each: each.id,
    max_size=4,
)


def admits(place: BuildPlace, each: NodeFacts) -> bool:
    """Tell whether Ray would place a build on a node: its labels must fit, and enough of its CPUs must be left. On a
    node that hosts roles, the roles take 0.1 CPU.
    """
    has = {NODE_ID_LABEL: each.id, **({BUILDS_LABEL: "true"} if each.for_builds else {})}
    free = each.cpus - (0.1 if each.hosts else 0)
    return free >= place.cpus and all(
        has.get(label) != value[1:] if value.startswith("!") else has.get(label) == value for label, value in place.labels.items()
    )


@given(nodes=NODES, threads=st.integers(1, 8))
def test_some_node_admits_it_and_none_that_is_to_be_spared(nodes: list[NodeFacts], threads: int) -> None:
    place = place_build(nodes, own="a", threads=threads)
    labelled = any(each.for_builds for each in nodes)
    if place is None:
        assert not any(each.room >= 1 and (each.for_builds if labelled else each.id != "a") for each in nodes)
        return
    assert place.threads == max(1, place.cpus)
    assert place.threads <= threads
    assert place.cpus == 0.5 or place.cpus == int(place.cpus)
    admitted = [each for each in nodes if admits(place, each)]
    assert admitted
    assert all(each.for_builds == labelled for each in admitted)
    assert all(each.id != "a" for each in admitted) or (labelled and [each.id for each in admitted] == ["a"])
