"""Checksums of many rows are those of each row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.points import INT64_MAX, INT64_MIN, id_array
from shoal.shard_worker.storage.checksum import NO_PART, key_crc, key_crcs, part_crc, part_crcs, point_crc, point_crcs

INTEGERS = st.integers(INT64_MIN, INT64_MAX)
COLUMNS = st.lists(INTEGERS, max_size=5) | st.lists(INTEGERS | st.text(min_size=1, max_size=5), max_size=5)
PARTS = st.none() | st.binary(max_size=8)


@given(COLUMNS, st.integers(1, 2**62), st.integers(1, 2**62), st.data())
def test_checksums_of_many_rows_are_those_of_each(ids, first_row, seq, data):
    rows = range(first_row, first_row + len(ids))
    payloads, vectors = (data.draw(st.lists(PARTS, min_size=len(ids), max_size=len(ids))) for _ in range(2))
    payload_crcs, vector_crcs = part_crcs(payloads), part_crcs(vectors)
    assert payload_crcs == [part_crc(payload) for payload in payloads]
    assert all((crc == NO_PART) == (payload is None) for crc, payload in zip(payload_crcs, payloads, strict=True))
    expected = [point_crc(*each) for each in zip(rows, ids, [seq] * len(ids), payload_crcs, vector_crcs, strict=True)]
    assert point_crcs(rows, id_array(ids), seq, payload_crcs, vector_crcs) == expected
    assert key_crcs(rows, id_array(ids)) == list(map(key_crc, rows, ids))
