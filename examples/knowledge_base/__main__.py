"""python -m examples.knowledge_base [FOLDER]."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from examples.knowledge_base.chunks import CHUNK_CHARS
from examples.knowledge_base.demo import Demo, Wanted
from shoal.core.errors import ShoalError

INTERRUPTED = 130
LEAST_CHARS, MOST_CHARS = 100, 100_000


def main(words: list[str] | None = None) -> int:
    """Run the demo. Returns the exit code: 1 after an error, which was printed, 130 after Ctrl-C."""
    try:
        Demo(Console(highlight=False, soft_wrap=True), wanted(words)).run()
    except ShoalError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    return 0


def wanted(words: list[str] | None) -> Wanted:
    """Return the arguments of the command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m examples.knowledge_base", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of .md and .txt files; without it, the documentation data sets")
    parser.add_argument(
        "--ask", action="append", default=[], metavar="QUESTION", help="a question instead of those of the demo; repeatable"
    )
    parser.add_argument(
        "--chars", type=int, default=CHUNK_CHARS, help=f"most characters of a chunk, {LEAST_CHARS} to {MOST_CHARS} ({CHUNK_CHARS})"
    )
    parser.add_argument("--plot", type=Path, default=Path("bench-results/knowledge-base.png"), help="where the plot is written")
    given = parser.parse_args(words)
    if not LEAST_CHARS <= given.chars <= MOST_CHARS:
        parser.error(f"--chars is {given.chars}, it must be from {LEAST_CHARS} to {MOST_CHARS}")
    if not all(each.strip() for each in given.ask):
        parser.error("--ask is empty, it must be a question")
    return Wanted(folder=given.folder, asked=tuple(given.ask), chars=given.chars, picture=given.plot)


if __name__ == "__main__":
    sys.exit(main())
