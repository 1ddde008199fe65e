from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import InvalidArgument
from shoal.core.ids import Revision
from shoal.store.etcd.convert import decode_key, encode_key, end_of_prefix, to_txn
from shoal.store.interface import Absent, Changed, Created, DeleteKey, LeaseId, Put, Transaction, Unchanged
from shoal.store.transaction_limits import check_key, check_transaction, check_ttl, request_bytes

keys = st.text(min_size=1, max_size=300)
revisions = st.integers(0, 2**63 - 1).map(Revision)
compares = st.one_of(
    st.builds(Absent, key=keys),
    st.builds(Created, key=keys, create_revision=revisions),
    st.builds(Unchanged, key=keys, mod_revision=revisions),
    st.builds(Changed, key=keys, mod_revision=revisions),
)
leases = st.one_of(st.none(), st.integers(1, 2**63 - 1).map(LeaseId))
operations = st.one_of(st.builds(Put, key=keys, value=st.binary(max_size=300), lease_id=leases), st.builds(DeleteKey, key=keys))


@given(st.lists(compares, max_size=4), st.lists(operations, max_size=4))
def test_a_transaction_is_never_larger_on_the_wire_than_it_is_counted(compares: list[Absent], then: list[Put]) -> None:
    transaction = Transaction(compares=tuple(compares), then=tuple(then))
    assert to_txn(transaction).ByteSize() <= request_bytes(transaction)


def test_the_error_names_the_values() -> None:
    with pytest.raises(InvalidArgument, match="129 operations, at most 128"):
        check_transaction(Transaction(then=tuple(DeleteKey(key=str(number)) for number in range(129))))
    with pytest.raises(InvalidArgument, match="key 'a' twice"):
        check_transaction(Transaction(then=(DeleteKey(key="a"), Put(key="a", value=b""))))
    with pytest.raises(InvalidArgument, match="ttl of a lease is 0 s"):
        check_ttl(0)
    for key in ("", "\udcff"):
        with pytest.raises(InvalidArgument, match="key"):
            check_key(key)


@given(keys, keys)
def test_the_end_of_a_prefix_parts_what_is_below_it_from_what_is_not(prefix: str, other: str) -> None:
    first, end = encode_key(prefix), end_of_prefix(prefix)
    for key in (prefix, prefix + other, other):
        assert (first <= encode_key(key) < end) is key.startswith(prefix)


def test_foreign_bytes_in_a_key_do_not_break_a_listing() -> None:
    assert decode_key(b"/shoal/\xff").startswith("/shoal/")
