"""What travels between RayLink and the child process that speaks to Ray: pickled values over a pipe that only the two
hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Verb = Literal["check_labels", "create", "poll", "stop", "kill"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkRequest:
    """Do this; one reply follows."""

    verb: Verb
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """The first message of a child: Ray can be asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the request returned."""

    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The request, or joining, failed. refused: by a rule of ours, the child goes on; otherwise it ends."""

    message: str
    refused: bool = False


Reply = Joined | Answer | Failure
