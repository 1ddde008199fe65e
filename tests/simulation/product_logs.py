"""The product's logs during a simulation: nothing is shown; a logged exception is a defect and ends the history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.simulation.violation import note
from tests.simulation.virtual_loop import running_process

_PRODUCT = logging.getLogger("shoal")


class _Defects(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            note(AssertionError(f"the product logs a defect: {record.getMessage()}: {type(error).__name__}: {error}"))


class _Told(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(f"{running_process()} {record.getMessage()}")


@contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """Pass the product's log lines, with the name of their process, to `tell`. Use it within `only_defects`."""
    handler = _Told(tell)
    _PRODUCT.addHandler(handler)
    _PRODUCT.setLevel(logging.INFO)
    try:
        yield
    finally:
        _PRODUCT.removeHandler(handler)
        _PRODUCT.setLevel(logging.ERROR)


@contextmanager
def only_defects() -> Iterator[None]:
    """Ignore all logs but defects, until the context ends."""
    handler, level, propagates = _Defects(logging.ERROR), _PRODUCT.level, _PRODUCT.propagate
    _PRODUCT.addHandler(handler)
    _PRODUCT.setLevel(logging.ERROR)
    _PRODUCT.propagate = False
    try:
        yield
    finally:
        _PRODUCT.removeHandler(handler)
        _PRODUCT.setLevel(level)
        _PRODUCT.propagate = propagates
