"""Test the digest of a replica: it is equal for equal sets of (id, seq) in any order, and differs for
different sets.
"""

from hypothesis import given
from hypothesis import strategies as st

from shoal.shard_worker.fsck.store_check import Digest

IDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3), st.sampled_from(["", "1", "a", "é", "\x00"]))
POINTS = st.dictionaries(IDS, st.integers(1, 4), max_size=8)


def digest(points):
    found = Digest()
    for point_id, seq in points:
        found.add(point_id, seq)
    return found.text()


@given(POINTS, st.randoms())
def test_order_does_not_matter(points, chosen):
    items = list(points.items())
    shuffled = list(items)
    chosen.shuffle(shuffled)
    assert digest(items) == digest(shuffled)


@given(POINTS, POINTS)
def test_equal_digests_are_equal_sets(one, other):
    assert (digest(one.items()) == digest(other.items())) == (one == other)


def test_of_nothing_it_is_zero_and_it_has_32_digits():
    assert digest([]) == "0" * 32
    assert len(digest([(1, 1)])) == 32


def test_an_integer_and_its_spelling_differ():
    assert digest([(1, 1)]) != digest([("1", 1)])
