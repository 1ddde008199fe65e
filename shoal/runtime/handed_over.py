"""A call that runs in another thread, and whose data that thread does not keep.

A `ThreadPoolExecutor` keeps a call and its result for some time after the caller has the result, and a cancelled call
until a thread comes to it. With a thread of low priority on a busy machine that may be seconds. If the call refers to
the vectors of a segment, their memory is then freed long after the replica that owned them was closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class HandedOver(Generic[T]):
    """A call that is made at most once. Submit the object itself; take its outcome when the future is done."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work, self._results, self._errors = [work], list[T](), list[BaseException]()

    def __call__(self) -> None:
        """Make the call, unless it was forgotten. Called in the other thread, which then refers to nothing of it."""
        _carry_out(self._work, self._results, self._errors)

    def outcome(self) -> T:
        """Return the result, once. Raises what the call raised."""
        if self._errors:
            raise self._errors.pop()
        return self._results.pop()

    def forget(self) -> None:
        """Drop the call and its outcome."""
        for part in (self._work, self._results, self._errors):
            part.clear()


def _carry_out(work: list[Callable[[], T]], results: list[T], errors: list[BaseException]) -> None:
    try:
        if work:
            results.append(work.pop()())
    except BaseException as error:
        errors.append(error)
    finally:
        # An error refers to this frame. If the frame referred to the error, too, that would be a cycle.
        del work, results, errors
