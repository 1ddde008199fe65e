from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.ids import WorkerId
from shoal.core.shard_calls import Consistency
from shoal.core.shard_config import ShardConfig
from shoal.router.logic.breaker import Gate
from shoal.router.logic.replica_choice import ReplicaChoice, ReplicaLoad, homes_of, replicas_to_ask
from tests.unit.router.configs import config_of, configs

THREE = config_of(isr=("p", "q", "r"), learners=("s",))
LIVE = {"wp", "wq", "wr", "ws"}

workers = st.sampled_from(["wp", "wq", "wr", "ws", "wt"])
loads = st.builds(
    ReplicaLoad,
    in_flight=st.integers(0, 9),
    latency_s=st.none() | st.floats(0, 10),
    here=st.booleans(),
    gate=st.sampled_from(list(Gate)),
)


def asked(
    config: ShardConfig = THREE, consistency: Consistency = Consistency.ANY, live: set[str] = LIVE, **known: ReplicaLoad
) -> list[str]:
    return [each.replica for each in replicas_to_ask(homes_of(config, consistency, live), known)]


@given(configs(), st.sampled_from(list(Consistency)), st.sets(workers), st.dictionaries(workers, loads))
def test_only_replicas_that_hold_every_committed_record_on_live_workers_are_asked_each_once(
    config: ShardConfig, consistency: Consistency, live: set[WorkerId], known: dict[WorkerId, ReplicaLoad]
) -> None:
    choices = replicas_to_ask(homes_of(config, consistency, live), known)
    replicas = [each.replica for each in choices]
    allowed = {config.primary} if consistency is Consistency.PRIMARY else {*config.isr, *config.elr}
    assert set(replicas) == {each for each in allowed if config.worker_of[each] in live}
    assert len(set(replicas)) == len(replicas)
    assert all(each.worker == config.worker_of[each.replica] for each in choices)


@given(configs(), st.dictionaries(workers, loads))
def test_who_keeps_failing_comes_last_and_who_is_only_eligible_after_those_in_sync(
    config: ShardConfig, known: dict[WorkerId, ReplicaLoad]
) -> None:
    choices = replicas_to_ask(homes_of(config, Consistency.ANY, {"wp", "wq", "wr", "ws", "wt"}), known)
    ranks = [(known.get(each.worker, ReplicaLoad()).gate is Gate.SHUT, each.replica not in config.isr) for each in choices]
    assert ranks == sorted(ranks)
    assert [each.probe for each in choices] == [known.get(each.worker, ReplicaLoad()).gate is Gate.PROBES for each in choices]


def test_the_least_loaded_comes_first_and_ties_go_by_id() -> None:
    fast, slow = ReplicaLoad(latency_s=0.001), ReplicaLoad(latency_s=0.01)
    assert asked() == ["p", "q", "r"]
    assert asked(wp=slow, wq=slow, wr=fast) == ["r", "p", "q"]
    assert asked(wp=ReplicaLoad(latency_s=0.001, in_flight=20), wq=slow, wr=ReplicaLoad(latency_s=0.001, in_flight=1)) == ["r", "q", "p"]


def test_a_worker_that_was_never_measured_is_tried_but_not_by_all_at_once() -> None:
    assert asked(wp=ReplicaLoad(latency_s=0.001), wq=ReplicaLoad(latency_s=0.01)) == ["r", "p", "q"]
    assert asked(wp=ReplicaLoad(latency_s=0.001), wr=ReplicaLoad(in_flight=2), wq=ReplicaLoad(latency_s=0.01)) == ["p", "r", "q"]


def test_a_worker_of_this_process_is_preferred_when_it_is_about_as_good() -> None:
    assert asked(wp=ReplicaLoad(latency_s=0.010), wq=ReplicaLoad(latency_s=0.012, here=True), wr=ReplicaLoad(latency_s=0.011))[0] == "q"
    assert asked(wp=ReplicaLoad(latency_s=0.010), wq=ReplicaLoad(latency_s=0.020, here=True), wr=ReplicaLoad(latency_s=0.011))[0] == "p"


def test_a_probe_goes_first_and_is_told_as_such() -> None:
    choices = replicas_to_ask(homes_of(THREE, Consistency.SESSION, LIVE), {"wr": ReplicaLoad(gate=Gate.PROBES, latency_s=9.0)})
    assert choices[0] == ReplicaChoice(replica="r", worker="wr", probe=True)


def test_the_primary_alone_is_asked_for_what_only_it_can_say() -> None:
    assert asked(consistency=Consistency.PRIMARY, wp=ReplicaLoad(gate=Gate.SHUT)) == ["p"]
    assert asked(consistency=Consistency.PRIMARY, live={"wq", "wr"}) == []
