"""The options of `shoal search` that are about words, legs and their fusion, and what they say. Pure.

The client checks the meaning of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from shoal.client.legs import DENSE_NAME, TEXT_NAME, Dense, Text
from shoal.core.errors import ErrorDetails, InvalidArgument

TextOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Words to search for in the text fields; nothing in it is parsed.")]
MatchOption = Annotated[str | None, typer.Option(help="How many words of --text a hit holds: any (the default) or all.")]
MustOption = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Only hits with all these words; may be repeated.")]
MustNotOption = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Only hits without all these words; may be repeated.")]
PhraseOption = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Only hits with these words in a row; may be repeated.")]
PrefixOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Only hits with a word that begins so.")]
BoostOption = Annotated[
    list[str] | None, typer.Option(metavar="FIELD=N", help="Search this text field, its scores times N; may be repeated. Else all fields.")
]
WeightOption = Annotated[
    list[str] | None, typer.Option(metavar="LEG=N", help="Weight of a leg: dense, text, or the name of a vector; may be repeated.")
]
MinScoreOption = Annotated[
    list[str] | None, typer.Option(metavar="LEG=S", help="Leave out hits of a leg with a worse score; may be repeated.")
]
FusionOption = Annotated[str | None, typer.Option(help="How scores of legs are joined: zscore, minmax or rrf; else the collection says.")]
ConstantOption = Annotated[float | None, typer.Option("--c", metavar="C", help="Of rrf, 60.")]
CandidatesOption = Annotated[int | None, typer.Option(metavar="N", help="Hits that each leg finds (100).")]
OffsetOption = Annotated[int | None, typer.Option(metavar="N", help="Hits, or groups, left out at the beginning.")]
ThresholdOption = Annotated[float | None, typer.Option(metavar="S", help="Only hits with a joined score of at least this.")]
DiversityOption = Annotated[float | None, typer.Option(metavar="D", help="0 to 1: how much hits are to differ from each other.")]
GroupByOption = Annotated[str | None, typer.Option(metavar="PATH", help="A payload field: -k counts groups of hits with the same value.")]
GroupSizeOption = Annotated[int | None, typer.Option(metavar="N", help="Most hits of a group (1).")]
HighlightOption = Annotated[bool, typer.Option("--highlight", help="Show the words that were found, in their text.")]

_OF_TEXT = ("text", "match", "must", "must_not", "phrase", "prefix", "boost")
_FUSED = ("fusion", "c", "candidates", "offset", "threshold", "diversity", "group_by", "group_size")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueryVector:
    """A vector to search by. using: name of the vector of points that it is compared with, None if it has none."""

    vector: Any
    using: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LegSearch:
    """What the options ask for. text: the text leg; weights, min_scores: by leg;
    fused: options of the client's search.
    """

    text: Text | None
    weights: Mapping[str, float]
    min_scores: Mapping[str, float]
    fused: Mapping[str, Any]

    def legs(self, vectors: Sequence[QueryVector]) -> list[Dense | Text]:
        """Return the legs of a search, which are named like their vectors; a vector without a name is leg `dense`."""
        given: dict[str, Dense | Text] = {}
        for each in vectors:
            leg = each.using or DENSE_NAME
            if leg in given:
                raise _refused("--using", f"names the vector {leg!r} twice")
            options = {"weight": self.weights.get(leg), "min_score": self.min_scores.get(leg)}
            given[leg] = Dense(each.vector, **options, using=each.using, name=leg)
        if self.text is not None:
            if TEXT_NAME in given:
                raise _refused("--text", f"is the leg {TEXT_NAME!r}, and so is the vector of this name: search by one of them")
            given[TEXT_NAME] = self.text
        for option, named in (("--weight", self.weights), ("--min-score", self.min_scores)):
            absent = next((leg for leg in named if leg not in given), None)
            if absent is not None:
                raise _refused(option, f"names the leg {absent!r}, the search has {' and '.join(given)}")
        return list(given.values())


def leg_search_of(params: Mapping[str, Any]) -> LegSearch | None:
    """Return what the options of a command ask for; None if they name nothing but one vector.

    params: by name of their parameters, None if not given. Raises InvalidArgument for one that cannot be read.
    """
    given = {name: value for name, value in params.items() if value is not None and value is not False and value not in ((), [])}
    fused_by_vectors = len(given.get("vector", ())) > 1
    if not fused_by_vectors and not any(name in given for name in (*_OF_TEXT, *_FUSED, "weight", "min_score", "highlight")):
        return None
    weights, min_scores = numbers_of("--weight", given.get("weight", ())), numbers_of("--min-score", given.get("min_score", ()))
    fused = {name: given[name] for name in _FUSED if name in given}
    return LegSearch(
        text=_text(given, weights.get(TEXT_NAME), min_scores.get(TEXT_NAME)) if any(name in given for name in _OF_TEXT) else None,
        weights=weights,
        min_scores=min_scores,
        fused=fused | ({"highlight": True} if given.get("highlight") else {}),
    )


def numbers_of(option: str, texts: Sequence[str]) -> dict[str, float]:
    """Return the numbers of an option that is written NAME=NUMBER. Raises InvalidArgument, also for a name twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name:
            raise _refused(option, f"is {text!r}, write NAME=NUMBER, such as text=0.6")
        if name in found:
            raise _refused(option, f"names {name!r} twice")
        try:
            found[name] = float(value)
        except ValueError:
            raise _refused(option, f"is {text!r}, and {value!r} is no number") from None
    return found


def _text(given: Mapping[str, Any], weight: float | None, min_score: float | None) -> Text:
    return Text(
        given.get("text", ""),
        fields=numbers_of("--boost", given.get("boost", ())) or None,
        must=list(given.get("must", ())),
        must_not=list(given.get("must_not", ())),
        phrases=list(given.get("phrase", ())),
        prefix=given.get("prefix", ""),
        match=given.get("match", "any"),
        weight=weight,
        min_score=min_score,
    )


def _refused(option: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"{option} {what}", ErrorDetails(field=option.removeprefix("--")))
