"""Checks and changes the settings of balancing."""

from __future__ import annotations

import dataclasses

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.operations import SetBalance
from shoal.core.rebalance import BalanceSettings
from shoal.core.shown import shown
from shoal.core.sizing import MIB

LEAST_TOLERANCE, MOST_TOLERANCE = 0.01, 0.5
MOST_MOVES_AT_ONCE = 64
LEAST_MOVE_BYTES_PER_S, MOST_MOVE_BYTES_PER_S = MIB, 1024 * 1024 * MIB

_SET = ("auto", "tolerance", "moves_at_once", "move_bytes_per_s")


def altered_balance(before: BalanceSettings, wanted: SetBalance) -> BalanceSettings:
    """Return the settings after a request, which may be the same. Raises InvalidArgument naming a value that is out of
    its range.
    """
    _check(wanted.tolerance, "tolerance", LEAST_TOLERANCE, MOST_TOLERANCE)
    _check(wanted.moves_at_once, "moves_at_once", 1, MOST_MOVES_AT_ONCE)
    _check(wanted.move_bytes_per_s, "move_bytes_per_s", LEAST_MOVE_BYTES_PER_S, MOST_MOVE_BYTES_PER_S)
    given = {name: value for name in _SET if (value := getattr(wanted, name)) is not None}
    return dataclasses.replace(before, **given)


def balance_changes(before: BalanceSettings, after: BalanceSettings) -> str:
    """Return what differs between two settings, in words."""
    changed = (name for name in _SET if getattr(before, name) != getattr(after, name))
    return ", ".join(f"{name} {getattr(before, name)} -> {getattr(after, name)}" for name in changed)


def _check(value: float | None, name: str, least: float, most: float) -> None:
    # A value that is no number is in no range.
    if value is not None and not least <= value <= most:
        raise InvalidArgument(f"{name} is {shown(value)}, it must be from {least} to {most}", ErrorDetails(field=name))
