"""The file of profiles: named values of the global options, in TOML.

    [profile.prod]
    address = "10.0.0.5:7600,10.0.0.6:7600"
    timeout = 30.0
    transport = "http"

It is written whole, under another name first, and only its user may read and write it. Unknown keys are errors, so that
a mistyped one is not left out in silence. A later kind of value that is a secret belongs to SECRETS: a file with one of
these is refused when others may read it.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from shoal.client.routers import addresses_from_input
from shoal.core.errors import ErrorDetails, InvalidArgument, NotFound

TRANSPORTS = ("auto", "http", "grpc")
SECRETS: frozenset[str] = frozenset()
"""Keys of a profile that nobody else may read; none in this version."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OWNER_ONLY = 0o600


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Values of the global options; None where a profile has none."""

    address: str | None = None
    timeout: float | None = None
    transport: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def values(self) -> dict[str, Any]:
        """Return what it has, by key."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}


KEYS = tuple(each.name for each in fields(Profile))
"""The options that a profile can have."""


def path_of_profiles(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the file: SHOAL_CONFIG, else config.toml in the folder `shoal` of XDG_CONFIG_HOME, else of
    ~/.config.
    """
    known = os.environ if environment is None else environment
    if known.get("SHOAL_CONFIG"):
        return Path(known["SHOAL_CONFIG"])
    above = known.get("XDG_CONFIG_HOME", "")
    return (Path(above) if os.path.isabs(above) else Path.home() / ".config") / "shoal" / "config.toml"


def check_name(name: str) -> str:
    """Return the name of a profile. Raises InvalidArgument."""
    if _NAME.fullmatch(name):
        return name
    said = f"{name!r} is no name of a profile: letters, digits, - and _, at most 64, a letter or a digit first"
    raise InvalidArgument(said, ErrorDetails(field="profile"))


def profile_of(values: Mapping[str, Any], place: str) -> Profile:
    """Return the profile with these values. place: for errors. Raises InvalidArgument that names the key."""
    for key, value in values.items():
        if key not in KEYS:
            raise _bad(f"{place}: unknown key {key!r}, known are {', '.join(KEYS)}")
        if not _CHECKS[key](value):
            raise _bad(f"{place}: {key} is {value!r}, it must be {_ALLOWED[key]}")
    if "address" in values:
        try:
            addresses_from_input(values["address"])
        except InvalidArgument as error:
            raise _bad(f"{place}: {error.message}") from None
    timeout = values.get("timeout")
    return Profile(**{**values, "timeout": None if timeout is None else float(timeout)})


def read_profiles(path: Path) -> dict[str, Profile]:
    """Return all profiles by name; none if there is no file.

    Raises InvalidArgument that names the file and the fault.
    """
    try:
        text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
        given = tomllib.loads(text)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _bad(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise _bad(f"{path} is not TOML: {error}") from None
    stray = next((key for key in given if key != "profile"), None)
    if stray is not None or not isinstance(given.get("profile", {}), dict):
        raise _bad(f"{path}: {stray or 'profile'!r} is no table of profiles, such as [profile.NAME]")
    found = {}
    for name, values in given.get("profile", {}).items():
        place = f"{path}, profile {check_name(name)}"
        if not isinstance(values, dict):
            raise _bad(f"{place}: it must be a table, such as [profile.{name}]")
        found[name] = profile_of(values, place)
        if SECRETS & values.keys() and stat.S_IMODE(mode) & 0o077:
            raise _bad(f"{path} holds secrets, and others may read it: chmod 600 {path}")
    return found


def one_profile(path: Path, name: str) -> Profile:
    """Return a profile. Raises NotFound that names those that there are."""
    profiles = read_profiles(path)
    if check_name(name) in profiles:
        return profiles[name]
    known = ", ".join(profiles) or "none"
    raise NotFound(f"{path} has no profile {name!r}, it has: {known}", ErrorDetails(field="profile"))


def write_profiles(path: Path, profiles: Mapping[str, Profile]) -> None:
    """Write the file anew, readable by its user only. It is never there in part.

    Raises InvalidArgument if the system refuses.
    """
    # A link stays one: what it points to is replaced.
    path = path.resolve()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), _OWNER_ONLY)
                file.write(_text(profiles))
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(part).unlink()
            raise
    except OSError as error:
        raise _bad(f"{path} cannot be written: {error.strerror or error}") from None


def _text(profiles: Mapping[str, Profile]) -> str:
    tables = []
    for name, profile in profiles.items():
        # Texts of profiles are printable, and such strings of JSON are strings of TOML.
        lines = (f"{key} = {json.dumps(value)}" for key, value in profile.values().items())
        tables.append("\n".join((f"[profile.{name}]", *lines, "")))
    return "\n".join(tables)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "address": lambda value: isinstance(value, str),
    "timeout": _is_seconds,
    "transport": lambda value: value in TRANSPORTS,
    **dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), lambda value: isinstance(value, str) and bool(value)),
}
_ALLOWED = {
    "address": "a text, host:port",
    "timeout": "a positive number of seconds",
    "transport": "auto, http or grpc",
    **dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), "the path of a file"),
}


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, ErrorDetails(field="profile"))
