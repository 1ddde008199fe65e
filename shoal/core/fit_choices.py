"""What `collection fit` may choose from: kinds of fusion, weights of the legs, boosts of the text fields. Pure.

The order of the choices says what is preferred where nothing speaks against it: what the collection does now, then one
leg alone, which costs one search less, then what is nearest to what it does now.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fusion_choice import Fusion, FusionKind, SearchDefaults

Boosts = tuple[tuple[str, float], ...]

MOST_FIELDS = 8
"""Text fields whose boosts are chosen. Each takes four readings of the text leg."""

FACTORS = (0.25, 0.5, 2.0, 4.0)
"""By what the boost of one field is multiplied, in turn."""

_PARTS = 10
"""Shares of the dense leg are tenths, beside the present one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitChoice:
    """What searches may do.

    fusion: with one leg alone it does not matter; dense: share of the dense leg in the weights, 0 to 1; reading:
    position in the readings of the text leg, 0 for the present boosts.
    """

    fusion: Fusion
    dense: float
    reading: int = 0

    @property
    def is_lone(self) -> bool:
        """Return whether one of the legs is not searched."""
        return self.dense in (0.0, 1.0)


def boosts_to_read(fields: Sequence[str], present: SearchDefaults) -> tuple[Boosts, ...]:
    """Return the boosts with which the text leg is to be read, the present ones first.

    fields: names of the text fields of the collection. Boosts that differ by a common factor give the same order, so
    only one of them is read. Raises InvalidArgument for too many fields.
    """
    if len(fields) > MOST_FIELDS:
        raise InvalidArgument(
            f"the collection has {len(fields)} text fields, boosts are chosen for at most {MOST_FIELDS}",
            ErrorDetails(field="fields", limit="MOST_FIELDS"),
        )
    given = dict(present.boosts)
    base = {name: given.get(name, 1.0) for name in sorted(fields)}
    readings = [base, *({**base, name: base[name] * factor} for name in base for factor in FACTORS)]
    once: dict[tuple[float, ...], Boosts] = {}
    for each in readings:
        once.setdefault(tuple(round(boost / sum(each.values()), 9) for boost in each.values()), tuple(each.items()))
    return tuple(once.values())


def present_choice(present: SearchDefaults) -> FitChoice:
    """Return what the collection does now."""
    return FitChoice(fusion=present.fusion, dense=present.dense_weight / (present.dense_weight + present.text_weight))


def fit_choices(present: SearchDefaults, readings: int) -> tuple[FitChoice, ...]:
    """Return all choices, the preferred ones first. readings: of the text leg, at least 1."""
    now = present_choice(present)
    found = dict.fromkeys([now, *_lone(now, readings), *sorted(_mixed(now, readings), key=lambda each: _distance(each, now))])
    return tuple(found)


def defaults_of(choice: FitChoice, boosts: Boosts) -> SearchDefaults:
    """Return what is saved of a choice. boosts: of its reading."""
    kept = tuple((name, boost) for name, boost in boosts if boost != 1.0)
    return SearchDefaults(fusion=choice.fusion, dense_weight=choice.dense, text_weight=1.0 - choice.dense, boosts=kept)


def _lone(now: FitChoice, readings: int) -> Iterator[FitChoice]:
    for reading in range(readings):
        yield FitChoice(fusion=now.fusion, dense=0.0, reading=reading)
    yield FitChoice(fusion=now.fusion, dense=1.0)


def _mixed(now: FitChoice, readings: int) -> Iterator[FitChoice]:
    shares = sorted({*(part / _PARTS for part in range(1, _PARTS)), now.dense} - {0.0, 1.0})
    for kind in FusionKind:
        for reading in range(readings):
            for share in shares:
                yield FitChoice(fusion=dataclasses.replace(now.fusion, kind=kind), dense=share, reading=reading)


def _distance(choice: FitChoice, now: FitChoice) -> tuple[int, float, int, FusionKind]:
    changes = (choice.fusion != now.fusion) + (choice.reading != now.reading)
    return changes, round(abs(choice.dense - now.dense), 9), choice.reading, choice.fusion.kind
