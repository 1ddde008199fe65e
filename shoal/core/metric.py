"""How two vectors are compared."""

from __future__ import annotations

from enum import StrEnum

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shown import shown


class Metric(StrEnum):
    """How two vectors are compared.

    l2: squared Euclidean distance, smaller is better; ip (inner product) and cosine: larger is better.
    """

    L2 = "l2"
    IP = "ip"
    COSINE = "cosine"

    @property
    def smaller_is_better(self) -> bool:
        """Return whether the best score is the smallest."""
        return self is Metric.L2


def metric_from_input(value: str, called: str = "metric") -> Metric:
    """Return the metric of this name. called: what an error calls it. Raises InvalidArgument (field metric)."""
    try:
        return Metric(value)
    except ValueError:
        raise InvalidArgument(f"{called} is {shown(value)}, it must be one of l2, ip, cosine", ErrorDetails(field="metric")) from None
