"""A lease and what hangs on it: plays `shoal.store.leases`, and `shoal.shard_worker.hosting.membership` for a worker's
registration.
"""

from __future__ import annotations

from collections.abc import Callable

from shoal.core.cluster_map import WorkerEntry
from shoal.core.ids import Revision, WorkerId
from shoal.store.codecs import encode_worker
from shoal.store.interface import Absent, Committed, Lease, Put, Transaction, Unchanged
from shoal.store.lease_plan import Hold, Pause, Renew, next_step
from tests.simulation.etcd import KEYS, Etcd
from tests.simulation.scheduler import Process, Steps

TTL_S = 5
RETRY_S = 0.5


class Keeper:
    """Keeps one lease. It is renewed until it is gone."""

    def __init__(self, process: Process, etcd: Etcd, lease: Lease, granted_at: float) -> None:
        self._process, self._etcd = process, etcd
        self.lease = lease.id
        self.hold = Hold(ttl_s=float(lease.ttl_s), renewed_at=granted_at, tried_at=granted_at)
        self.lost = self.stopped = False

    def is_held(self) -> bool:
        """Whether it is surely held now."""
        return self._process.clock() < self.hold.deadline and not self.lost and not self.stopped

    def run(self) -> Steps:
        """Renew until it is lost."""
        while not self.lost and not self.stopped:
            now = self._process.clock()
            match next_step(self.hold, ticked_at=now, now=now):
                case Pause(seconds=seconds):
                    yield self._process.sleep(seconds)
                case Renew(timeout_s=timeout_s):
                    yield from self._renew(timeout_s)

    def _renew(self, timeout_s: float) -> Steps:
        hold, sent_at = self.hold, self._process.clock()
        self.hold = Hold(ttl_s=hold.ttl_s, renewed_at=hold.renewed_at, tried_at=sent_at)
        try:
            ttl_s = yield self._etcd.keep_alive(self._process, self.lease, timeout_s)
        except Exception:
            return
        if ttl_s > 0:
            self.hold = Hold(ttl_s=float(ttl_s), renewed_at=sent_at, tried_at=sent_at)
        else:
            self.lost = True


def hold_lease(process: Process, etcd: Etcd) -> Steps:
    """A new lease that is kept from now on."""
    granted_at = process.clock()
    lease = yield etcd.grant(process, TTL_S, TTL_S)
    return Keeper(process, etcd, lease, granted_at)


class Membership:
    """A worker's registration, in one life of its process."""

    def __init__(self, process: Process, etcd: Etcd, me: WorkerId, zone: str, changed: Callable[[], None]) -> None:
        self._process, self._etcd, self._me, self._changed = process, etcd, me, changed
        self._zone, self._incarnation = zone, f"{me}-{process.life}"
        self._keeper: Keeper | None = None
        self.registration = Revision(0)

    def held_now(self, registration: Revision) -> bool:
        """Whether the worker is surely registered so now."""
        return self.registration == registration and self._keeper is not None and self._keeper.is_held()

    def run(self) -> Steps:
        """Register, keep, register again."""
        while True:
            while not (yield from self._try_register()):
                yield self._process.sleep(RETRY_S)
            assert self._keeper is not None
            yield from self._keeper.run()
            self._keeper = None
            self._set(Revision(0))

    def _try_register(self) -> Steps:
        key = KEYS.worker(self._me)
        if self._keeper is not None:
            self._keeper.stopped, self._keeper = True, None
        try:
            found = yield self._etcd.get(self._process, key, TTL_S)
            self._keeper = yield from hold_lease(self._process, self._etcd)
            condition = Absent(key=key) if found is None else Unchanged(key=key, mod_revision=found.mod_revision)
            put = Put(key=key, value=encode_worker(self._entry()), lease_id=self._keeper.lease)
            outcome = yield self._etcd.commit(self._process, Transaction(compares=(condition,), then=(put,)), TTL_S)
        except AssertionError:
            raise
        except Exception:
            return False
        if not isinstance(outcome, Committed):
            return False
        self._set(outcome.revision)
        return True

    def _entry(self) -> WorkerEntry:
        return WorkerEntry(
            id=self._me,
            address=self._me,
            incarnation=self._incarnation,
            pid=1,
            node=self._me,
            zone=self._zone,
            registration=Revision(0),
        )

    def _set(self, registration: Revision) -> None:
        self.registration = registration
        self._changed()
