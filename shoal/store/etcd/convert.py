"""Turns etcd's messages into values of the interface, and back. No message of etcd leaves this room."""

from __future__ import annotations

from shoal.core.ids import Revision
from shoal.store.etcd import etcd_rpc_pb2 as rpc
from shoal.store.etcd.watch_progress import Canceled, Changes, Deleted, HistoryCompacted, StillThere, StreamMessage, WatchCreated
from shoal.store.interface import (
    Absent,
    Changed,
    Committed,
    Compare,
    Created,
    DeleteKey,
    LeaseId,
    Operation,
    Put,
    Rejected,
    Transaction,
    Unchanged,
    Versioned,
)


def encode_key(key: str) -> bytes:
    """Return a key as etcd holds it."""
    return key.encode("utf-8")


def decode_key(key: bytes) -> str:
    """Return a key as the interface names it.

    Another client may have written bytes that are not UTF-8. They become surrogates, so that reading does not fail.
    """
    return key.decode("utf-8", "surrogateescape")


def end_of_prefix(prefix: str) -> bytes:
    """Return the first key after all keys below a prefix. The prefix must not be empty."""
    first = encode_key(prefix)
    # 0xFF does not occur in UTF-8, so the last byte can be raised by one.
    return first[:-1] + bytes([first[-1] + 1])


def to_txn(transaction: Transaction) -> rpc.TxnRequest:
    """Return a transaction as etcd takes it."""
    return rpc.TxnRequest(
        compare=[_to_compare(compare) for compare in transaction.compares],
        success=[_to_operation(operation) for operation in transaction.then],
    )


def from_txn(response: rpc.TxnResponse) -> Committed | Rejected:
    """Return the outcome of a transaction."""
    revision = Revision(response.header.revision)
    return Committed(revision=revision) if response.succeeded else Rejected(revision=revision)


def from_key_value(message: rpc.KeyValue) -> Versioned:
    """Return one key."""
    return Versioned(
        key=decode_key(message.key),
        value=message.value,
        create_revision=Revision(message.create_revision),
        mod_revision=Revision(message.mod_revision),
        lease=LeaseId(message.lease) if message.lease else None,
    )


def from_watch_response(response: rpc.WatchResponse) -> StreamMessage:
    """Return the message that the server sent on a watch stream."""
    if response.compact_revision:
        return HistoryCompacted(revision=Revision(response.compact_revision))
    if response.canceled:
        return Canceled(reason=response.cancel_reason or "no reason given")
    if response.created:
        return WatchCreated(revision=Revision(response.header.revision))
    if response.events:
        return Changes(events=tuple(_from_event(event) for event in response.events), more=response.fragment)
    return StillThere()


def _from_event(event: rpc.Event) -> Versioned | Deleted:
    if event.type == rpc.Event.EventType.DELETE:
        return Deleted(key=decode_key(event.kv.key), revision=Revision(event.kv.mod_revision))
    return from_key_value(event.kv)


def _to_compare(compare: Compare) -> rpc.Compare:
    key = encode_key(compare.key)
    match compare:
        case Absent():
            return rpc.Compare(key=key, target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, create_revision=0)
        case Created(create_revision=revision):
            return rpc.Compare(key=key, target=rpc.Compare.CREATE, result=rpc.Compare.EQUAL, create_revision=revision)
        case Unchanged(mod_revision=revision):
            return rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=revision)
        case Changed(mod_revision=revision):
            return rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.NOT_EQUAL, mod_revision=revision)


def _to_operation(operation: Operation) -> rpc.RequestOp:
    match operation:
        case Put(key=key, value=value, lease_id=lease_id):
            return rpc.RequestOp(request_put=rpc.PutRequest(key=encode_key(key), value=value, lease=lease_id or 0))
        case DeleteKey(key=key):
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=encode_key(key)))
