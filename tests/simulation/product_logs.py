"""What the product logs while it is simulated: nothing is shown, and a logged exception is a defect that ends the
history.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tests.simulation.violation import note

_PRODUCT = logging.getLogger("shoal")


class _Defects(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            note(AssertionError(f"the product logs a defect: {record.getMessage()}: {type(error).__name__}: {error}"))


@contextmanager
def only_defects() -> Iterator[None]:
    """Listen for defects only, until the context is left."""
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
