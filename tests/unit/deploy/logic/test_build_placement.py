from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.logic.build_placement import BUILDS_LABEL, NODE_ID_LABEL, BuildPlace, NodeFacts, place_build


def node(name: str, cpus: float = 4, *, for_builds: bool = False) -> NodeFacts:
    return NodeFacts(id=name, cpus=cpus, for_builds=for_builds)


def test_nodes_for_builds_come_first() -> None:
    nodes = [node("own"), node("other", 64), node("builder", for_builds=True)]
    assert place_build(nodes, own="own", threads=2) == BuildPlace(labels={BUILDS_LABEL: "true", NODE_ID_LABEL: "!own"}, cpus=2)


def test_without_them_any_other_node_will_do() -> None:
    assert place_build([node("own"), node("other")], own="own", threads=2) == BuildPlace(labels={NODE_ID_LABEL: "!own"}, cpus=2)


def test_our_own_node_where_there_is_no_other() -> None:
    head = node("head", 0)
    assert place_build([head, node("own")], own="own", threads=2) == BuildPlace(labels={}, cpus=2)
    assert place_build([node("own", for_builds=True), node("other")], own="own", threads=2) == BuildPlace(
        labels={BUILDS_LABEL: "true"}, cpus=2
    )


def test_no_more_is_asked_than_a_node_has() -> None:
    assert place_build([node("own", 8), node("other", 1.5)], own="own", threads=4) == BuildPlace(labels={NODE_ID_LABEL: "!own"}, cpus=1)


def test_nobody_has_a_cpu() -> None:
    assert place_build([], own="own", threads=1) is None
    assert place_build([node("own", 0.5)], own="own", threads=1) is None
    assert place_build([node("own"), node("builder", 0, for_builds=True)], own="own", threads=1) is None


NODES = st.lists(
    st.builds(NodeFacts, id=st.sampled_from("abcd"), cpus=st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.5]), for_builds=st.booleans()),
    unique_by=lambda each: each.id,
    max_size=4,
)


def admits(place: BuildPlace, each: NodeFacts) -> bool:
    """What Ray makes of labels."""
    has = {NODE_ID_LABEL: each.id, **({BUILDS_LABEL: "true"} if each.for_builds else {})}
    return each.cpus >= place.cpus and all(
        has.get(label) != value[1:] if value.startswith("!") else has.get(label) == value for label, value in place.labels.items()
    )


@given(nodes=NODES, threads=st.integers(1, 8))
def test_some_node_admits_it_and_none_that_a_better_one_should_spare(nodes: list[NodeFacts], threads: int) -> None:
    place = place_build(nodes, own="a", threads=threads)
    if place is None:
        assert not any(each.cpus >= 1 and (each.for_builds or not any(n.for_builds for n in nodes)) for each in nodes)
        return
    assert 1 <= place.cpus <= threads
    admitted = [each for each in nodes if admits(place, each)]
    assert admitted
    if any(each.for_builds for each in nodes):
        assert all(each.for_builds for each in admitted)
    if any(each.id != "a" for each in admitted):
        assert all(each.id != "a" for each in admitted)
