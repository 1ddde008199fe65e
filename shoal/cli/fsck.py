"""`shoal fsck`: becomes the program that checks the files of stopped workers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shoal.cli.connection import JsonOption
from shoal.cli.servers import become

_PROGRAM = "shoal.shard_worker.fsck"
_NEEDED = ("faiss", "google_crc32c")


def fsck(
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Folder of `shoal up`, of a worker, or of a replica.")],
    as_json: JsonOption = False,
) -> None:
    """Check every file and record of stopped workers, and change nothing.

    Exit code 0 clean, 1 damage, 2 not all was checked.
    """
    become("shoal fsck", _PROGRAM, [*(["--json"] if as_json else []), "--", *map(str, data)], _NEEDED)
