import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.client.search_input import accuracy_from_input, groups_from_input, one_group, radius_from_input, recall_from_input
from shoal.core.errors import InvalidArgument
from shoal.core.filter import In, filter_key
from shoal.core.filter_input import filter_from_input
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.shard_calls import Breadth, Exact, RecallTarget

KS = st.one_of(st.none(), st.integers(1, 3))
FILTERS = st.one_of(st.none(), st.sampled_from([{"a": 1}, {"a": True}, {"a": 1.0}, {}, {"b": {"$gt": 2}}]))


def wanted(groups, queries):
    """Return k and the key of the filter for each query. Fails if a query is not in exactly one group."""
    found = {}
    for group in groups:
        for at in range(queries) if group.queries is None else group.queries.tolist():
            assert at not in found
            found[at] = (group.k, None if group.filter is None else filter_key(group.filter))
    return [found[at] for at in range(queries)]


def one_by_one(k, filter, queries):
    ks = k if isinstance(k, list) else [k] * queries
    filters = filter if isinstance(filter, list) else [filter] * queries
    return [
        (10 if count is None else count, None if given is None else filter_key(filter_from_input(given, DEFAULT_LIMITS)))
        for count, given in zip(ks, filters, strict=True)
    ]


@settings(max_examples=150)
@given(st.data(), st.integers(1, 12))
def test_every_query_gets_its_own_k_and_filter_and_equal_ones_share_a_group(data, queries):
    k = data.draw(st.one_of(KS, st.lists(KS, min_size=queries, max_size=queries)))
    filter = data.draw(st.one_of(FILTERS, st.lists(FILTERS, min_size=queries, max_size=queries)))
    groups = groups_from_input(k, filter, queries=queries, radius=None)
    expected = one_by_one(k, filter, queries)
    assert wanted(groups, queries) == expected
    assert len(groups) == len(set(expected))
    assert (len(groups) == 1) == (groups[0].queries is None)
    for group in groups:
        assert group.queries is None or (group.queries.dtype == np.int64 and (np.diff(group.queries) > 0).all())


def test_uniform_calls_are_one_group_of_all_queries():
    for k, filter in ((np.int32(3), {"a": 1}), ([3, 3], {"a": 1}), (3, [{"a": 1}, {"a": 1}])):
        (group,) = groups_from_input(k, filter, queries=2, radius=None)
        assert (group.k, group.filter, group.queries) == (3, In(("a",), (1,)), None)
    (group,) = groups_from_input(np.array([3, 3]), None, queries=2, radius=None)
    assert (group.k, group.filter) == (3, None)


@pytest.mark.parametrize(("queries", "k"), [(1, 16_384), (61, 16_384), (62, 16_129), (4_096, 244)])
def test_without_k_a_radius_takes_what_an_answer_holds(queries, k):
    for k_given in (None, [None] * queries):
        assert [group.k for group in groups_from_input(k_given, None, queries=queries, radius=1.0)] == [k]
    assert k * queries <= DEFAULT_LIMITS.batch_hits
    assert one_group(5, None, queries=queries, radius=1.0)[0].k == 5


@pytest.mark.parametrize(
    ("k", "filter", "index", "words"),
    [
        ([1, 0, 2], None, 1, r"k is 0.*\(query 1\)"),
        ([1, 2, 1.5], None, 2, r"k is 1.5"),
        (None, [None, {"a": 1}, {"a": {"$foo": 1}}], 2, r"at a\.\$foo.*\(query 2\)"),
        (None, [None, [{"a": 1}], None], 1, "dict"),
        ([1, 2], None, None, "k is a list of 2 for 3 queries"),
        (None, [{"a": 1}] * 4, None, "filter is a list of 4 for 3 queries"),
        ([], None, None, "list of 0"),
    ],
)
def test_the_first_bad_one_is_named(k, filter, index, words):
    with pytest.raises(InvalidArgument, match=words) as raised:
        groups_from_input(k, filter, queries=3, radius=None)
    assert raised.value.details.index == index


@pytest.mark.parametrize(
    ("given", "accuracy"),
    [
        ({}, None),
        ({"exact": True}, Exact()),
        ({"recall": 0.5}, RecallTarget(0.5)),
        ({"recall": 1}, RecallTarget(1.0)),
        ({"recall": np.float32(0.5)}, RecallTarget(0.5)),
        ({"params": {"ef": 64}}, Breadth(ef=64)),
        ({"params": {"nprobe": np.int64(8)}}, Breadth(nprobe=8)),
    ],
)
def test_how_exact_a_search_is_to_be(given, accuracy):
    assert accuracy_from_input(**{"exact": False, "recall": None, "params": None} | given) == accuracy


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"exact": True, "recall": 0.5}, "exact and recall contradict"),
        ({"exact": True, "params": {"ef": 1}}, "exact and params contradict"),
        ({"recall": 0.5, "params": {"ef": 1}}, "recall and params contradict"),
        ({"params": {}}, "0 keys"),
        ({"params": {"ef": 1, "nprobe": 1}}, "2 keys"),
        ({"params": {"efSearch": 1}}, "unknown key 'efSearch'.*ef.*nprobe"),
        ({"params": [64]}, "must be a dict, not list"),
        ({"params": {"ef": 0}}, r"params\.ef is 0"),
        ({"params": {"ef": 2.0}}, r"params\.ef is 2\.0"),
        ({"params": {"nprobe": True}}, r"params\.nprobe is True"),
        ({"recall": 1.01}, "above 0 and at most 1"),
        ({"recall": float("nan")}, "above 0 and at most 1"),
        ({"recall": True}, "above 0 and at most 1"),
        ({"recall": "0.9"}, "above 0 and at most 1"),
    ],
)
def test_contradictions_and_nonsense_are_refused_by_name(given, words):
    with pytest.raises(InvalidArgument, match=words):
        accuracy_from_input(**{"exact": False, "recall": None, "params": None} | given)


def test_a_radius_is_any_finite_number():
    assert [radius_from_input(value) for value in (None, 0, -2, np.float32(0.5), 1.5)] == [None, 0.0, -2.0, 0.5, 1.5]
    for bad in (float("nan"), float("inf"), np.float64("-inf"), "1", True, np.bool_(True), [1.0], 10**400):
        with pytest.raises(InvalidArgument, match="finite number"):
            radius_from_input(bad)


def test_a_recall_may_come_from_numpy():
    assert recall_from_input(np.float64(0.25)) == 0.25
    with pytest.raises(InvalidArgument):
        recall_from_input(np.bool_(True))
