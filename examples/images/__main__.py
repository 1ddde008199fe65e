"""python -m examples.images [FOLDER]."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console

from shoal.core.errors import ShoalError

INTERRUPTED = 130
MOST_PORT = 65_535
NEEDED = ("aiohttp", "PIL", "sklearn")


def main(words: list[str] | None = None) -> int:
    """Run the demo. Returns the exit code: 0 also after Ctrl-C at the page, 130 after one before it, 1 after an error
    that was printed.
    """
    try:
        from examples.images.demo import ImagesDemo, ImagesWanted
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        print(f"error: {error.name} is not installed: pip install 'shoal[dev]', or make demo-images", file=sys.stderr)
        return 1
    given = arguments(words)
    wanted = ImagesWanted(folder=given.folder, embedding=given.embedding, port=given.port, once=ends(given))
    try:
        ImagesDemo(Console(highlight=False, soft_wrap=True), wanted).run()
    except ShoalError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def arguments(words: list[str] | None) -> argparse.Namespace:
    """Return the arguments of the command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m examples.images", description="search pictures by likeness on a page in the browser")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="folder of .png and .jpg files, each label a folder in it; without it, Fashion-MNIST"
    )
    parser.add_argument(
        "--embedding", metavar="MODULE:FUNCTION", help="a function from a list of Pillow pictures to vectors; without it, PCA of pixels"
    )
    parser.add_argument("--port", type=int, help="of the page on 127.0.0.1, 0 for any; without it, 7680, or any if that is in use")
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--once", action="store_true", help="make some searches, print them and end; so it is without a terminal, too")
    ending.add_argument("--serve", action="store_true", help="serve the page until Ctrl-C, also without a terminal")
    given = parser.parse_args(words)
    if given.port is not None and not 0 <= given.port <= MOST_PORT:
        parser.error(f"--port is {given.port}, it must be from 0 to {MOST_PORT}")
    return given


def ends(given: argparse.Namespace) -> bool:
    """Return whether the demo ends by itself: as asked, or because nobody could press Ctrl-C."""
    return bool(given.once or not (given.serve or sys.stdout.isatty()))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
