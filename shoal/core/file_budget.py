"""The number of files that a worker's replicas may have open, computed from the limit of its process. Pure."""

from __future__ import annotations

from dataclasses import dataclass

RESERVED_FILES = 128
"""Files kept for other uses: connections of routers and other workers, snapshots in transfer, files that are read
briefly.
"""

LOW_LIMIT = 4096
"""A limit below this causes a warning: it is the usual one of a shell, enough for a few hundred replicas at most."""

OPEN_FILES_LIMIT = "open_files"
"""Name of this bound in errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLimit:
    """limit: files that the process may have open; taken: files that it has open before it holds any replica."""

    limit: int
    taken: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBudget:
    """limit: of the process; for_replicas: files that its replicas may have open together; each: files that one replica
    has open.
    """

    limit: int
    for_replicas: int
    each: int

    @property
    def replicas(self) -> int:
        """Return the number of replicas for which the files suffice."""
        return self.for_replicas // self.each

    def refusal(self, replicas: int) -> str | None:
        """Return why no replica may be opened beside `replicas` others, as a sentence; None if one may be opened."""
        if replicas < self.replicas:
            return None
        return (
            f"no open files for another replica: it needs {self.each}, {max(0, self.for_replicas - replicas * self.each)} of the "
            f"{self.for_replicas} that replicas may have open are left (the process may open {self.limit}, see `ulimit -n`); "
            "raise that limit, drop collections or add a worker"
        )


UNBOUNDED_FILES = FileBudget(limit=0, for_replicas=1 << 60, each=1)
"""Budget of a worker whose limit was not read."""


def file_budget(found: FileLimit, each: int) -> FileBudget:
    """Return the budget of replicas, each of which has `each` files open."""
    return FileBudget(limit=found.limit, for_replicas=max(0, found.limit - found.taken - RESERVED_FILES), each=each)


def low_limit_words(limit: int) -> str:
    """Return a sentence that says that the limit is low and what to do; "" if it is high enough or unknown (0)."""
    if not 0 < limit < LOW_LIMIT:
        return ""
    return f"its process may have only {limit:,} files open; raise the limit before it is started (`ulimit -n`, LimitNOFILE=)"
