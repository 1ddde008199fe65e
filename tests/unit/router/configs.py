"""Make configurations of one shard with few words: replica "p" lives on worker "wp"."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, Revision, ShardId, Term, WorkerId
from shoal.core.shard_config import ShardConfig, ShardEntry, ShardState
from shoal.core.slots import SLOTS, SlotRange

SHARD = ShardId(CollectionId("id-a"), 0)


def config_of(
    *,
    primary: str = "p",
    isr: tuple[str, ...] = ("p",),
    elr: tuple[str, ...] = (),
    learners: tuple[str, ...] = (),
    leaving: tuple[str, ...] = (),
    min_isr: int = 1,
    rf: int | None = None,
    shard: ShardId = SHARD,
    slots: tuple[SlotRange, ...] = (SlotRange(0, SLOTS),),
) -> ShardConfig:
    """Return a configuration with these members. Without `rf`, the replica count is the number of members."""
    names = tuple(dict.fromkeys((primary, *isr, *elr, *learners, *leaving)))
    return ShardConfig(
        shard=shard,
        term=Term(1),
        primary=ReplicaId(primary),
        primary_reg=Revision(5),
        isr=tuple(map(ReplicaId, isr)),
        elr=tuple(map(ReplicaId, elr)),
        learners=tuple(map(ReplicaId, learners)),
        worker_of={ReplicaId(name): WorkerId(f"w{name}") for name in names},
        min_isr=min_isr,
        rf=len(names) if rf is None else rf,
        state=ShardState.ACTIVE,
        slots=slots,
        leaving=tuple(map(ReplicaId, leaving)),
    )


def changed(entry: ShardEntry, **parts: object) -> ShardEntry:
    """Return the next configuration of a shard: `parts` are changed, and the epoch is one higher."""
    return ShardEntry(config=dataclasses.replace(entry.config, **parts), epoch=Revision(entry.epoch + 1))


@st.composite
def configs(draw: st.DrawFn) -> ShardConfig:
    """Draw any configuration of up to five replicas."""
    names = draw(st.lists(st.sampled_from("pqrst"), min_size=1, max_size=5, unique=True))
    first, second = sorted((draw(st.integers(0, len(names))), draw(st.integers(0, len(names)))))
    lists = {"isr": tuple(names[:first]), "elr": tuple(names[first:second]), "learners": tuple(names[second:])}
    return config_of(primary=draw(st.sampled_from(names)), min_isr=draw(st.integers(1, 3)), **lists)
