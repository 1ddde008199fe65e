"""Recoveries and audit entries of all shapes."""

from __future__ import annotations

from hypothesis import strategies as st

from shoal.core.ids import CollectionId, ReplicaId, Seq, ShardId, Term, WorkerId
from shoal.core.recovery import ACCEPT_DATA_LOSS, AuditEntry, LogEnd, Recovery, RecoveryRequest, ReplicaPlace

TEXTS = st.text(max_size=8)

ends = st.builds(LogEnd, term=st.integers(0, 2**40).map(Term), seq=st.integers(0, 2**40).map(Seq))
places = st.builds(
    ReplicaPlace,
    replica=TEXTS.map(ReplicaId),
    worker=TEXTS.map(WorkerId),
    role=st.sampled_from(["in sync", "learner"]),
    end=st.none() | ends,
)
recoveries = st.builds(
    Recovery,
    shard=st.builds(ShardId, TEXTS.map(CollectionId), st.integers(0, 1023)),
    term=st.integers(1, 2**40).map(Term),
    chosen=places,
    given_up=st.lists(places, max_size=3).map(tuple),
)
entries = st.builds(
    AuditEntry,
    time_ms=st.integers(0, 2**45),
    action=st.just(ACCEPT_DATA_LOSS),
    collection=TEXTS,
    recovery=recoveries,
    reason=TEXTS,
    asked_by=TEXTS,
    request_id=TEXTS,
)
requests = st.builds(
    RecoveryRequest,
    name=TEXTS,
    number=st.integers(0, 2**32 - 1),
    worker=st.none() | st.text(min_size=1, max_size=8).map(WorkerId),
    accept_data_loss=st.booleans(),
    reason=TEXTS,
    asked_by=TEXTS,
    request_id=TEXTS,
)
