"""What the benchmark needs of another system."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

M, EF_CONSTRUCTION = 16, 128
"""Of every graph, as in Shoal."""


@dataclass(frozen=True, kw_only=True)
class PeerRows:
    """The rows to load. vectors: (n, dim) float32, compared by l2. labels, buckets: (n,) int64. The id of a row is its
    number.
    """

    vectors: Vectors
    labels: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Only rows whose column has this value. column: "label" or "bucket"."""

    column: str
    value: int


class Searcher(Protocol):
    """One connection of one thread. Every method returns ids, best first."""

    def one(self, query: Vectors, k: int, ef: int, condition: Condition | None = None) -> list[int]:
        """Search one query, (dim,) float32."""
        ...

    def batch(self, queries: Vectors, k: int, ef: int) -> list[list[int]]:
        """Search a batch, (n, dim) float32, by the fastest way that the system has for it."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Running(Protocol):
    """A system that runs and holds the rows. address: for `Peer.connect` in any process; "" for a library."""

    address: str

    def load(self, rows: PeerRows) -> None:
        """Insert the rows, and build the graph and the indexes of both columns. Returns when all rows are indexed."""
        ...

    def searcher(self) -> Searcher:
        """Open a connection for one thread."""
        ...

    def pids(self) -> list[int]:
        """Return the processes whose memory counts."""
        ...


class Peer(ABC):
    """A system. name: as people know it; packages: must be installed."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def run(self, folder: Path) -> AbstractContextManager[Running]:
        """Start it with its files in a folder, and end it after the block."""


class ServerPeer(Peer):
    """A system that clients in other processes reach by a socket. Other systems are libraries."""

    @abstractmethod
    def connect(self, address: str) -> Searcher:
        """Open a connection to the running server from another process."""


def version_of(peer: Peer) -> str:
    """Return the versions of the packages of a system, "" if one is not installed."""
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in peer.packages)
    except importlib.metadata.PackageNotFoundError:
        return ""
