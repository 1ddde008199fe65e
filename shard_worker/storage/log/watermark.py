"""The watermark: a file outside the log that says up to which record the log was certainly durable.

Without it, the loss of acknowledged records at the end of a log would look like a write that a crash interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shoal.core.ids import Seq
from shoal.shard_worker.storage.sealed_json import read_sealed, write_sealed


@dataclass(frozen=True, kw_only=True, slots=True)
class Watermark:
    """How far the log was certainly durable.

    seq, crc: of the last record that was certainly durable; kept_from: seq of the first record that was not trimmed.
    """

    seq: Seq
    crc: int
    kept_from: Seq


def save_watermark(path: Path, watermark: Watermark) -> None:
    """Durably replace the watermark. Raises StorageFailed."""
    write_sealed(path, {"seq": watermark.seq, "crc": watermark.crc, "kept_from": watermark.kept_from})


def load_watermark(path: Path) -> Watermark:
    """Read the watermark.

    Raises DataLoss if it is missing or damaged, PreconditionFailed if its format is newer than this program.
    """
    document = read_sealed(path, {"seq": int, "crc": int, "kept_from": int})
    return Watermark(seq=Seq(document["seq"]), crc=document["crc"], kept_from=Seq(document["kept_from"]))
