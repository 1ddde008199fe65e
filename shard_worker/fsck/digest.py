"""A digest over (id, seq) of every point, or (id, version), by which replicas of a shard are compared.

Two replicas that have applied the same records hold the same set of (id, seq), in whatever order their rows lie. So the
digest is the sum of one hash a point, modulo 2^128: it does not depend on the order, and can be taken row by row.
Payloads and vectors are covered by their crcs and by seq: the record `seq` wrote both. A digest over versions
(shoal.shard_worker.fsck.agreement) covers them as well.
"""

from __future__ import annotations

import hashlib
import struct

from shoal.core.points import PointId

_BITS = 128
_NUMBER = struct.Struct("<QB")
_INTEGER = struct.Struct("<q")


class Digest:
    """The sum so far."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, point_id: PointId, number: int) -> None:
        """Take up one point. number: its seq, or its version; unsigned 64 bits."""
        is_text = isinstance(point_id, str)
        key = point_id.encode("utf-8") if isinstance(point_id, str) else _INTEGER.pack(point_id)
        hashed = hashlib.blake2b(_NUMBER.pack(number, is_text) + key, digest_size=_BITS // 8).digest()
        self._sum = (self._sum + int.from_bytes(hashed, "little")) % 2**_BITS

    def text(self) -> str:
        """The digest as 32 hexadecimal digits; of no points all are 0."""
        return f"{self._sum:032x}"
