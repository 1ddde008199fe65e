"""What the attempts of one write leave in doubt. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shoal.core.errors import Applied, ShoalError, leaves_open

_CERTAINTY: Mapping[Applied, int] = {"no": 0, "maybe": 1, "yes": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """What failed attempts of a write have told. told: the strongest word of each shard ("name/number"), no < maybe <
    yes; open: whether an attempt ended without a word on shards, so that any of them may have applied it."""

    told: Mapping[str, Applied] = field(default_factory=dict)
    open: bool = False

    def after(self, error: ShoalError) -> Doubt:
        """With what a further attempt told. What an earlier one left open, or applied, stays so."""
        if not error.details.applied:
            return Doubt(told=self.told, open=self.open or leaves_open(error))
        told = dict(self.told)
        for shard, word in error.details.applied.items():
            told[shard] = max(told.get(shard, word), word, key=_CERTAINTY.__getitem__)
        return Doubt(told=told, open=self.open)

    @property
    def applied(self) -> dict[str, Applied]:
        """For each shard that was told of, whether the write was applied there."""
        return {shard: "maybe" if self.open and word == "no" else word for shard, word in self.told.items()}
