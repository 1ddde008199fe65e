"""Swaps the configurations of shards. A worker may do so only while it keeps its registration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from shoal.core.errors import ShoalError
from shoal.core.ids import Revision, WorkerId
from shoal.core.shard_config import ShardConfig
from shoal.runtime.logs import event
from shoal.shard_worker.logic.replication.leadership import SwapOutcome
from shoal.store.codecs import encode_shard
from shoal.store.interface import Committed, OutcomeUnknown, Put, Store, Transaction, Unchanged
from shoal.store.keys import Keys

log = logging.getLogger("shoal.worker.swaps")

STORE_TIMEOUT_S = 5.0
NOBODY_ELSE: Mapping[WorkerId, Revision] = MappingProxyType({})


class ConfigSwaps:
    """The swaps of one worker."""

    def __init__(self, *, store: Store, keys: Keys, me: WorkerId) -> None:
        self._store, self._keys, self._me = store, keys, me

    async def swap(
        self, config: ShardConfig, base: Revision, registration: Revision, also: Mapping[WorkerId, Revision] = NOBODY_ELSE
    ) -> tuple[SwapOutcome, Revision]:
        """Put `config` if the epoch of its shard is `base` and this worker has that registration.

        also: further workers, which must have these registrations. Returns the outcome and the new epoch, which is 0
        unless the outcome is DONE.
        """
        key = self._keys.shard(config.shard)
        registered = {**also, self._me: registration}
        transaction = Transaction(
            compares=(
                Unchanged(key=key, mod_revision=base),
                *(Unchanged(key=self._keys.worker(worker), mod_revision=registered[worker]) for worker in sorted(registered)),
            ),
            then=(Put(key=key, value=encode_shard(config)),),
        )
        try:
            outcome = await self._store.commit(transaction, STORE_TIMEOUT_S)
        except OutcomeUnknown:
            return SwapOutcome.UNKNOWN, Revision(0)
        except ShoalError as error:
            log.warning(event("swap_failed", shard=config.shard, reason=error.message))
            return SwapOutcome.NOT_DONE, Revision(0)
        return (SwapOutcome.DONE, outcome.revision) if isinstance(outcome, Committed) else (SwapOutcome.REJECTED, Revision(0))
