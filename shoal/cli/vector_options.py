"""Named vectors on the command line: `image=512`, `text=384,cosine,hnsw`, `image=hnsw`, `image=img_emb`. Pure.

The client checks the names and the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from shoal.core.collection import CollectionSpec
from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.index_spec import index_from_input
from shoal.core.metric import Metric
from shoal.core.payload import value_from_json

NamedVectorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--vector",
        metavar="NAME=DIM",
        help="One of several vectors of each point, instead of --dim; metric and index behind commas, text=384,cosine,hnsw; repeat it.",
    ),
]
UsingOption = Annotated[str | None, typer.Option("--using", metavar="NAME", help="Name of the vector, if points have several.")]

_METRICS = tuple(each.value for each in Metric)
_EXAMPLE = "write NAME=DIM, NAME=DIM,METRIC or NAME=DIM,METRIC,INDEX, such as text=384,cosine,hnsw"


def named_vectors_of(texts: Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Return the dim, metric and index of each vector as the client takes them. Raises InvalidArgument for what cannot
    be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts or ():
        name, equals, rest = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise _refused("vector", f"is {text!r}: {_EXAMPLE}")
        if name in found:
            raise _refused("vector", f"{text!r} names the vector {name!r} again")
        found[name] = _described(text, [part.strip() for part in rest.split(",")])
    return found


def _described(text: str, parts: list[str]) -> dict[str, Any]:
    dim, *others = parts
    if not (dim.isascii() and dim.isdigit()):
        raise _refused("vector", f"{text!r} has {dim!r} as its dimension: {_EXAMPLE}")
    if not all(others):
        raise _refused("vector", f"{text!r} has nothing behind a comma: {_EXAMPLE}")
    metrics = [each for each in others if each in _METRICS]
    if len(metrics) > 1:
        raise _refused("vector", f"{text!r} has several metrics, {' and '.join(metrics)}: {_EXAMPLE}")
    index = ",".join(each for each in others if each not in _METRICS)
    given: dict[str, Any] = {"dim": int(dim)} | ({"metric": metrics[0]} if metrics else {})
    return given | ({"index": _checked_index(text, index, max(1, int(dim)))} if index else {})


def _checked_index(text: str, index: str, dim: int) -> str:
    """Return an index. Raises InvalidArgument for one that is none: it may have been meant as a metric."""
    try:
        return index_from_input(index, dim=dim)
    except InvalidArgument as error:
        metrics = "" if "," in index else f", and it is no metric ({', '.join(_METRICS)})"
        raise _refused("vector", f"{text!r}: {error.message}{metrics}") from None


def indexes_of(texts: Sequence[str] | None) -> str | dict[str, str] | None:
    """Return the new index of a collection, or those of its named vectors by name; None if none is given.

    Raises InvalidArgument if several are given and one of them has no name, and for a name that is given twice.
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    return pairs_of("index", texts, "NAME=INDEX, such as image=hnsw")


def pairs_of(option: str, texts: Sequence[str] | None, form: str) -> dict[str, str]:
    """Return the values of an option that is written NAME=VALUE, by name. Raises InvalidArgument, also for a name
    that is given twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise _refused(option, f"is {text!r}: write {form}")
        if name.strip() in found:
            raise _refused(option, f"names {name.strip()!r} twice")
        found[name.strip()] = value.strip()
    return found


def names_of_vectors(using: Sequence[str] | None, count: int) -> list[str | None]:
    """Return the name of each of `count` vectors that a command is given, None if it has none.

    Raises BadParameter unless each has a name, or there is one without.
    """
    if using and not count:
        raise typer.BadParameter("--using names the vector of --vector or --vectors, and there is none")
    if using and len(using) != count:
        raise typer.BadParameter(f"--using names each vector that is given, in their order: {count} vectors have {len(using)} names")
    if count > 1 and not using:
        raise typer.BadParameter("with several vectors, --using names each of them, in their order")
    return list(using) if using else [None] * count


def vector_from(text: str) -> list[Any]:
    """Return the list that a JSON text spells. Raises InvalidArgument."""
    try:
        value = value_from_json(text)
    except ValueError as error:
        raise _refused("vector", f"is not JSON: {error}") from None
    if not isinstance(value, list):
        raise _refused("vector", f"must be a list of numbers, not {type(value).__name__}")
    return value


def vectors_in_words(spec: CollectionSpec) -> str:
    """Return the named vectors of a collection as they are written on the command line; "" without them."""
    return "  ".join(f"{each.name}={each.dim},{each.metric},{each.index}" for each in spec.vectors)


def vectors_document(spec: CollectionSpec) -> dict[str, Any]:
    """Return what a document tells of the vectors of a collection."""
    if not spec.vectors:
        return {"dim": spec.dim, "metric": str(spec.metric), "index": spec.index}
    return {"vectors": {each.name: {"dim": each.dim, "metric": str(each.metric), "index": each.index} for each in spec.vectors}}


def cells_of(spec: CollectionSpec) -> tuple[str, str, str]:
    """Return dim, metric and index for a table: of named vectors one value if all have the same, else each by name."""
    if not spec.vectors:
        return str(spec.dim), str(spec.metric), spec.index
    dims = " ".join(f"{each.name}={each.dim}" for each in spec.vectors)
    metrics, indexes = ({each.name: str(each.metric) for each in spec.vectors}, {each.name: each.index for each in spec.vectors})
    return dims, _cell(metrics), _cell(indexes)


def _cell(values: dict[str, str]) -> str:
    if len(set(values.values())) == 1:
        return next(iter(values.values()))
    return " ".join(f"{name}={value}" for name, value in values.items())


def _refused(option: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"--{option} {what}", ErrorDetails(field=option))
