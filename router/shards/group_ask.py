"""What is asked of several shards of one collection, in one call to each worker, as GroupReads carries it out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from shoal.core.errors import ShoalError
from shoal.core.ids import ShardId
from shoal.core.shard_calls import Consistency, ShardService, ShardsFound, ShardsSearch


class GroupAnswer(Protocol):
    """The answer of one worker. It counts for the shards that have not failed."""

    @property
    def failed(self) -> Mapping[ShardId, ShoalError]:
        """The errors of the shards that the worker could not read."""
        ...


F = TypeVar("F", bound=GroupAnswer)
F_co = TypeVar("F_co", bound=GroupAnswer, covariant=True)


class GroupAsk(Protocol[F_co]):
    """What is asked. The answers of several workers together are that of one."""

    @property
    def shards(self) -> tuple[ShardId, ...]:
        """The shards, at least one, each once."""
        ...

    @property
    def consistency(self) -> Consistency:
        """How fresh the answer must be."""
        ...

    async def send(self, service: ShardService, shards: tuple[ShardId, ...], left_s: float) -> F_co:
        """Return the answer of one worker about some of the shards, at least one. left_s: seconds that it may take."""
        ...

    def kind(self, shards: int) -> str:
        """Return the kind of a call on so many shards, which takes about as long as others of its kind."""
        ...


class _ShardsCall(Protocol):
    @property
    def shards(self) -> tuple[ShardId, ...]: ...

    @property
    def consistency(self) -> Consistency: ...


C = TypeVar("C", bound=_ShardsCall)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class AskOfCall(Generic[C]):
    """The part of a GroupAsk that its call says. call: as it is asked of all shards."""

    call: C

    @property
    def shards(self) -> tuple[ShardId, ...]:
        """See GroupAsk."""
        return self.call.shards

    @property
    def consistency(self) -> Consistency:
        """See GroupAsk."""
        return self.call.consistency


def kind_of(name: str, queries: int, shards: int) -> str:
    """Return the kind of a call. Calls with a similar number of queries times shards are one kind: those for which it
    has as many digits.
    """
    return f"{name}{len(str(queries * shards))}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class VectorAsk(AskOfCall[ShardsSearch]):
    """A search by vectors."""

    async def send(self, service: ShardService, shards: tuple[ShardId, ...], left_s: float) -> ShardsFound:
        """See GroupAsk. One shard is asked by the call for one, which workers of all versions know."""
        if len(shards) == 1:
            found = await service.search(self.call.of(shards[0]), left_s)
            return ShardsFound(hits=found.hits, explain=found.explain)
        call = self.call if len(shards) == len(self.call.shards) else dataclasses.replace(self.call, shards=shards)
        return await service.search_shards(call, left_s)

    def kind(self, shards: int) -> str:
        """See GroupAsk."""
        return kind_of("search", len(self.call.queries), shards)
