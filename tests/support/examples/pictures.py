"""Small pictures that are made: discs and stripes in two colours, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 40


def disc(shade: int, colour: tuple[int, int, int] = (200, 30, 30)) -> Image.Image:
    """Return a disc, its radius by the shade, 0 to 99."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    inside = (rows - SIDE / 2) ** 2 + (columns - SIDE / 2) ** 2 < (6 + shade / 10) ** 2
    return _painted(inside, colour)


def stripes(shade: int, colour: tuple[int, int, int] = (30, 30, 200)) -> Image.Image:
    """Return stripes, their width by the shade, 0 to 99."""
    _, columns = np.mgrid[0:SIDE, 0:SIDE]
    return _painted((columns // (3 + shade // 15)) % 2 == 0, colour)


def folder_of_pictures(folder: Path, each: int) -> Path:
    """Write `each` discs and as many stripes into folders of these names; return the folder."""
    for name, drawn in (("disc", disc), ("stripes & <b>", stripes)):
        (folder / name).mkdir(parents=True)
        for at in range(each):
            drawn(at % 100).save(folder / name / f"{at:03}.{'png' if at % 2 else 'jpg'}")
    return folder


def _painted(inside: np.ndarray, colour: tuple[int, int, int]) -> Image.Image:
    pixels = np.full((SIDE, SIDE, 3), 240, dtype=np.uint8)
    pixels[inside] = colour
    return Image.fromarray(pixels)
