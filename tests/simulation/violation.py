"""What a checker raises, and the note that stops a history whoever catches it."""

from __future__ import annotations

_noted: list[AssertionError] = []


class Violation(AssertionError):
    """An invariant fell. invariant: which, in a few words. It is noted: the product may catch what it is raised in."""

    def __init__(self, invariant: str, story: str) -> None:
        super().__init__(f"{invariant}: {story}")
        self.invariant = invariant
        note(self)


def hold(condition: bool, invariant: str, story: str) -> None:
    """Raise Violation unless the condition holds. For places that are not hot: the story is made in any case."""
    if not condition:
        raise Violation(invariant, story)


def note(error: AssertionError) -> None:
    """Remember it for the scheduler."""
    _noted.append(error)


def begin_notes() -> list[AssertionError]:
    """Forget the notes of the history before. Returns the list to which new ones are added."""
    _noted.clear()
    return _noted
