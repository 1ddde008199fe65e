"""How accurate a search shall be, out of the three ways in which a client can say it."""

from __future__ import annotations

from collections.abc import Mapping

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.shard_calls import Accuracy, Breadth, Exact, RecallTarget

_PARAMS = ("ef", "nprobe")


def accuracy_of(*, exact: bool, recall: float | None, params: Mapping[str, float]) -> Accuracy | None:
    """The accuracy asked for; None when nothing is said.

    Raises InvalidArgument for two ways at once and for unknown params.
    """
    said = [name for name, given in (("exact", exact), ("recall", recall is not None), ("params", bool(params))) if given]
    if len(said) > 1:
        raise InvalidArgument(f"{said[0]} and {said[1]} contradict each other, give one of them", ErrorDetails(field=said[1]))
    if exact:
        return Exact()
    if recall is not None:
        return RecallTarget(recall)
    return _breadth(params) if params else None


def _breadth(params: Mapping[str, float]) -> Breadth:
    for name in params:
        if name not in _PARAMS:
            raise InvalidArgument(f"params: {name!r} is unknown, allowed are {', '.join(_PARAMS)}", ErrorDetails(field="params"))
    if len(params) > 1:
        raise InvalidArgument("params: give ef or nprobe, not both", ErrorDetails(field="params"))
    ((name, value),) = params.items()
    if not value.is_integer():
        raise InvalidArgument(f"params: {name} is {value}, it must be a whole number", ErrorDetails(field="params"))
    return Breadth(ef=int(value)) if name == "ef" else Breadth(nprobe=int(value))
