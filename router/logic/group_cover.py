"""Decides which calls answer a group of shards, each shard exactly once. A state machine; it performs nothing.

The hits of a call are merged over its shards, so an answer counts as a whole or not at all. A call that is slow gets
substitutes: its shards, all of them, grouped by their next replicas. Either the call counts, or its substitutes do. A
call that answers for a part of its shards counts for these. The others are asked for at their next replicas.

```
        running ──answers──> ANSWERED: it counts for the shards that did not fail; `then` has the others
           │ └────fails────> FAILED: `then` has all its shards
           └─slow─> running, with substitutes in `then` ──all have answered──> REPLACED: `then` counts
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from shoal.core.errors import ShoalError
from shoal.router.logic.outcomes import may_be_answered_elsewhere
from shoal.router.logic.shard_groups import NONE_ALONE, AskedAlone, ShardGroup, elsewhere


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupCall:
    """A call for the shards of a group. id: unique in the cover; copies: calls that these shards are under way with,
    this one included."""

    id: int
    group: ShardGroup
    copies: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """What to do next. send: calls to begin; withdraw: ids of calls to cancel."""

    send: tuple[GroupCall, ...] = ()
    withdraw: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """The outcome. calls: ids of the calls whose answers count; missed: errors of the shards that none of them answers.

    The shards that these calls answer and the missed ones are all shards of the group, each once.
    """

    calls: tuple[int, ...]
    missed: Mapping[int, tuple[ShoalError, ...]]


class _State(Enum):
    RUNNING = auto()
    ANSWERED = auto()
    FAILED = auto()
    REPLACED = auto()


@dataclass(eq=False, slots=True)
class _Node:
    """A call, with the calls for its shards that count beside it (after an answer) or in its place."""

    call: GroupCall
    state: _State = _State.RUNNING
    errors: Mapping[int, ShoalError] = field(default_factory=dict)
    then: list[_Node] = field(default_factory=list)


class GroupCover:
    """The calls for the shards of one group. alone: see grouped."""

    def __init__(self, group: ShardGroup, alone: AskedAlone = NONE_ALONE) -> None:
        self._alone, self._made = alone, 0
        self._nodes: dict[int, _Node] = {}
        self._root = self._node(group, copies=1)

    @property
    def first(self) -> GroupCall:
        """Return the first call, which is to be sent at the beginning."""
        return self._root.call

    def is_running(self, call: int) -> bool:
        """Return whether the call is under way and wanted."""
        return call in self._nodes

    def may_be_replaced(self, call: int) -> bool:
        """Return whether a running call has no substitutes yet, and could have some."""
        node = self._nodes[call]
        return not node.then and node.call.group.has_others

    def slow(self, call: int) -> Moves:
        """Replace a running call that is slow, see may_be_replaced: its shards are asked for elsewhere, too."""
        node = self._nodes[call]
        group = node.call.group
        assert self.may_be_replaced(call), f"call {call} has substitutes, or no other replicas"
        node.then = [self._node(each, node.call.copies + 1) for each in elsewhere(group, group.numbers, self._alone)]
        return Moves(send=tuple(each.call for each in node.then))

    def ended(self, call: int, failed: Mapping[int, ShoalError]) -> Moves:
        """Take the end of a running call. failed: the errors of the shards that it does not answer, maybe all."""
        node = self._nodes.pop(call)
        group, node.errors = node.call.group, dict(failed)
        curable = {number for number, error in failed.items() if may_be_answered_elsewhere(error)}
        node.state = _State.FAILED if len(failed) == len(group.shards) else _State.ANSWERED
        if node.then and len(curable) == len(group.shards):
            # Its substitutes, which are under way, are what would be sent now.
            return Moves(withdraw=self._withdrawn_by_answers())
        withdrawn = [each for substitute in node.then for each in self._dropped(substitute)]
        node.then = [self._node(each, node.call.copies) for each in elsewhere(group, curable, self._alone)]
        return Moves(send=tuple(each.call for each in node.then), withdraw=(*withdrawn, *self._withdrawn_by_answers()))

    @property
    def outcome(self) -> Cover | None:
        """Return the outcome; None while calls that may change it are under way."""
        return self._covered(self._root)

    def _node(self, group: ShardGroup, copies: int) -> _Node:
        node = _Node(GroupCall(id=self._made, group=group, copies=copies))
        self._made += 1
        self._nodes[node.call.id] = node
        return node

    def _withdrawn_by_answers(self) -> tuple[int, ...]:
        """Return the running calls that their substitutes have answered for. They are replaced."""
        withdrawn: list[int] = []
        for node in reversed(list(self._nodes.values())):
            if node.then and self._settled(node):
                node.state = _State.REPLACED
                del self._nodes[node.call.id]
                withdrawn.append(node.call.id)
        return tuple(withdrawn)

    def _settled(self, node: _Node) -> bool:
        """Return whether the substitutes of a call need not be waited for, nor the call: each shard has its answer, or
        an error that every replica would return."""
        covers = [self._covered(each) for each in node.then]
        done = [cover for cover in covers if cover is not None]
        if len(done) < len(covers):
            return False
        errors = [error for cover in done for each in cover.missed.values() for error in each]
        return not errors or not all(map(may_be_answered_elsewhere, errors))

    def _dropped(self, node: _Node) -> Iterator[int]:
        """Forget a node and all below it. Yield the ids of the calls that were running."""
        if self._nodes.pop(node.call.id, None) is not None:
            yield node.call.id
        for each in node.then:
            yield from self._dropped(each)

    def _covered(self, node: _Node) -> Cover | None:
        """Return the outcome for the shards of a node; None while it is open."""
        if node.state is _State.RUNNING:
            return None
        calls = [node.call.id] if node.state is _State.ANSWERED else []
        missed = {number: (error,) for number, error in node.errors.items()}
        for each in node.then:
            cover = self._covered(each)
            if cover is None:
                return None
            calls += cover.calls
            for number in each.call.group.numbers:
                before = missed.pop(number, ())
                if number in cover.missed:
                    missed[number] = (*before, *cover.missed[number])
        return Cover(calls=tuple(calls), missed=missed)
