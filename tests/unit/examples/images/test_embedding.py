"""Vectors of pictures: by their pixels, and by a function of the user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from examples.images.embedding import by_function, by_pixels
from examples.images.pictures import Pictures, in_folder
from shoal.core.errors import InvalidArgument
from tests.support.examples.pictures import disc, folder_of_pictures

OWN = """
import numpy as np
here = 5
def colour(images):
    return [np.asarray(image).mean(axis=(0, 1)) for image in images]
def few(images):
    return np.zeros((1, 3))
def texts(images):
    return ["x" for _ in images]
def other(images, seen=[]):
    seen.append(1)
    return np.ones((len(images), 2 + len(seen)))
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return in_folder(folder_of_pictures(tmp_path / "pictures", 40))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "own_embedding.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_embedding", None)


def test_what_looks_alike_is_near(pictures: Pictures) -> None:
    embedded = by_pixels(pictures, dimensions=16)
    assert (embedded.vectors.shape, embedded.vectors.dtype, embedded.metric) == ((80, 16), np.float32, "l2")
    assert embedded.name == "pixels by PCA, 16 dimensions"
    assert np.isfinite(embedded.vectors).all()
    distances = ((embedded.vectors[:, None] - embedded.vectors[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = [pictures.labels[at] for at in distances.argmin(axis=1)]
    assert nearest == list(pictures.labels)
    assert (by_pixels(pictures, dimensions=16).vectors == embedded.vectors).all()


def test_few_pictures_have_few_dimensions(tmp_path: Path) -> None:
    assert by_pixels(in_folder(folder_of_pictures(tmp_path, 1))).vectors.shape == (2, 2)


def test_one_picture_is_refused(tmp_path: Path) -> None:
    disc(1).save(tmp_path / "one.png")
    with pytest.raises(InvalidArgument, match="has 1 picture, at least 2 are needed"):
        by_pixels(in_folder(tmp_path))


@pytest.mark.usefixtures("own")
def test_a_function_of_the_user(pictures: Pictures) -> None:
    done: list[int] = []
    embedded = by_function(pictures, "own_embedding:colour", done.append)
    assert (embedded.vectors.shape, embedded.vectors.dtype, embedded.metric) == ((80, 3), np.float32, "cosine")
    assert embedded.name == "own_embedding:colour, 3 dimensions"
    assert done == [64, 80]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("own_embedding", "--embedding is 'own_embedding', it must be module:function"),
        ("no_such_module:f", "--embedding is 'no_such_module:f': No module named 'no_such_module'"),
        ("own_embedding:no", "own_embedding has no function 'no'"),
        ("own_embedding:here", "own_embedding has no function 'here'"),
        ("own_embedding:few", "own_embedding:few returned 1 vectors for 64 pictures"),
        ("own_embedding:texts", "own_embedding:texts returned no vectors: "),
        ("own_embedding:other", "own_embedding:other returned vectors of 3 and of 4 dimensions"),
    ],
)
def test_a_function_that_does_not_fit_is_refused(pictures: Pictures, named: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        by_function(pictures, named)
    assert message in refused.value.message
