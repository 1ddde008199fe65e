"""The unary calls of a worker as a router makes them: the path of each, and what its answer is read with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from shoal.core.errors import Internal
from shoal.wire.services import WORKER


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerMethod:
    """One RPC. path: as over gRPC. parse: returns the message of an answer's bytes.

    of_data: whether it reads or writes points. The other calls are rare, and some take minutes. writes: whether it may
    change points.
    """

    path: str
    parse: Callable[[bytes], Any]
    of_data: bool
    writes: bool

    def answer(self, data: bytes, peer: str) -> Any:
        """Return the message of an answer of the process `peer`. Raises Internal if it cannot be read."""
        try:
            return self.parse(data)
        except DecodeError as error:
            raise Internal(f"the answer of the {peer} to {self.path} cannot be read: {error}") from None


_READS = frozenset({"Search", "SearchShards", "TextStats", "TextSearch", "TextMarks", "Get", "Scroll", "Count"})
_WRITES = frozenset({"Write"})

WORKER_METHODS: Mapping[str, WorkerMethod] = {
    each.name: WorkerMethod(
        path=f"/{WORKER.full_name}/{each.name}",
        parse=GetMessageClass(each.output_type).FromString,
        of_data=each.name in _READS | _WRITES,
        writes=each.name in _WRITES,
    )
    for each in WORKER.methods
}
"""Each method by its name."""
