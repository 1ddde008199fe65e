"""How many files a worker's replicas may have open: from the limit it runs under. Pure."""

from __future__ import annotations

from dataclasses import dataclass

RESERVED_FILES = 128
"""Kept for what is no replica: connections of routers and other workers, snapshots on their way, files that are read
for a moment.
"""

LOW_LIMIT = 4096
"""A limit below this is warned about: it is that of a shell, enough for some hundred replicas at most."""

OPEN_FILES_LIMIT = "open_files"
"""Names the bound in errors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLimit:
    """limit: files that the process may have open; taken: those that it has open before it holds any replica."""

    limit: int
    taken: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBudget:
    """limit: of the process; for_replicas: files that its replicas may have open, all together; each: what one has
    open.
    """

    limit: int
    for_replicas: int
    each: int

    @property
    def replicas(self) -> int:
        """Replicas that it is enough for."""
        return self.for_replicas // self.each

    def refusal(self, replicas: int) -> str | None:
        """Why another replica may not be opened beside so many, in words; None when it may."""
        if replicas < self.replicas:
            return None
        return (
            f"no open files for another replica: it needs {self.each}, {max(0, self.for_replicas - replicas * self.each)} of the "
            f"{self.for_replicas} that replicas may have open are left (the process may open {self.limit}, see `ulimit -n`); "
            "raise that limit, drop collections or add a worker"
        )


UNBOUNDED_FILES = FileBudget(limit=0, for_replicas=1 << 60, each=1)
"""Of a worker that nobody has asked what it may open."""


def file_budget(found: FileLimit, each: int) -> FileBudget:
    """What replicas may have open, of which each takes `each`."""
    return FileBudget(limit=found.limit, for_replicas=max(0, found.limit - found.taken - RESERVED_FILES), each=each)


def low_limit_words(limit: int) -> str:
    """What is wrong with a low limit, and what to do; "" when it is high enough, or not known."""
    if not 0 < limit < LOW_LIMIT:
        return ""
    return f"its process may have only {limit:,} files open; raise the limit before it is started (`ulimit -n`, LimitNOFILE=)"
