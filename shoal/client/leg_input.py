"""The arguments of a search with legs as checked values: legs, fusion, and what only fused searches have. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypedDict

import numpy as np

from shoal.client import inputs
from shoal.client.legs import TEXT_NAME, WORDS_NAME, Dense, LegInput, Text
from shoal.client.many import Piece, pieces_of
from shoal.client.named_input import name_of_vector, using_from_input
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fused_search import DEFAULT_CANDIDATES, DenseLeg, GroupBy, Leg, TextLeg
from shoal.core.fusion_choice import DEFAULT_RANK_CONSTANT, Fusion, FusionKind
from shoal.core.hit_groups import group_path
from shoal.core.limits import DEFAULT_LIMITS
from shoal.core.payload import plain_value
from shoal.core.shard_calls import QueryGroup
from shoal.core.shown import shown
from shoal.core.text_check import check_ask
from shoal.core.text_query import Match, TextAsk
from shoal.core.vector_input import query_from_input


class FusedOptions(TypedDict, total=False):
    """Options that searches by one vector alone do not need.

    highlight: tell where the words of text legs are; fusion: "zscore", "minmax" or "rrf", by default the collection's;
    c: of rrf, 60; candidates: hits that each leg finds, 100; offset: hits (or groups) left out at the beginning;
    threshold: only hits with a fused score of at least this, or, of a single leg, a score at least as good; diversity:
    0 (none) to 1, 1 - lambda of maximal marginal relevance; group_by: a payload path, k then counts groups; group_size:
    most hits of a group, 1.
    """

    highlight: bool
    fusion: str | None
    c: float | None
    candidates: int | None
    offset: int
    threshold: float | None
    diversity: float
    group_by: str | None
    group_size: int


_USUAL: Mapping[str, Any] = {
    "highlight": False,
    "fusion": None,
    "c": None,
    "candidates": None,
    "offset": 0,
    "threshold": None,
    "diversity": 0.0,
    "group_by": None,
    "group_size": 1,
}


def needs_legs(text: Any, legs: Any, options: Mapping[str, Any]) -> bool:
    """Return whether a search has anything that a search by one vector alone has not.

    Raises TypeError for an option that does not exist, as Python does.
    """
    unknown = next((name for name in options if name not in _USUAL), None)
    if unknown is not None:
        raise TypeError(f"search got an unexpected keyword argument {unknown!r}")
    return text is not None or legs is not None or any(not _is_usual(name, value) for name, value in options.items())


def _is_usual(name: str, value: Any) -> bool:
    """Return whether a value is that of a search that does not name the option. True is no number, and 1.0 no count."""
    usual = _USUAL[name]
    return value is usual or (type(value) is type(usual) and bool(value == usual))


class LookedFor(NamedTuple):
    """What a user searches for; None: not given. vector: (dim,), or a mapping with one for each name of a vector; text,
    legs: as `search` takes them; using: name of the vector that `vector` is compared with.
    """

    vector: Any = None
    text: Any = None
    legs: Any = None
    using: Any = None


def legs_from_input(vector: Any, text: Any, legs: Any, using: Any = None, *, many: bool) -> tuple[Leg, ...]:
    """Return the legs of a search, at least one, with the same number of queries and names that differ.

    vector, text, legs, using: see LookedFor; many: vectors are (n, dim), and text a list. Raises InvalidArgument that
    names the leg and the bad part of it.
    """
    vectors = "vectors" if many else "vector"
    check_using(using, vector, legs, vectors)
    if legs is None:
        made = _vector_legs(vector, using, vectors, many)
        if text is not None:
            made.append(_leg(_given_text(text, many), many))
        if not made:
            _refuse(f"there is nothing to search for: give {vectors}, text or legs", vectors)
    else:
        for field, value in ((vectors, vector), ("text", text)):
            if value is not None:
                _refuse(f"{field} and legs are given: give one of them, a {field} beside other legs is a leg, too", "legs")
        made = [_numbered(each, at, many) for at, each in enumerate(_listed_legs(legs))]
    made = _told_apart(made)
    _check_together(made)
    return tuple(made)


def check_using(using: Any, vector: Any, legs: Any, vectors: str) -> None:
    """Raise InvalidArgument for a `using` beside what names its vectors itself. vectors: what `vector` is called."""
    if using is None:
        return
    name_of_vector(using, "using")
    if legs is not None:
        _refuse(f"using is {using!r}, but legs are given: give using of each Dense", "using")
    if isinstance(vector, Mapping):
        names = ", ".join(map(str, vector))
        _refuse(f"using is {using!r}, but {vectors} has names itself ({names}): leave using out, or give one vector", "using")
    if vector is None:
        _refuse(f"using is {using!r}, but no {vectors} is given that could be compared with it", "using")


def _vector_legs(vector: Any, using: Any, field: str, many: bool) -> list[Leg]:
    """Return a leg for each vector of a search without legs of its own."""
    if vector is None:
        return []
    if not isinstance(vector, Mapping):
        return [_leg(Dense(vector, using=using), many)]
    if not vector:
        _refuse(f"{field} is an empty dict, give a vector for at least one name, as in {{'image': [...]}}", field)
    made = []
    for name, value in vector.items():
        checked = name_of_vector(name, field)
        try:
            made.append(_leg(Dense(value, using=checked), many))
        except InvalidArgument as error:
            raise InvalidArgument(f"vector {checked!r}: {error.message}", error.details) from None
    return made


def _told_apart(legs: list[Leg]) -> list[Leg]:
    """Return the legs with another name for a leg of text that is called as the vector of another leg is."""
    if not any(isinstance(leg, DenseLeg) and leg.vector == leg.name == TEXT_NAME for leg in legs):
        return legs
    return [dataclasses.replace(leg, name=WORDS_NAME) if isinstance(leg, TextLeg) and leg.name == TEXT_NAME else leg for leg in legs]


def fused_pieces(legs: Sequence[Leg], groups: Sequence[QueryGroup], options: Mapping[str, Any]) -> list[Piece]:
    """Return the pieces in which a batch is searched. options: as a user gave them; bad ones are refused later."""
    candidates, size = options.get("candidates"), options.get("group_size")
    return pieces_of(
        groups,
        len(legs[0]),
        query_bytes=sum(leg.queries[0].nbytes for leg in legs if isinstance(leg, DenseLeg)),
        found=len(legs) * (candidates if type(candidates) is int else DEFAULT_CANDIDATES),
        hits_of_k=size if type(size) is int and 0 < size <= DEFAULT_LIMITS.k else 1,
    )


def _listed_legs(legs: Any) -> Sequence[Any]:
    if isinstance(legs, (Dense, Text)) or not isinstance(legs, (list, tuple)):
        _refuse(f"legs is {shown(legs)}, it must be a list of Dense and Text", "legs")
    if not legs:
        _refuse("legs is empty, at least one Dense or Text is needed", "legs")
    return legs


def _numbered(given: Any, at: int, many: bool) -> Leg:
    try:
        return _leg(given, many)
    except InvalidArgument as error:
        raise InvalidArgument(f"legs[{at}]: {error.message}", error.details) from None


def _given_text(text: Any, many: bool) -> Any:
    if isinstance(text, Text):
        return text
    if not many:
        return Text(text)
    if not isinstance(text, (list, tuple, np.ndarray)):
        _refuse(f"text is {shown(text)}, search_many takes a list with one text for each query", "text")
    return list(text)


def _leg(given: Any, many: bool) -> Leg:
    if isinstance(given, Dense):
        queries = inputs.queries_from_input(given.vector) if many else query_from_input(given.vector)
        vector = using_from_input(given.using)
        return DenseLeg(queries=queries, vector=vector, name=_name(given), weight=_weight(given), min_score=_min_score(given))
    if isinstance(given, Text):
        return _texts_leg(_one_for_each(given)) if many else _text_leg([given], [_ask(given)])
    if many and isinstance(given, (list, tuple)):
        return _texts_leg([Text(each) if isinstance(each, str) else each for each in given])
    listed = ", or a list of texts with one for each query" if many else ""
    raise InvalidArgument(f"a leg is {shown(given)}, it must be a Dense or a Text{listed}", ErrorDetails(field="legs"))


def _one_for_each(given: Text) -> list[Text]:
    if not isinstance(given.text, (list, tuple, np.ndarray)):
        _refuse(f"text is {shown(given.text)}, search_many takes a list with one text for each query", "text")
    return [dataclasses.replace(given, text=each) for each in given.text]


def _texts_leg(texts: Sequence[Any]) -> TextLeg:
    if not texts:
        _refuse("text is empty, at least one query is needed", "text")
    asks = []
    for at, each in enumerate(texts):
        try:
            if not isinstance(each, Text):
                _refuse(f"text is {shown(each)}, it must be a string or a Text", "text")
            if (each.name, each.weight, each.min_score) != (texts[0].name, texts[0].weight, texts[0].min_score):
                _refuse("name, weight or min_score differ from those of query 0: they are of the whole leg", "weight")
            asks.append(_ask(each))
        except InvalidArgument as error:
            raise InvalidArgument(f"{error.message} (query {at})", dataclasses.replace(error.details, index=at)) from None
    return _text_leg(texts, asks)


def _text_leg(texts: Sequence[Text], asks: Sequence[TextAsk]) -> TextLeg:
    first = texts[0]
    return TextLeg(asks=tuple(asks), name=_name(first), weight=_weight(first), min_score=_min_score(first))


def _ask(given: Text) -> TextAsk:
    """Return what a Text asks. `check_ask` says what is wrong with values that are kept here as they are."""
    ask = TextAsk(
        text=given.text,  # type: ignore[arg-type]
        fields=_boosts(given.fields),
        match=Match(given.match) if isinstance(given.match, str) and given.match in tuple(Match) else given.match,  # type: ignore[arg-type]
        must=_as_tuple(given.must),
        must_not=_as_tuple(given.must_not),
        phrases=_as_tuple(given.phrases),
        prefix=given.prefix,
    )
    check_ask(ask, None, DEFAULT_LIMITS)
    return dataclasses.replace(ask, fields=tuple((name, float(boost)) for name, boost in sorted(ask.fields)))


def _boosts(fields: Any) -> tuple[tuple[str, float], ...]:
    if fields is None:
        return ()
    if not isinstance(fields, Mapping):
        _refuse(f"fields is {shown(fields)}, it must be a dict of text fields with boosts, as in {{'title': 2}}", "fields")
    return tuple((name, plain_value(boost)) for name, boost in fields.items())


def _as_tuple(values: Any) -> Any:
    return tuple(values) if isinstance(values, list) else values


def _name(leg: LegInput) -> str:
    if not isinstance(leg.name, str) or not leg.name or not leg.name.isprintable():
        _refuse(f"name is {shown(leg.name)}, it must be a text on one line", "name")
    return leg.name


def _weight(leg: LegInput) -> float | None:
    return None if leg.weight is None else inputs.real_number("weight", leg.weight, "a number of at least 0", least=0.0)


def _min_score(leg: LegInput) -> float | None:
    return None if leg.min_score is None else inputs.real_number("min_score", leg.min_score, "a finite number")


def _check_together(legs: Sequence[Leg]) -> None:
    first, names = legs[0], [leg.name for leg in legs]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        _refuse(f"two legs have the name {twice!r}: give each leg a name of its own", "name")
    for leg in legs:
        if len(leg) != len(first):
            _refuse(f"leg {leg.name!r} has {len(leg)} queries, leg {first.name!r} has {len(first)}: all must have as many", "legs")
    if all(leg.weight == 0 for leg in legs):
        _refuse("the weights of all legs are 0, so none is searched: give one of them a weight above 0", "weight")


def terms_from_input(options: Mapping[str, Any], legs: Sequence[Leg], groups: Sequence[QueryGroup]) -> dict[str, Any]:
    """Return the values of FusedSearch that the options say, by name. options: those of FusedOptions that are given.

    Raises InvalidArgument.
    """
    given = {**_USUAL, **options}
    threshold, highlight = given["threshold"], plain_value(given["highlight"])
    if not isinstance(highlight, bool):
        _refuse(f"highlight is {shown(given['highlight'])}, it must be True or False", "highlight")
    if highlight and not any(isinstance(leg, TextLeg) for leg in legs):
        _refuse("highlight shows where words of a text are, but nothing is searched by text: give text, or a Text leg", "highlight")
    candidates, offset = given["candidates"], inputs.whole_number("offset", given["offset"], DEFAULT_LIMITS.k, least=0)
    candidates = DEFAULT_CANDIDATES if candidates is None else inputs.whole_number("candidates", candidates, DEFAULT_LIMITS.k)
    deepest = max(group.k for group in groups) + offset
    if deepest > candidates and given["group_by"] is None:
        # For groups, legs are searched deeper until there are enough of them.
        _refuse(
            f"k + offset is {deepest}, but candidates is {candidates}: ask for fewer hits, or for candidates={deepest} or more",
            "candidates",
        )
    return {
        "fusion": _fusion(given["fusion"], given["c"]),
        "candidates": candidates,
        "offset": offset,
        "threshold": None if threshold is None else inputs.real_number("threshold", threshold, "a finite number"),
        "diversity": inputs.real_number("diversity", given["diversity"], "a number from 0 to 1", least=0.0, most=1.0),
        "group_by": _group_by(given["group_by"], given["group_size"]),
        "highlight": highlight,
    }


def _fusion(kind: Any, c: Any) -> Fusion | None:
    if kind is not None and (not isinstance(kind, str) or kind not in tuple(FusionKind)):
        _refuse(f"fusion is {shown(kind)}, it must be one of {', '.join(FusionKind)}", "fusion")
    if c is None:
        return None if kind is None else Fusion(kind=FusionKind(kind))
    if kind != FusionKind.RRF:
        _refuse(f"c is {shown(c)}, but it belongs to fusion='rrf', and fusion is {shown(kind)}", "c")
    constant = inputs.real_number("c", c, f"a number above 0, {DEFAULT_RANK_CONSTANT:g} is usual", least=0.0)
    if not constant:
        _refuse(f"c is {shown(c)}, it must be a number above 0, {DEFAULT_RANK_CONSTANT:g} is usual", "c")
    return Fusion(kind=FusionKind.RRF, c=constant)


def _group_by(path: Any, size: Any) -> GroupBy | None:
    most = inputs.whole_number("group_size", size, DEFAULT_LIMITS.k)
    if path is None:
        if most != 1:
            _refuse(f"group_size is {most}, but there are no groups: give group_by, the payload path of their values", "group_size")
        return None
    if not isinstance(path, str) or not path:
        _refuse(f"group_by is {shown(path)}, it must be a payload path, as in 'doc' or 'source.file'", "group_by")
    group_path(path, DEFAULT_LIMITS)
    return GroupBy(path=path, size=most)


def _refuse(message: str, field: str) -> NoReturn:
    raise InvalidArgument(message, ErrorDetails(field=field))
