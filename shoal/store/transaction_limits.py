"""The limits of etcd, checked before a request is sent. The client and the in-memory twin share them. Pure."""

from __future__ import annotations

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.store.interface import DeleteKey, Put, Transaction

MAX_OPERATIONS = 128
"""etcd's --max-txn-ops: the most operations, and the most compares, of one transaction."""

MAX_REQUEST_BYTES = 1536 * 1024
"""etcd's --max-request-bytes."""

MAX_LEASE_TTL_S = 9_000_000_000
"""etcd's limit on the time to live of a lease."""

_ENTRY_OVERHEAD_BYTES = 64
"""Upper bound of the bytes that one compare or operation takes beside its key and value."""


def check_transaction(transaction: Transaction) -> None:
    """Raise InvalidArgument if a transaction breaks a limit, has an unusable key, or two operations on one key."""
    for count, what in ((len(transaction.then), "operations"), (len(transaction.compares), "compares")):
        if count > MAX_OPERATIONS:
            raise InvalidArgument(f"transaction has {count} {what}, at most {MAX_OPERATIONS} are allowed", ErrorDetails(limit=what))
    for entry in (*transaction.compares, *transaction.then):
        check_key(entry.key)
    _check_operated_once(transaction)
    size = request_bytes(transaction)
    if size > MAX_REQUEST_BYTES:
        message = f"transaction needs {size} bytes, at most {MAX_REQUEST_BYTES} are allowed"
        raise InvalidArgument(message, ErrorDetails(limit="request_bytes"))


def check_key(key: str) -> None:
    """Raise InvalidArgument for a key or prefix that is empty or not valid Unicode."""
    if not key:
        raise InvalidArgument("a key of the store must not be empty", ErrorDetails(field="key"))
    try:
        key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"key {key!r} of the store is not valid Unicode: {error.reason}", ErrorDetails(field="key")) from None


def check_ttl(ttl_s: int) -> None:
    """Raise InvalidArgument for a lease that the store would not grant."""
    if not 1 <= ttl_s <= MAX_LEASE_TTL_S:
        raise InvalidArgument(f"ttl of a lease is {ttl_s} s, it must be from 1 to {MAX_LEASE_TTL_S}", ErrorDetails(field="ttl_s"))


def request_bytes(transaction: Transaction) -> int:
    """Return an upper bound of the bytes that the transaction takes when sent."""
    entries = (*transaction.compares, *transaction.then)
    keys = sum(len(entry.key.encode("utf-8")) + _ENTRY_OVERHEAD_BYTES for entry in entries)
    return keys + sum(len(operation.value) for operation in transaction.then if isinstance(operation, Put))


def _check_operated_once(transaction: Transaction) -> None:
    seen: dict[str, Put | DeleteKey] = {}
    for operation in transaction.then:
        if operation.key in seen:
            raise InvalidArgument(f"transaction operates on key {operation.key!r} twice", ErrorDetails(field="then"))
        seen[operation.key] = operation
