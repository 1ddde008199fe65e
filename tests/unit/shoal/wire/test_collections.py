from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.alteration import Alteration
from shoal.core.collection import Collection, CollectionSpec, CollectionState, Metric
from shoal.core.errors import InvalidArgument
from shoal.core.ids import CollectionId
from shoal.core.limits import DEFAULT_LIMITS
from shoal.v1 import collections_pb2
from shoal.wire.collections import alteration_from_message, alteration_to_message, spec_from_message, spec_to_message, summary_to_message

specs = st.builds(
    CollectionSpec,
    name=st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True),
    dim=st.integers(1, 65_536),
    metric=st.sampled_from(list(Metric)),
    shards=st.integers(1, 1_024),
    index=st.sampled_from(["auto", "flat", "hnsw"]),
    recall=st.floats(0.001, 1.0),
    replicas=st.integers(3, 7),
    min_isr_set=st.integers(0, 3),
)


@settings(deadline=None)
@given(specs)
def test_a_specification_comes_back(spec: CollectionSpec) -> None:
    message = collections_pb2.CollectionSpec.FromString(spec_to_message(spec).SerializeToString())
    assert spec_from_message(message, DEFAULT_LIMITS) == spec


def test_what_is_not_given_takes_its_default() -> None:
    assert spec_from_message(collections_pb2.CollectionSpec(name="a", dim=3), DEFAULT_LIMITS) == CollectionSpec(name="a", dim=3)


@given(
    st.builds(
        Alteration,
        index=st.none() | st.sampled_from(["", "flat"]),
        recall=st.none() | st.floats(0.0, 1.0),
        replicas=st.none() | st.integers(0, 9),
        min_isr=st.none() | st.integers(0, 9),
    )
)
def test_an_alteration_comes_back_with_what_it_leaves_out(alteration: Alteration) -> None:
    sent = alteration_to_message("c", alteration).SerializeToString()
    message = collections_pb2.AlterCollectionRequest.FromString(sent)
    assert (message.name, alteration_from_message(message)) == ("c", alteration)


@pytest.mark.parametrize("recall", [-0.1, 1.01, float("nan")])
def test_a_recall_that_cannot_be_is_refused(recall: float) -> None:
    with pytest.raises(InvalidArgument, match="recall is"):
        spec_from_message(collections_pb2.CollectionSpec(name="a", dim=3, recall=recall), DEFAULT_LIMITS)


def test_a_summary_names_the_collection_and_its_state() -> None:
    spec = CollectionSpec(name="a", dim=3, recall=0.8)
    message = summary_to_message(Collection(id=CollectionId("c"), spec=spec, state=CollectionState.ACTIVE, request_id="r"))
    assert (message.id, message.state, message.spec.recall, message.spec.index) == ("c", "active", 0.8, "auto")
