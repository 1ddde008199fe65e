"""Small JSON documents with a format version and their own crc32c: people can read them, and a flipped bit is found.

The crc covers the document without the crc, in canonical form (sorted keys, no spaces, ASCII).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shoal.core.errors import DataLoss, PreconditionFailed
from shoal.core.ids import ClusterId
from shoal.shard_worker.storage.checksum import crc32c
from shoal.shard_worker.storage.durable import write_durably
from shoal.shard_worker.storage.failure import read_failure, write_failure

FORMAT = 1


def write_sealed(path: Path, content: Mapping[str, int | str]) -> None:
    """Durably replace the file at `path` by the document. Raises StorageFailed."""
    document = {**content, "format": FORMAT}
    try:
        write_durably(path, json.dumps({**document, "crc32c": _crc(document)}, indent=1, sort_keys=True).encode("ascii"))
    except OSError as error:
        raise write_failure(error, str(path)) from error


def read_sealed(path: Path, fields: Mapping[str, type[int] | type[str]]) -> dict[str, Any]:
    """Return the document at `path`, which must hold `fields` of these types.

    Raises DataLoss if it is missing, unreadable or altered, PreconditionFailed if its format is newer than this
    program.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise read_failure(error, str(path)) from error
    document = _parsed(path, text)
    if document.pop("crc32c", None) != _crc(document):
        raise DataLoss(f"{path} is damaged: its crc does not match")
    _check_format(path, document)
    for field, kind in fields.items():
        if not isinstance(document.get(field), kind):
            raise DataLoss(f"{path} is damaged: {field} is {document.get(field)!r}")
    return document


def check_cluster(path: Path, found: str, cluster_id: ClusterId) -> None:
    """Raise PreconditionFailed if the file at `path` belongs to another cluster."""
    if found != cluster_id:
        raise PreconditionFailed(f"{path} belongs to cluster {found}, this process to cluster {cluster_id}")


def check_format(path: Path, found: int, known: int) -> None:
    """Raise PreconditionFailed if the file at `path` was written by a newer program."""
    if found > known:
        raise PreconditionFailed(f"{path} has format {found}, this program knows formats up to {known}")


def _check_format(path: Path, document: Mapping[str, Any]) -> None:
    found = document.get("format")
    if not isinstance(found, int):
        raise DataLoss(f"{path} is damaged: format is {found!r}")
    check_format(path, found, FORMAT)


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataLoss(f"{path} is damaged: {error}") from None
    if not isinstance(document, dict):
        raise DataLoss(f"{path} is damaged: it holds no JSON object")
    return document


def _crc(document: Mapping[str, Any]) -> str:
    return f"{crc32c(json.dumps(document, sort_keys=True, separators=(',', ':')).encode('ascii')):08x}"
