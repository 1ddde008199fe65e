"""What a checker raises."""

from __future__ import annotations


class Violation(AssertionError):
    """An invariant fell. invariant: which, in a few words."""

    def __init__(self, invariant: str, story: str) -> None:
        super().__init__(f"{invariant}: {story}")
        self.invariant = invariant


def hold(condition: bool, invariant: str, story: str) -> None:
    """Raise Violation unless the condition holds. For places that are not hot: the story is made in any case."""
    if not condition:
        raise Violation(invariant, story)
