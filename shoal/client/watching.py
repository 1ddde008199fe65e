"""A long call with progress: the call, and looks at its collection beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shoal.client.flow import Flow, Sleep
from shoal.client.progress import Progress
from shoal.core.errors import ShoalError
from shoal.core.replies import CollectionInfo

LOOKS_S = 0.25
"""Pause between two looks."""


class WatchedOptimize:
    """The call that seals everything, and looks that tell (sealed rows, all rows) until it has ended.

    flows: of the call, and of the looks if there is somebody to tell; they run at the same time.
    """

    def __init__(self, call: Flow[None], look: Callable[[], Flow[CollectionInfo]], told: Progress | None) -> None:
        """look: returns the flow of one look. One that fails ends the looks: the call says itself what is wrong."""
        self._all, self._over, self._told = 0, False, told
        self.flows: tuple[Flow[None], ...] = (call,) if told is None else (self._optimized(call), self._looks(look, told))

    def done(self, flow: int) -> None:
        """Take note that a flow has ended; nothing depends on it."""

    def settled(self, outcomes: Sequence[Any]) -> None:
        """Tell that all rows are sealed. outcomes: of the flows. Raises the error of the call if it failed."""
        if isinstance(outcomes[0], ShoalError):
            raise outcomes[0]
        if self._told is not None:
            self._told(self._all, self._all)

    def _optimized(self, call: Flow[None]) -> Flow[None]:
        try:
            yield from call
        finally:
            self._over = True

    def _looks(self, look: Callable[[], Flow[CollectionInfo]], told: Progress) -> Flow[None]:
        while not self._over:
            try:
                info = yield from look()
            except ShoalError:
                return
            self._all = info.sealed_rows + info.growing_rows
            told(info.sealed_rows, self._all)
            if not self._over:
                yield Sleep(LOOKS_S)
