from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import DataLoss
from shoal.core.recovery import AuditEntry
from shoal.store.codecs import decode_audit, encode_audit
from shoal.store.keys import Keys
from tests.support.examples.recoveries import entries

KEYS = Keys("test")


@given(entries)
def test_an_entry_comes_back(entry: AuditEntry) -> None:
    assert decode_audit("k", encode_audit(entry)) == entry


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"shard": 1}', b"\xff"])
def test_what_is_no_entry_is_data_loss_naming_the_key(text: bytes) -> None:
    with pytest.raises(DataLoss, match="key audit/x"):
        decode_audit("audit/x", text)


@given(st.integers(0, 2**41), st.integers(0, 2**41))
def test_keys_stand_in_the_order_of_their_times(one: int, other: int) -> None:
    assert (KEYS.audit(one, "z") < KEYS.audit(other, "a")) == (one < other) or one == other


def test_a_key_tells_the_time_in_utc() -> None:
    assert KEYS.audit(1_700_000_000_123, "id") == KEYS.audits + "20231114T221320.123Z-id"
