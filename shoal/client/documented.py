"""Gives the methods of the asyncio client the docstrings of the blocking one's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SEE = "See Client."


def documented_as(twin: type) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that replaces each docstring SEE by the docstring of the same method of `twin`."""

    def documented(made: type[T]) -> type[T]:
        for name, method in inspect.getmembers(made, inspect.isfunction):
            if method.__doc__ == SEE:
                method.__doc__ = getattr(twin, name).__doc__
        return made

    return documented
