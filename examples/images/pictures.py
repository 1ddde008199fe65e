"""Where pictures come from: the shared data set Fashion-MNIST, or a folder of the user."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from examples.knowledge_base.documents import shared_folder
from shoal.core.errors import InvalidArgument, NotFound

Bytes = npt.NDArray[np.uint8]

DATA_SET = "fashion-mnist-784-l2.npz"
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
"""What the labels 0 to 9 of Fashion-MNIST mean."""

SUFFIXES = (".png", ".jpg", ".jpeg")
MOST_FILES = 20_000
MOST_FILE_BYTES = 32 * 2**20
MOST_PIXELS = 50_000_000
MOST_LABELS = 1_000
SIDE = 32
"""Width and height of the small form of a user's picture, in three colours."""

NO_LABEL = "(no folder)"
_CLOTHES_SIDE = 28


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pictures:
    """Pictures, each with its position as id. title: what they are; names: of files, or of rows; labels: one for each;
    pixels: (n, values) uint8, a small form of each, all of one size; image: reads the picture itself, in any mode, and
    raises OSError if it is no longer there; left_out: why files were left out, a line each.
    """

    title: str
    names: tuple[str, ...]
    labels: tuple[str, ...]
    pixels: Bytes
    image: Callable[[int], Image.Image]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


def of_fashion() -> Pictures | None:
    """Return the 60,000 pictures of clothes of the shared data set; None if it is absent."""
    path = shared_folder() / DATA_SET
    if not path.is_file():
        return None
    with np.load(path) as data:
        pixels: Bytes = data["base"]
        labels = data["labels"]

    def image(at: int) -> Image.Image:
        return Image.fromarray(pixels[at].reshape(_CLOTHES_SIDE, _CLOTHES_SIDE))

    return Pictures(
        title="Fashion-MNIST",
        names=tuple(f"number {at}" for at in range(len(pixels))),
        labels=tuple(CLOTHES[label] for label in labels.tolist()),
        pixels=pixels,
        image=image,
    )


def in_folder(folder: Path) -> Pictures:
    """Return the pictures (.png, .jpg, .jpeg) below a folder, ascending by name. Hidden files are not looked at.

    The label of a picture is the first folder on the way to it. Raises NotFound if there is no folder or no picture in
    it, InvalidArgument for too many files or labels.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder")
    files = sorted(_pictures_below(folder))
    if len(files) > MOST_FILES:
        raise InvalidArgument(f"{folder} has {len(files):,} pictures, at most {MOST_FILES:,} are allowed")
    kept: list[Path] = []
    rows: list[Bytes] = []
    left_out: list[str] = []
    for file in files:
        try:
            rows.append(_small_form(read_picture(file)))
            kept.append(file)
        except (OSError, InvalidArgument) as error:
            left_out.append(f"{file.relative_to(folder)}: {error}")
    if not kept:
        told = f": {'; '.join(left_out[:5])}" if left_out else ""
        raise NotFound(f"{folder} holds no picture ({', '.join(SUFFIXES)}){told}")
    names = tuple(str(file.relative_to(folder)) for file in kept)
    labels = tuple(_label(Path(name)) for name in names)
    if len(set(labels)) > MOST_LABELS:
        raise InvalidArgument(f"{folder} has {len(set(labels)):,} folders with pictures, at most {MOST_LABELS:,} are allowed")
    return Pictures(
        title=folder.resolve().name or str(folder),
        names=names,
        labels=labels,
        pixels=np.stack(rows),
        image=lambda at: read_picture(kept[at]),
        left_out=tuple(left_out),
    )


def read_picture(file: Path) -> Image.Image:
    """Return the picture of a file, upright, its pixels read, without transparency.

    Raises OSError if it cannot be read, InvalidArgument if it is no picture or too large.
    """
    if file.stat().st_size > MOST_FILE_BYTES:
        raise InvalidArgument(f"has more than {MOST_FILE_BYTES // 2**20} MiB")
    try:
        # Pillow warns of sizes that are refused here.
        with warnings.catch_warnings(), Image.open(file) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if opened.width * opened.height > MOST_PIXELS:
                raise InvalidArgument(f"has {opened.width} x {opened.height} pixels, at most {MOST_PIXELS:,} are allowed")
            return _opaque(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        raise InvalidArgument("is no picture that can be read") from None
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise InvalidArgument(f"is damaged or too large: {error}") from None


def _opaque(picture: Image.Image) -> Image.Image:
    """Return a picture in shades of grey or in colours, what is transparent in white."""
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    shown = picture.convert("RGBA")
    ground = Image.new("RGBA", shown.size, "white")
    return Image.alpha_composite(ground, shown).convert("RGB")


def _small_form(picture: Image.Image) -> Bytes:
    """Return the middle square of a picture, small, as one row of values."""
    square = ImageOps.fit(picture.convert("RGB"), (SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.uint8).reshape(-1)


def _label(name: Path) -> str:
    return name.parts[0] if len(name.parts) > 1 else NO_LABEL


def _pictures_below(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(path) / name


def _refuse(error: OSError) -> None:
    raise error
