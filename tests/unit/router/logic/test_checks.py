"""The quick check of a search accepts only what the full check accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoal.core.collection import CollectionSpec
from shoal.core.errors import InvalidArgument
from shoal.core.filter import And, In, Range
from shoal.core.limits import Limits
from shoal.core.metric import Metric
from shoal.core.named_vectors import NamedVector
from shoal.core.requests import Search
from shoal.core.shard_calls import Breadth, Exact, QueryGroup, RecallTarget
from shoal.router.logic.checks import are_plain, check_search, is_plain_form

LIMITS = Limits(k=10, batch_queries=4, batch_hits=20, filter_conditions=3, breadth=50)
SPECS = [CollectionSpec(name="a", dim=2, metric=metric) for metric in Metric]
NAMED = CollectionSpec(
    name="a", dim=0, vectors=(NamedVector(name="image", dim=2, metric=Metric.COSINE), NamedVector(name="text", dim=1, metric=Metric.IP))
)

floats = st.sampled_from([0.0, 1.0, -2.5, 1e-30, 1e19, 3e38, float("inf"), float("-inf"), float("nan")])
matrices = st.tuples(st.integers(0, 6), st.integers(1, 3)).flatmap(
    lambda shape: st.lists(floats, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda values: np.array(values, dtype=np.float32).reshape(shape)
    )
)
filters = st.sampled_from([None, In(("x",), (1,)), Range(("x",)), And((In(("x",), (1,)),) * 9)])
groups = st.one_of(
    st.builds(lambda k, filter: (QueryGroup(k=k, filter=filter),), st.integers(-1, 12), filters),
    st.just((QueryGroup(k=1, queries=np.array([0])),)),
    st.just((QueryGroup(k=1), QueryGroup(k=2))),
)
accuracies = st.sampled_from([None, Exact(), RecallTarget(0.9), RecallTarget(0.0), RecallTarget(1.0), RecallTarget(1.1), Breadth(ef=99)])


def is_plain(question: Search, spec: CollectionSpec) -> bool:
    return is_plain_form(question, spec, LIMITS) and are_plain(question.queries, spec.vector_of(question.vector).metric)


def accepted(question: Search, spec: CollectionSpec) -> bool:
    try:
        check_search(question, spec, LIMITS)
    except InvalidArgument:
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(
    queries=matrices,
    asked=groups,
    accuracy=accuracies,
    radius=st.sampled_from([None, 1.0, float("nan")]),
    spec=st.sampled_from([*SPECS, NAMED]),
    vector=st.sampled_from(["", "image", "text", "sound"]),
)
@example(queries=np.ones((1, 2), dtype=np.float32), asked=(QueryGroup(k=3),), accuracy=None, radius=None, spec=SPECS[0], vector="")
@example(queries=np.ones((1, 2), dtype=np.float32), asked=(QueryGroup(k=3),), accuracy=None, radius=None, spec=NAMED, vector="image")
def test_what_is_plainly_valid_passes_the_full_check(
    queries: Any, asked: Any, accuracy: Any, radius: Any, spec: CollectionSpec, vector: str
) -> None:
    question = Search(collection="a", queries=queries, groups=asked, accuracy=accuracy, radius=radius, vector=vector)
    with np.errstate(all="raise", under="ignore"):
        plain = is_plain(question, spec)
    if plain:
        assert accepted(question, spec)


def test_the_usual_searches_are_plainly_valid() -> None:
    one, several = np.ones((1, 2), dtype=np.float32), np.ones((4, 2), dtype=np.float32)
    for spec in SPECS:
        for accuracy in (None, Exact(), RecallTarget(1.0)):
            for group in (QueryGroup(k=5), QueryGroup(k=5, filter=In(("x",), (1,)))):
                question = Search(collection="a", queries=one, groups=(group,), accuracy=accuracy)
                assert is_plain(question, spec)
        question = Search(collection="a", queries=several, groups=(QueryGroup(k=5),))
        assert is_plain(question, spec) == (spec.metric is not Metric.COSINE)


def test_a_search_by_name_is_plainly_valid_unless_its_hits_have_named_vectors() -> None:
    def by(vector: str, dim: int, **options: Any) -> Search:
        return Search(collection="a", queries=np.ones((1, dim), np.float32), groups=(QueryGroup(k=5),), vector=vector, **options)

    assert is_plain(by("image", 2), NAMED)
    assert is_plain(by("text", 1), NAMED)
    for question in (by("image", 1), by("text", 2), by("", 2), by("sound", 2), by("image", 2, with_vectors=True)):
        assert not is_plain_form(question, NAMED, LIMITS)
    assert not is_plain_form(by("image", 2), SPECS[0], LIMITS)
    assert is_plain(by("", 2, with_vectors=True), SPECS[0])
