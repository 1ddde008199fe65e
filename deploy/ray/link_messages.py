"""The messages between RayLink and the child process that speaks to Ray: pickled values over a pipe between the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verb = Literal["check_labels", "create", "poll", "stop", "kill"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkRequest:
    """A call of a launcher's method. One reply follows."""

    verb: Verb
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The first message of a child: Ray is joined and can be used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The return value of a request."""

    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The request, or joining, failed. refused: one of our rules refused it, and the child goes on; else it ends."""

    message: str
    refused: bool = False


Reply = Joined | Answer | Failure
