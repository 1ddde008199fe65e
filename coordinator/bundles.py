"""Puts transactions of steps together, so that many steps take one call of the store. Pure.

Each step keeps all its compares. So a bundle that is committed proves the conditions of every step in it, as if the
steps had been committed one after the other. A bundle that is rejected says nothing about its single steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shoal.coordinator.logic.steps import Step
from shoal.store.interface import Compare, Transaction
from shoal.store.transaction_limits import MAX_OPERATIONS, request_bytes

STEPS_AT_ONCE = 32
"""Most steps of a bundle. One step that does not hold makes all steps of its bundle run alone."""

BUNDLE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Attempt:
    """A step and its transaction."""

    step: Step
    transaction: Transaction


@dataclass(frozen=True, slots=True)
class Bundle:
    """One or more steps, and the transaction that applies all of them or none."""

    attempts: tuple[Attempt, ...]
    transaction: Transaction


def bundled(attempts: Iterable[Attempt]) -> Iterator[Bundle]:
    """Yield bundles of the attempts, in order and within the limits of the store. A bundle changes no key twice."""
    begun = _Begun()
    for attempt in attempts:
        if not begun.has_room_for(attempt):
            yield begun.bundle()
            begun = _Begun()
        begun.add(attempt)
    if begun.attempts:
        yield begun.bundle()


class _Begun:
    """A bundle that may still grow."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._compares: dict[Compare, None] = {}
        self._keys: set[str] = set()
        self._bytes = 0

    def has_room_for(self, attempt: Attempt) -> bool:
        transaction = attempt.transaction
        if not self.attempts:
            return True
        return (
            len(self.attempts) < STEPS_AT_ONCE
            and len(self._compares.keys() | set(transaction.compares)) <= MAX_OPERATIONS
            and len(self._keys) + len(transaction.then) <= MAX_OPERATIONS
            and self._bytes + request_bytes(transaction) <= BUNDLE_BYTES
            and self._keys.isdisjoint(operation.key for operation in transaction.then)
        )

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self._compares |= dict.fromkeys(attempt.transaction.compares)
        self._keys.update(operation.key for operation in attempt.transaction.then)
        self._bytes += request_bytes(attempt.transaction)

    def bundle(self) -> Bundle:
        operations = tuple(operation for attempt in self.attempts for operation in attempt.transaction.then)
        return Bundle(attempts=tuple(self.attempts), transaction=Transaction(compares=tuple(self._compares), then=operations))
