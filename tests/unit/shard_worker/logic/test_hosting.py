import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.cluster_map import ClusterMap, WorkerEntry
from shoal.core.collection import Collection, CollectionSpec, CollectionState
from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.map_changes import changed_shards_on
from shoal.core.map_tables import CollectionTable, ShardTable
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import split_evenly
from shoal.shard_worker.logic.hosting import (
    CloseReplica,
    ConfirmReplica,
    CreateReplica,
    DropReplica,
    HandOver,
    HostView,
    JoinAnew,
    Local,
    LocalReplica,
    OpenReplica,
    RaiseTerm,
    ReopenReplica,
    ReportMissing,
    Resign,
    TakeSnapshot,
    TellConfig,
    TellSpec,
    next_steps,
    next_term,
)
from tests.support.examples.cluster_maps import WORKERS, pairs_of_maps, replica_of, shards

ME, SHARD, REPLICA = WorkerId("me"), ShardId(CollectionId("c"), 0), ReplicaId("r")


def collection(state: CollectionState = CollectionState.ACTIVE) -> Collection:
    return Collection(id=SHARD.collection, spec=CollectionSpec(name="n", dim=2), state=state, request_id="q")


def entry(*, state: ShardState = ShardState.ACTIVE, worker: str = "me", reg: int = 7) -> ShardEntry:
    config = ShardConfig(
        shard=SHARD,
        term=Term(1),
        primary=REPLICA,
        primary_reg=Revision(reg),
        isr=(REPLICA,),
        elr=(),
        learners=(),
        worker_of={REPLICA: WorkerId(worker)},
        min_isr=1,
        rf=1,
        state=state,
        slots=split_evenly(1),
    )
    return ShardEntry(config=config, epoch=Revision(20))


def view(each: ShardEntry | None, *, in_state: CollectionState = CollectionState.ACTIVE, **changes) -> HostView:
    cluster = ClusterMap(collections=CollectionTable([collection(in_state)]), shards=ShardTable([] if each is None else [each]))
    base = HostView(map=cluster, me=ME, registration=Revision(7), local={}, folders=frozenset(), busy=frozenset())
    return dataclasses.replace(base, **changes)


def local(
    state: Local = Local.OPEN, *, epoch: int = 20, registration: int = 7, idle_term: int | None = None
) -> dict[ShardId, LocalReplica]:
    term = None if idle_term is None else Term(idle_term)
    return {
        SHARD: LocalReplica(
            replica=REPLICA,
            state=state,
            epoch=Revision(epoch),
            registration=Revision(registration),
            spec=collection().spec,
            idle_term=term,
        )
    }


FOLDER = frozenset({(SHARD, REPLICA)})


def test_a_new_shard_gets_a_folder_only_while_it_is_creating_and_its_election_holds():
    creating = entry(state=ShardState.CREATING)
    assert next_steps(view(creating)) == [CreateReplica(entry=creating, replica=REPLICA, collection=collection())]
    assert next_steps(view(creating, registration=Revision(8))) == []


def test_a_missing_folder_of_an_active_shard_is_reported_and_never_made_again():
    active = entry()
    assert next_steps(view(active)) == [ReportMissing(entry=active, replica=REPLICA)]


def test_an_existing_folder_is_opened_in_either_state():
    for each in (entry(), entry(state=ShardState.CREATING)):
        assert next_steps(view(each, folders=FOLDER)) == [OpenReplica(entry=each, replica=REPLICA, collection=collection())]


def test_an_open_replica_is_confirmed_then_told_then_left_alone():
    creating = entry(state=ShardState.CREATING)
    assert next_steps(view(creating, local=local(), folders=FOLDER)) == [ConfirmReplica(entry=creating)]
    active = entry()
    assert next_steps(view(active, local=local(epoch=19), folders=FOLDER)) == [TellConfig(entry=active)]
    assert next_steps(view(active, local=local(registration=6), folders=FOLDER)) == [TellConfig(entry=active)]
    assert next_steps(view(active, local=local(), folders=FOLDER)) == []


def test_data_is_deleted_only_by_the_tombstone():
    dropping = CollectionState.DROPPING
    assert next_steps(view(entry(), in_state=dropping, local=local(), folders=FOLDER)) == [DropReplica(entry=entry(), replica=REPLICA)]
    assert next_steps(view(entry(), in_state=dropping, folders=frozenset())) == [DropReplica(entry=entry(), replica=REPLICA)]
    assert next_steps(view(None, local=local(), folders=FOLDER)) == [CloseReplica(shard=SHARD)]
    assert next_steps(view(None, folders=FOLDER)) == []
    assert next_steps(view(entry(worker="other"), local=local(), folders=FOLDER)) == [CloseReplica(shard=SHARD)]


def test_a_busy_shard_and_a_failed_replica_wait():
    assert next_steps(view(entry(), folders=FOLDER, busy=frozenset({SHARD}))) == []
    assert next_steps(view(entry(), local=local(Local.FAILED), folders=FOLDER)) == []


def test_a_replica_whose_disk_was_full_is_reopened_once_there_is_room():
    active = entry()
    full = view(active, local=local(Local.FULL), folders=FOLDER, roomy=False)
    assert next_steps(full) == []
    assert next_steps(dataclasses.replace(full, roomy=True)) == [ReopenReplica(entry=active, replica=REPLICA, collection=collection())]
    assert next_steps(dataclasses.replace(full, roomy=True, busy=frozenset({SHARD}))) == []


def test_a_failed_replica_is_not_reopened():
    assert next_steps(view(entry(), local=local(Local.FAILED), folders=FOLDER)) == []


def test_a_primary_reopened_in_its_term_gets_the_next_one_after_it_was_told():
    active = entry()
    assert next_steps(view(active, local=local(epoch=0, idle_term=1), folders=FOLDER)) == [TellConfig(entry=active)]
    assert next_steps(view(active, local=local(idle_term=1), folders=FOLDER)) == [RaiseTerm(entry=active)]
    assert next_steps(view(active, local=local(idle_term=0), folders=FOLDER)) == []
    assert next_steps(view(active, local=local(), folders=FOLDER)) == []
    other = view(active, local=local(idle_term=1, registration=8), folders=FOLDER, registration=Revision(8))
    assert next_steps(other) == [], "it was elected as another registration: the coordinator's affair"
    assert next_term(active.config) == dataclasses.replace(active.config, term=Term(2))


def test_an_altered_collection_is_told_once_to_an_open_replica_and_only_after_its_configuration():
    active, spec = entry(), dataclasses.replace(collection().spec, index="flat")
    before = {SHARD: dataclasses.replace(local()[SHARD], spec=spec)}
    assert next_steps(view(active, local=before, folders=FOLDER)) == [TellSpec(shard=SHARD, spec=collection().spec)]
    assert next_steps(view(active, local=local(), folders=FOLDER)) == []
    untold = {SHARD: dataclasses.replace(before[SHARD], epoch=Revision(19))}
    assert next_steps(view(active, local=untold, folders=FOLDER)) == [TellConfig(entry=active)]
    failed = {SHARD: dataclasses.replace(before[SHARD], state=Local.FAILED, spec=None)}
    assert next_steps(view(active, local=failed, folders=FOLDER)) == []


OTHER = ReplicaId("other")


def replicated(*, isr: tuple[ReplicaId, ...], learners: tuple[ReplicaId, ...] = (), leaving: tuple[ReplicaId, ...] = ()) -> ShardEntry:
    """Return a shard whose primary is on another worker. This worker holds REPLICA."""
    config = dataclasses.replace(
        entry().config,
        primary=OTHER,
        primary_reg=Revision(3),
        isr=isr,
        learners=learners,
        leaving=leaving,
        worker_of={REPLICA: ME, OTHER: WorkerId("there")},
        rf=2,
    )
    return ShardEntry(config=config, epoch=Revision(20))


def with_the_other(alone: HostView, *, registration: int = 3) -> HostView:
    """Add the other worker to the map."""
    home = WorkerId("there")
    there = WorkerEntry(id=home, address="a:1", incarnation="i", pid=1, node="n", zone="", registration=Revision(registration))
    return dataclasses.replace(alone, map=dataclasses.replace(alone.map, workers={home: there}))


def test_a_learner_without_a_folder_begins_under_a_new_id_and_only_while_it_is_registered():
    learner = replicated(isr=(OTHER,), learners=(REPLICA,))
    anew = JoinAnew(entry=learner, replica=REPLICA, collection=collection(), aside=False)
    assert next_steps(view(learner)) == [anew]
    assert next_steps(view(learner, registration=Revision(0))) == []


def test_a_damaged_learner_begins_anew_and_its_folder_is_kept_aside_once_there_is_a_primary_to_fill_it():
    learner = replicated(isr=(OTHER,), learners=(REPLICA,))
    anew = JoinAnew(entry=learner, replica=REPLICA, collection=collection(), aside=True)
    damaged = view(learner, local=local(Local.FAILED), folders=FOLDER)
    assert next_steps(damaged) == []
    assert next_steps(with_the_other(damaged, registration=9)) == [], "not elected again"
    assert next_steps(with_the_other(damaged)) == [anew]


def test_a_lost_member_of_the_isr_is_reported_and_then_resigns_if_another_may_lead():
    both = replicated(isr=(OTHER, REPLICA))
    assert next_steps(view(both)) == [ReportMissing(entry=both, replica=REPLICA)]
    (step,) = next_steps(view(both, local=local(Local.FAILED)))
    assert isinstance(step, Resign)
    damaged = view(both, local=local(Local.FAILED), folders=FOLDER)
    assert next_steps(damaged) == [], "the other's worker is gone, perhaps for good, and what is here may be mended"
    assert next_steps(with_the_other(damaged)) == [step]
    assert (step.config.isr, step.config.learners) == ((OTHER,), (REPLICA,))
    assert next_steps(view(entry(), local=local(Local.FAILED), folders=FOLDER)) == [], "the last one waits to be mended"


def test_a_primary_without_room_resigns_and_a_backup_waits_for_room():
    mine = dataclasses.replace(replicated(isr=(REPLICA, OTHER)).config, primary=REPLICA, primary_reg=Revision(7))
    alone = view(ShardEntry(config=mine, epoch=Revision(20)), local=local(Local.FULL), folders=FOLDER, roomy=False)
    assert next_steps(alone) == [], "the other's worker is gone, perhaps for good"
    (step,) = next_steps(with_the_other(alone))
    assert isinstance(step, Resign)
    assert step.config.primary_reg == 0
    assert next_steps(view(replicated(isr=(OTHER, REPLICA)), local=local(Local.FULL), folders=FOLDER, roomy=False)) == []


def test_a_learner_that_is_behind_takes_a_snapshot_of_the_primary_that_said_so_and_a_member_of_the_isr_never_does():
    behind = {SHARD: dataclasses.replace(local()[SHARD], behind=OTHER)}
    learner = replicated(isr=(OTHER,), learners=(REPLICA,))
    taken = TakeSnapshot(entry=learner, replica=REPLICA, primary=OTHER, collection=collection())
    assert next_steps(view(learner, local=behind, folders=FOLDER)) == [taken]
    assert next_steps(view(replicated(isr=(OTHER, REPLICA)), local=behind, folders=FOLDER)) == []
    of_another = {SHARD: dataclasses.replace(local()[SHARD], behind=ReplicaId("deposed"))}
    assert next_steps(view(learner, local=of_another, folders=FOLDER)) == []


def test_a_replica_is_deleted_on_its_tombstone_once_nobody_counts_on_it():
    counted = replicated(isr=(OTHER, REPLICA), leaving=(REPLICA,))
    assert next_steps(view(counted, local=local(), folders=FOLDER)) == []
    gone = replicated(isr=(OTHER,), leaving=(REPLICA,))
    assert next_steps(view(gone, local=local(), folders=FOLDER)) == [DropReplica(entry=gone, replica=REPLICA)]
    assert next_steps(view(gone, local=local(), folders=FOLDER, registration=Revision(0))) == []


@st.composite
def views(draw: st.DrawFn, cluster: ClusterMap) -> HostView:
    """What the first worker of a random map has: replicas of the map, of no map, under other ids, and folders."""
    me, local = WORKERS[0], dict[ShardId, LocalReplica]()
    for shard in draw(st.lists(shards, max_size=6, unique=True)):
        replica = draw(st.sampled_from([replica_of(shard, me), ReplicaId("renamed")]))
        epoch, state = draw(st.integers(1, 3)), draw(st.sampled_from(Local))
        local[shard] = LocalReplica(replica=replica, state=state, epoch=Revision(epoch), registration=Revision(1))
    return HostView(
        map=cluster,
        me=me,
        registration=Revision(draw(st.sampled_from([0, 1]))),
        local=local,
        folders=draw(st.frozensets(shards.map(lambda shard: (shard, replica_of(shard, me))), max_size=4)),
        busy=draw(st.frozensets(shards, max_size=2)),
    )


@given(pairs_of_maps(), st.data())
@settings(max_examples=200)
def test_a_look_at_the_workers_own_shards_finds_what_a_look_at_the_whole_map_finds(maps, data):
    before, after = maps
    seen = data.draw(views(before))
    everything = sorted({*before.shards, *after.shards, *seen.local})
    steps = next_steps(seen)
    assert steps == next_steps(seen, everything)
    newer = dataclasses.replace(seen, map=after)
    changed = changed_shards_on(seen.me, before, after)
    others = [shard for shard in everything if shard not in changed]
    assert next_steps(newer, others) == next_steps(seen, others), "what is not among the changed ones has the same step"
    assert len(next_steps(newer, changed)) + len(next_steps(newer, others)) == len(next_steps(newer))


BACKUP = ReplicaId("b")


def asked(**changes) -> ShardEntry:
    """Return a shard of two replicas in sync, whose primary, here, is asked to hand over to the other one."""
    fields = {
        "isr": (REPLICA, BACKUP),
        "worker_of": {REPLICA: ME, BACKUP: WorkerId("other")},
        "rf": 2,
        "successor": BACKUP,
        **changes,
    }
    return dataclasses.replace(entry(), config=dataclasses.replace(entry().config, **fields))


def seen_with(each: ShardEntry, *workers: str, **changes) -> HostView:
    seen = view(each, **{"local": local(), "folders": FOLDER, **changes})
    live = {
        WorkerId(name): WorkerEntry(
            id=WorkerId(name), address=f"{name}:1", incarnation="i", pid=1, node="n", zone="", registration=Revision(number)
        )
        for number, name in enumerate(workers, 11)
    }
    return dataclasses.replace(seen, map=dataclasses.replace(seen.map, workers=live))


def test_a_primary_hands_over_to_the_successor_it_was_given_in_the_next_term():
    each = asked()
    (step,) = next_steps(seen_with(each, "other"))
    assert isinstance(step, HandOver)
    expected = {"term": Term(2), "primary": BACKUP, "primary_reg": Revision(11), "successor": None}
    assert step.config == dataclasses.replace(each.config, **expected), "the isr and all else stay as they were"
    (again,) = next_steps(seen_with(each, "other", local=local(idle_term=1)))
    assert again == step, "the swap did not happen: it is tried again, not led again"


@pytest.mark.parametrize(
    "changes",
    [
        {"isr": (REPLICA,), "learners": (BACKUP,)},
        {"leaving": (BACKUP,)},
        {"min_isr": 3},
        {"successor": REPLICA},
        {"successor": ReplicaId("gone")},
        {"primary_reg": Revision(6)},
        {"primary": BACKUP, "primary_reg": Revision(11), "successor": REPLICA},
    ],
)
def test_nothing_is_handed_over_to_a_replica_that_could_not_lead_or_commit_or_by_one_that_does_not_lead(changes):
    assert next_steps(seen_with(asked(**changes), "other")) == []


def test_a_primary_that_has_stepped_down_for_a_successor_that_is_gone_gets_the_next_term_and_is_asked_no_more():
    each = asked()
    assert next_steps(seen_with(each)) == [], "it still leads, and its successor is not there"
    assert next_steps(seen_with(each, local=local(idle_term=1))) == [RaiseTerm(entry=each)]
    assert next_term(each.config) == dataclasses.replace(each.config, term=Term(2), successor=None)


def test_a_hand_over_waits_until_the_replica_has_its_configuration_and_the_shard_is_active():
    each = asked()
    assert next_steps(seen_with(each, "other", local=local(epoch=19))) == [TellConfig(entry=each)]
    creating = asked(state=ShardState.CREATING)
    assert next_steps(seen_with(creating, "other")) == [ConfirmReplica(entry=creating)]
