"""A rule that is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest.mock import patch

Breaking = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """rule: as the design names it; patched: the broken function; starred: whether the design marks it; by_seeds:
    random histories must notice it, too, because the rule was found missing after they had noticed nothing.
    """

    rule: str
    patched: str
    breaking: Breaking
    caught_by: tuple[str, ...] = ()
    starred: bool = True
    by_seeds: bool = False


def attribute(target: object, name: str, new: object) -> Breaking:
    """Return the breaking that replaces an attribute of a class or module."""
    return lambda: patch.object(target, name, new)
