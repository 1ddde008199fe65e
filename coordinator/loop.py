"""Goes round: observe -> decide -> act. Wakes on every change and, besides, every few seconds. Keeps nothing between rounds."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.act import Actor
from coordinator.bell import Bell
from coordinator.logic.reconcile import reconcile
from coordinator.logic.snapshot import Snapshot
from shoal.core.ids import Revision
from shoal.store.observe import MapObserver


class Loop:
    """The rounds of this coordinator; idle while it does not lead.

    every_s: longest pause between rounds; steps_per_round: bound of one round, the rest follows in the next;
    new_seed: text that never comes twice.
    """

    def __init__(
        self,
        *,
        observer: MapObserver,
        bell: Bell,
        actor: Actor,
        leads: Callable[[], bool],
        new_seed: Callable[[], str],
        every_s: float,
        steps_per_round: int,
    ) -> None:
        self._observer, self._bell, self._actor = observer, bell, actor
        self._leads, self._new_seed = leads, new_seed
        self._every_s, self._steps_per_round = every_s, steps_per_round

    async def run(self) -> None:
        """Go round without end."""
        while True:
            heard = self._bell.rings
            if self._leads():
                await self._see(await self.round())
            await self._bell.wait(heard, self._every_s)

    async def round(self) -> Revision:
        """One round. Returns the newest revision it committed, 0 for none."""
        snapshot = Snapshot(map=self._observer.map, seed=self._new_seed())
        return await self._actor.carry_out(reconcile(snapshot, self._steps_per_round))

    async def _see(self, revision: Revision) -> None:
        # A round made from a map that lacks the last one's commits would only be rejected.
        await self._bell.until(lambda: self._observer.map.revision >= revision, self._every_s)
