"""Text fields on the command line: `body`, `body=cjk`, `body=auto,stem=none,fold=no` or `body={"kind": "auto", ...}`.

Pure. The client checks the names and the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from shoal.core.errors import ErrorDetails, InvalidArgument
from shoal.core.fusion_choice import FusionKind, SearchDefaults
from shoal.core.payload import value_from_json
from shoal.core.text_fields import AnalyzerKind, AnalyzerOptions, TextField

TextFieldOption = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="FIELD=KIND",
        help="A payload field to search by words: auto, cjk, words or raw; options behind commas, body=auto,stem=german; may be repeated.",
    ),
]

DefaultsOption = Annotated[
    str | None,
    typer.Option(metavar="JSON", help="""What searches with several legs do that say nothing: '{"fusion": "rrf"}'; '{}' is the usual."""),
]

_SWITCHES = {"yes": True, "no": False, "true": True, "false": False}
_EXAMPLE = 'write FIELD, FIELD=KIND, FIELD=KIND,stem=LANGUAGE,fold=yes|no, or FIELD={"kind": "auto", "stop_words": [...]}'


def text_fields_of(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return the analyzer of each field as the client takes it. Raises InvalidArgument for what cannot be read."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, options = text.partition("=")
        name = name.strip()
        if not name or (equals and not options.strip()):
            raise _unclear(text, "names no field" if not name else "has no kind")
        if name in found:
            raise _unclear(text, f"names the field {name!r} again")
        found[name] = _analyzer(options.strip(), text) if equals else AnalyzerKind.AUTO.value
    return found


def fields_in_words(fields: Sequence[TextField]) -> str:
    """Return text fields as they are written on the command line, the long lists of words by their numbers."""
    return "  ".join(f"{each.name}={','.join(_option_words(each.analyzer))}" for each in fields)


def defaults_in_words(defaults: SearchDefaults) -> str:
    """Return what searches with several legs do that say nothing, in words."""
    fusion = defaults.fusion.kind.value
    if defaults.fusion.kind is FusionKind.RRF:
        fusion += f", c {defaults.fusion.c:g}"
    whole = defaults.dense_weight + defaults.text_weight
    boosts = "".join(f", {name} x {boost:g}" for name, boost in defaults.boosts)
    return f"{fusion}; dense {defaults.dense_weight / whole:.2g}, text {defaults.text_weight / whole:.2g}{boosts}"


def _option_words(options: AnalyzerOptions) -> Iterator[str]:
    yield options.kind.value
    if options.stem:
        yield f"stem={options.stem}"
    if not options.fold:
        yield "fold=no"
    for name, words in (("stop words", options.stop_words), ("own words", options.own_words)):
        if words:
            yield f"{len(words)} {name}"


def defaults_of(text: str | None) -> dict[str, Any] | None:
    """Return defaults of searches as the client takes them; None for None. Raises InvalidArgument for no object."""
    if text is None:
        return None
    try:
        value = value_from_json(text)
    except ValueError as error:
        raise InvalidArgument(f"--search-defaults is not JSON: {error}", ErrorDetails(field="search_defaults")) from None
    if not isinstance(value, dict):
        raise InvalidArgument(f"--search-defaults must be a JSON object, not {type(value).__name__}", ErrorDetails(field="search_defaults"))
    return value


def _analyzer(options: str, text: str) -> Any:
    if options.startswith("{"):
        try:
            return value_from_json(options)
        except ValueError as error:
            raise _unclear(text, f"is not JSON behind its name ({error})") from None
    kind, *others = (part.strip() for part in options.split(","))
    given: dict[str, Any] = {"kind": kind}
    for other in others:
        option, equals, value = other.partition("=")
        if not equals or option not in ("stem", "fold") or option in given:
            raise _unclear(text, f"has {other!r}")
        if option == "fold" and value not in _SWITCHES:
            raise _unclear(text, f"has fold {value!r}, it must be yes or no")
        given[option] = _SWITCHES[value] if option == "fold" else value
    return given if others else kind


def _unclear(text: str, what: str) -> InvalidArgument:
    return InvalidArgument(f"--text {text!r} {what}: {_EXAMPLE}", ErrorDetails(field="text"))
