"""Settings of a process: read once, validated, frozen. Unknown keys are errors.

Sources, a later one wins: file (TOML), environment (SHOAL_...), flags. A role declares a frozen dataclass whose fields
are made with `setting(default, help)`. Types: str, int, float, bool, tuple[str, ...].
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from shoal.core.errors import ErrorDetails, InvalidArgument

S = TypeVar("S")

_SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:\d+", re.IGNORECASE)
"""Form of the value that Kubernetes sets as <NAME>_PORT in every pod, for each service: for a service `shoal`, it sets
SHOAL_PORT. This value is not a port number.
"""

ENVIRONMENT_PREFIX = "SHOAL_"
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


def setting(default: Any, text: str, *, variable: str | None = None) -> Any:
    """Make a field of a settings class: its default, its purpose, and its variable if that is not SHOAL_<NAME>."""
    return dataclasses.field(default=default, metadata={"help": text, "variable": variable})


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def load_settings(
    kind: type[S], *, program: str, arguments: Sequence[str], environment: Mapping[str, str], warn: Callable[[str], None] = _warn
) -> S:
    """Return the settings of `kind` from a file named by --config, the environment and flags.

    A later source wins; a flag wins even over a variable with an unusable value. warn: takes a line about a variable
    that is ignored because Kubernetes has set it.

    Raises InvalidArgument for an unknown key or a value of the wrong type, naming it. Exits for --help and bad flags.
    """
    parser = _parser(kind, program)
    flags = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    config = flags.pop("config", None) or environment.get(ENVIRONMENT_PREFIX + "CONFIG")
    values = _from_file(kind, Path(config)) if config else {}
    values |= _from_environment(kind, environment, flags, warn)
    values |= {name: _parsed(kind, name, text, f"--{name.replace('_', '-')}") for name, text in flags.items()}
    return kind(**values)


def _parser(kind: type[Any], program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=(kind.__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="TOML file with the settings below (SHOAL_CONFIG)")
    for each in dataclasses.fields(kind):
        variable = _variable(each)
        shown = ",".join(each.default) if isinstance(each.default, tuple) else each.default
        parser.add_argument(
            f"--{each.name.replace('_', '-')}",
            metavar=each.name.upper(),
            help=f"{each.metadata['help']} (default {shown!r}, {variable})".replace("%", "%%"),
        )
    return parser


def _from_file(kind: type[Any], path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidArgument(f"settings file {path}: {error.strerror}", ErrorDetails(field="config")) from None
    except ValueError as error:
        raise InvalidArgument(f"settings file {path} is not TOML: {error}", ErrorDetails(field="config")) from None
    known = {each.name for each in dataclasses.fields(kind)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise InvalidArgument(f"settings file {path}: unknown key {unknown[0]!r}, known are {', '.join(sorted(known))}")
    return {name: _typed(kind, name, value, f"{path}: {name}") for name, value in raw.items()}


def _from_environment(
    kind: type[Any], environment: Mapping[str, str], beaten: Iterable[str], warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return the settings from environment variables. beaten: settings given by flags; their variables are not read."""
    wanted = {each.name: _variable(each) for each in dataclasses.fields(kind)}
    for name in beaten:
        del wanted[name]
    given = {name: key for name, key in wanted.items() if key in environment}
    links = {name for name, key in given.items() if key.endswith("_PORT") and _SERVICE_LINK.fullmatch(environment[key])}
    for key in sorted(given[name] for name in links):
        service = key.removesuffix("_PORT").lower().replace("_", "-")
        warn(f"{key} is {environment[key]!r}, which Kubernetes sets for a service named {service!r}: it is ignored")
    return {name: _parsed(kind, name, environment[key], key) for name, key in given.items() if name not in links}


def _variable(field: dataclasses.Field[Any]) -> str:
    return field.metadata["variable"] or ENVIRONMENT_PREFIX + field.name.upper()


def _type_of(kind: type[Any], name: str) -> Any:
    return typing.get_type_hints(kind)[name]


def _parsed(kind: type[Any], name: str, text: str, origin: str) -> Any:
    wanted = _type_of(kind, name)
    try:
        if wanted is bool:
            return _truth(text)
        if wanted in (int, float, str):
            return wanted(text)
    except ValueError:
        raise InvalidArgument(f"{origin} is {text!r}, it must be of type {wanted.__name__}", ErrorDetails(field=name)) from None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _truth(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(text)


def _typed(kind: type[Any], name: str, value: Any, origin: str) -> Any:
    wanted = _type_of(kind, name)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted in (int, float, str, bool) and type(value) is wanted:
        return value
    if wanted not in (int, float, str, bool) and isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    raise InvalidArgument(f"{origin} is {value!r}, it must be of type {getattr(wanted, '__name__', wanted)}", ErrorDetails(field=name))
