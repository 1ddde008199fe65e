"""The dumb twin: the same random transactions, put to the store in memory and to a real etcd, must have the same
outcome.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.core.ids import Revision
from shoal.store.etcd.client import EtcdStore
from shoal.store.etcd.settings import EtcdSettings
from shoal.store.interface import (
    Absent,
    Changed,
    Compare,
    Created,
    DeleteKey,
    Delta,
    LeaseId,
    LeaseNotFound,
    Operation,
    Put,
    Store,
    Transaction,
    Unchanged,
)
from tests.contract.store.eventually import heard
from tests.contract.store.worlds import CALL_S
from tests.support.etcd.process import EtcdProcess
from tests.twins.store.client import MemoryStore
from tests.twins.store.cluster import MemoryCluster

KEYS = ("a", "b", "b/c")
LEASES = 2


@dataclass(frozen=True)
class CompareStep:
    """A compare; `seen` picks the revision from those the store has said so far."""

    kind: type[Compare]
    key: str
    seen: int


@dataclass(frozen=True)
class OperationStep:
    """A put (value, maybe under a lease) or, without a value, a delete."""

    key: str
    value: bytes | None
    lease: int | None


@dataclass(frozen=True)
class CommitStep:
    compares: tuple[CompareStep, ...]
    then: tuple[OperationStep, ...]


@dataclass(frozen=True)
class RevokeStep:
    lease: int


Step = CommitStep | RevokeStep

keys = st.sampled_from(KEYS)
compares = st.builds(CompareStep, st.sampled_from([Absent, Created, Unchanged, Changed]), keys, st.integers(0, 5))
operations = st.builds(
    OperationStep,
    keys,
    st.one_of(st.none(), st.binary(max_size=3)),
    st.one_of(st.none(), st.integers(0, LEASES - 1)),
)
commits = st.builds(
    CommitStep,
    st.lists(compares, max_size=2).map(tuple),
    st.lists(operations, max_size=3, unique_by=lambda operation: operation.key).map(tuple),
)
histories = st.lists(st.one_of(commits, commits, commits, st.builds(RevokeStep, st.integers(0, LEASES - 1))), max_size=12)


@pytest.fixture(scope="module")
def quiet_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """An etcd that nobody else writes to, so that its revisions can be counted."""
    folder: Path = tmp_path_factory.mktemp("quiet-etcd")
    etcd = EtcdProcess(folder)
    etcd.start()
    yield etcd
    etcd.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
def test_memory_and_etcd_agree(quiet_etcd: EtcdProcess, history: list[Step]) -> None:
    async def both() -> None:
        etcd = EtcdStore(EtcdSettings(endpoints=(quiet_etcd.endpoint,)))
        try:
            assert await _story(MemoryStore(MemoryCluster(lambda: 0.0)), history) == await _story(etcd, history)
        finally:
            await etcd.close()

    asyncio.run(both())


async def _story(store: Store, history: list[Step]) -> list[object]:
    """All that can be observed of a history, with revisions counted from its beginning and leases by their order."""
    prefix = f"/twin/{uuid.uuid4().hex}/"
    base = (await store.list(prefix, CALL_S)).revision
    leases = [(await store.grant_lease(3_600, CALL_S)).id for _ in range(LEASES)]
    seen, story = [Revision(0)], list[object]()
    async with store.watch(prefix) as watch:
        await heard(watch)
        for step in history:
            story.append(await _take(store, step, prefix, leases, seen))
            listing = await store.list(prefix, CALL_S)
            seen.append(listing.revision)
            story.append(_told(prefix, base, leases, Delta(revision=listing.revision, changed=listing.entries, deleted=())))
        end = await store.commit(Transaction(then=(Put(key=prefix + "end", value=b""),)), CALL_S)
        said = None
        while said is None or said.revision != end.revision:
            said = await heard(watch)
            assert isinstance(said, Delta)
            story.append(_told(prefix, base, leases, said))
    for lease in leases:
        await store.revoke_lease(lease, CALL_S)
    return story


async def _take(store: Store, step: Step, prefix: str, leases: list[LeaseId], seen: list[Revision]) -> object:
    match step:
        case RevokeStep(lease=lease):
            await store.revoke_lease(leases[lease], CALL_S)
            return "revoked"
        case CommitStep(compares=compares, then=then):
            transaction = Transaction(
                compares=tuple(_compare(compare, prefix, seen) for compare in compares),
                then=tuple(_operation(operation, prefix, leases) for operation in then),
            )
            try:
                outcome = await store.commit(transaction, CALL_S)
            except LeaseNotFound:
                return "no lease"
            seen.append(outcome.revision)
            return type(outcome)


def _compare(step: CompareStep, prefix: str, seen: list[Revision]) -> Compare:
    key, revision = prefix + step.key, seen[-1 - step.seen % len(seen)]
    if step.kind is Absent:
        return Absent(key=key)
    if step.kind is Created:
        return Created(key=key, create_revision=revision)
    return Unchanged(key=key, mod_revision=revision) if step.kind is Unchanged else Changed(key=key, mod_revision=revision)


def _operation(step: OperationStep, prefix: str, leases: list[LeaseId]) -> Operation:
    key = prefix + step.key
    if step.value is None:
        return DeleteKey(key=key)
    return Put(key=key, value=step.value, lease_id=None if step.lease is None else leases[step.lease])


def _told(prefix: str, base: Revision, leases: list[LeaseId], delta: Delta) -> object:
    changed = [
        (
            entry.key.removeprefix(prefix),
            entry.value,
            entry.create_revision - base,
            entry.mod_revision - base,
            None if entry.lease is None else leases.index(entry.lease),
        )
        for entry in delta.changed
    ]
    return delta.revision - base, changed, [key.removeprefix(prefix) for key in delta.deleted]
