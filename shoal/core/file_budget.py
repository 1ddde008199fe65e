"""The number of files that a worker's replicas may have open, computed from the limit of its process. Pure."""

from __future__ import annotations

from dataclasses import dataclass

RESERVED_FILES = 128
"""Files kept for other uses: connections of routers and other workers, snapshots in transfer, files that are read
briefly.
"""

MOST_CONNECTIONS, _LEAST_CONNECTIONS, _PART_OF_CONNECTIONS = 1_024, 16, 16
"""Connections by HTTP are one of this many files that the process may open, between these bounds."""

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
    """limit: of the process; for_replicas: files that replicas may have open which are not used; each: files of one of
    them; open_at_once: replicas that may be used at the same time, whose log and store are open.
    """

    limit: int
    for_replicas: int
    each: int
    open_at_once: int

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


UNBOUNDED_FILES = FileBudget(limit=0, for_replicas=1 << 60, each=1, open_at_once=1 << 60)
"""Budget of a worker whose limit was not read."""


def http_connections(limit: int) -> int:
    """Return how many connections of routers by HTTP a process may have that may open `limit` files."""
    return max(_LEAST_CONNECTIONS, min(MOST_CONNECTIONS, limit // _PART_OF_CONNECTIONS))


def file_budget(found: FileLimit, *, at_rest: int, in_use: int, connections: int = 0) -> FileBudget:
    """Return the budget of replicas, each of which has `at_rest` files open, and `in_use` more while it is used.

    connections: files kept for connections by HTTP, beside the reserved ones. Half of the files are for use. At least
    one replica can be used, however low the limit is.
    """
    files = max(0, found.limit - found.taken - RESERVED_FILES - connections)
    open_at_once = max(1, files // 2 // in_use)
    left = max(0, files - open_at_once * in_use)
    return FileBudget(limit=found.limit, for_replicas=left, each=at_rest, open_at_once=open_at_once)


def low_limit_words(limit: int) -> str:
    """Return a sentence that says that the limit is low and what to do; "" if it is high enough or unknown (0)."""
    if not 0 < limit < LOW_LIMIT:
        return ""
    return f"its process may have only {limit:,} files open; raise the limit before it is started (`ulimit -n`, LimitNOFILE=)"
