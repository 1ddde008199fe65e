"""Pictures to vectors: the principal components of their pixels, or a function of the user."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.images.pictures import Pictures
from shoal.core.errors import InvalidArgument, ShoalError
from shoal.core.vector_input import vectors_from_input

Matrix = npt.NDArray[np.float32]
Function = Callable[[Sequence[Image.Image]], Any]

DIMENSIONS = 64
LEARNED_FROM = 10_000
"""Pictures from which the components are learned, drawn at random."""

_ROWS_AT_ONCE = 4_096
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedded:
    """name: of the embedding, for people; metric: in which near vectors are of pictures that look alike; vectors:
    (pictures, dim) float32.
    """

    name: str
    metric: str
    vectors: Matrix


def by_pixels(pictures: Pictures, dimensions: int = DIMENSIONS, seed: int = 0) -> Embedded:
    """Return the principal components of the pixels (Pearson 1901): at most `dimensions`, fewer of few pictures.

    Nothing is downloaded, and equal pictures give equal vectors. Needs at least 2 pictures.
    """
    from sklearn.decomposition import PCA

    count, values = pictures.pixels.shape
    if count < 2:
        raise InvalidArgument(f"{pictures.title} has {count} picture, at least 2 are needed")
    drawn = np.sort(np.random.default_rng(seed).permutation(count)[:LEARNED_FROM])
    components = PCA(n_components=min(dimensions, len(drawn), values), random_state=seed)
    components.fit(_scaled(pictures.pixels[drawn]))
    parts = [
        components.transform(_scaled(pictures.pixels[start : start + _ROWS_AT_ONCE])).astype(np.float32)
        for start in range(0, count, _ROWS_AT_ONCE)
    ]
    vectors = np.concatenate(parts)
    return Embedded(name=f"pixels by PCA, {vectors.shape[1]} dimensions", metric="l2", vectors=vectors)


def by_function(pictures: Pictures, named: str, told: Callable[[int], None] = lambda _: None) -> Embedded:
    """Return the vectors that a user's function makes. named: "module:function", the module on Python's path.

    The function gets a list of pictures (Pillow, RGB) and returns as many vectors of real numbers, such as an array
    (pictures, dim) or a tensor of torch. told: called with the number of pictures that are done. Raises InvalidArgument
    if there is no such function, or it returns something else.
    """
    function = function_named(named)
    parts: list[Matrix] = []
    for start in range(0, len(pictures), _IMAGES_AT_ONCE):
        batch = range(start, min(start + _IMAGES_AT_ONCE, len(pictures)))
        parts.append(_checked(function([pictures.image(at).convert("RGB") for at in batch]), named, len(batch)))
        if parts[0].shape[1] != parts[-1].shape[1]:
            raise InvalidArgument(f"{named} returned vectors of {parts[0].shape[1]} and of {parts[-1].shape[1]} dimensions")
        told(batch.stop)
    vectors = np.concatenate(parts)
    return Embedded(name=f"{named}, {vectors.shape[1]} dimensions", metric="cosine", vectors=vectors)


def function_named(named: str) -> Function:
    """Return the function "module:function". Raises InvalidArgument that says what is wrong with it."""
    module, colon, name = named.partition(":")
    if not (module and colon and name):
        raise InvalidArgument(f"--embedding is {named!r}, it must be module:function")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise InvalidArgument(f"--embedding is {named!r}: {error}") from None
    if not callable(found):
        raise InvalidArgument(f"--embedding is {named!r}: {module} has no function {name!r}")
    function: Function = found
    return function


def _checked(returned: Any, named: str, count: int) -> Matrix:
    try:
        vectors = vectors_from_input(returned)
    except ShoalError as error:
        raise InvalidArgument(f"{named} returned no vectors: {error.message}") from None
    if len(vectors) != count:
        raise InvalidArgument(f"{named} returned {len(vectors)} vectors for {count} pictures")
    return vectors


def _scaled(pixels: npt.NDArray[np.uint8]) -> Matrix:
    """Return pixels as numbers from 0 to 1."""
    return np.divide(pixels, 255, dtype=np.float32)
