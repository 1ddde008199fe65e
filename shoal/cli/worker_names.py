"""Workers as tables and sentences show them: by the shortest beginning of their ids that is unique. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

LEAST_CHARACTERS = 8
"""Characters of the beginning of an id that are always shown."""

WHOLE_CHARACTERS = 12
"""Ids of at most so many characters are shown whole."""


class WorkerNames:
    """Short names of workers, by their ids."""

    def __init__(self, ids: Iterable[str]) -> None:
        known = sorted({each for each in ids if each}, key=len, reverse=True)
        longest = len(known[0]) if known else 0
        sizes = range(LEAST_CHARACTERS, longest)
        length = next((size for size in sizes if len({each[:size] for each in known}) == len(known)), longest)
        self._names = {each: each if len(each) <= WHOLE_CHARACTERS else each[:length] for each in known}
        self._named = re.compile("|".join(map(re.escape, known)) or "(?!)")

    def __getitem__(self, worker: str) -> str:
        """Return the short name of a worker; a worker that is not known keeps its id."""
        return self._names.get(worker, worker)

    def in_text(self, text: str) -> str:
        """Return a text with short names in the place of ids."""
        return self._named.sub(lambda found: self._names[found[0]], text)
