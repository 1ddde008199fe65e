import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shoal.client.cutting import cut, last_of_each, point_sizes
from shoal.core.points import PointColumns, id_array
from shoal.wire.columns import points_to_message

IDS = st.lists(st.one_of(st.integers(-5, 5), st.sampled_from(["1", "2", "x", "ä"])), min_size=1, max_size=40)


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 120), st.integers(1, 20))
def test_pieces_cover_everything_in_order_within_both_bounds(sizes, max_bytes, max_count):
    pieces = cut(np.array(sizes, dtype=np.int64), max_bytes=max_bytes, max_count=max_count)
    assert [at for start, end in pieces for at in range(start, end)] == list(range(len(sizes)))
    for start, end in pieces:
        assert 1 <= end - start <= max_count
        assert end - start == 1 or sum(sizes[start:end]) <= max_bytes


@given(st.lists(st.integers(1, 50), min_size=2, max_size=60), st.integers(1, 120))
def test_pieces_are_as_large_as_they_can_be(sizes, max_bytes):
    pieces = cut(np.array(sizes, dtype=np.int64), max_bytes=max_bytes, max_count=10_000)
    for start, end in pieces[:-1]:
        assert sum(sizes[start : end + 1]) > max_bytes


@given(IDS)
def test_the_last_of_each_id_is_kept_in_the_order_given(ids):
    positions = last_of_each(id_array(ids))
    kept = list(range(len(ids))) if positions is None else positions.tolist()
    assert kept == [at for at, value in enumerate(ids) if not any(type(value) is type(later) and value == later for later in ids[at + 1 :])]


def test_ids_that_differ_already_need_no_selection():
    assert last_of_each(np.array([3, 1, 2])) is None
    assert last_of_each(np.array([1, 2, 3])) is None
    assert last_of_each(id_array([1, "1"])) is None


@given(IDS, st.integers(1, 9), st.booleans())
def test_sizes_are_never_below_what_travels(ids, dim, with_payloads):
    payloads = tuple(b'{"a":"xyz"}' if at % 2 else None for at in range(len(ids))) if with_payloads else None
    points = PointColumns(ids=id_array(ids), vectors=np.ones((len(ids), dim), np.float32), payloads=payloads)
    assert points_to_message(points).ByteSize() <= point_sizes(points).sum() + 64
