"""The error that a checker raises, and the note that stops a history even if the error is caught."""

from __future__ import annotations

_noted: list[AssertionError] = []


class Violation(AssertionError):
    """An invariant was violated. invariant: its name.

    It is noted when it is made: the product may catch the exception.
    """

    def __init__(self, invariant: str, story: str) -> None:
        super().__init__(f"{invariant}: {story}")
        self.invariant = invariant
        note(self)


def hold(condition: bool, invariant: str, story: str) -> None:
    """Raise Violation unless the condition holds. Not for hot places: the story is built in any case."""
    if not condition:
        raise Violation(invariant, story)


def note(error: AssertionError) -> None:
    """Note the error for the scheduler."""
    _noted.append(error)


def begin_notes() -> list[AssertionError]:
    """Forget the notes of the last history. Return the list to which new ones are added."""
    _noted.clear()
    return _noted
