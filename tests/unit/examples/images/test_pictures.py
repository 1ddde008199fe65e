"""Pictures of a folder, and of the data set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.images import pictures as sources
from examples.images.pictures import NO_LABEL, SIDE, in_folder, of_fashion, read_picture
from shoal.core.errors import InvalidArgument, NotFound
from tests.support.examples.pictures import disc, folder_of_pictures


def test_the_first_folder_is_the_label(tmp_path: Path) -> None:
    folder_of_pictures(tmp_path, 2)
    (tmp_path / "disc" / "red").mkdir()
    disc(1).save(tmp_path / "disc" / "red" / "x.JPEG")
    disc(2).save(tmp_path / "top.png")
    (tmp_path / ".hidden").mkdir()
    disc(2).save(tmp_path / ".hidden" / "no.png")
    found = in_folder(tmp_path)
    assert found.names == ("disc/000.jpg", "disc/001.png", "disc/red/x.JPEG", "stripes & <b>/000.jpg", "stripes & <b>/001.png", "top.png")
    assert found.labels == ("disc", "disc", "disc", "stripes & <b>", "stripes & <b>", NO_LABEL)
    assert (found.pixels.shape, found.pixels.dtype) == ((6, SIDE * SIDE * 3), np.uint8)
    assert found.image(5).size == (40, 40)
    assert len(found) == 6


def test_what_is_no_picture_is_left_out_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disc(1).save(tmp_path / "good.png")
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:90])
    Image.new("L", (60, 60)).save(tmp_path / "wide.png")
    monkeypatch.setattr(sources, "MOST_PIXELS", 59 * 60)
    found = in_folder(tmp_path)
    assert found.names == ("good.png",)
    cut, text, wide = found.left_out
    assert cut.startswith("cut.png: ")
    assert text == "text.png: is no picture that can be read"
    assert wide == "wide.png: has 60 x 60 pixels, at most 3,540 are allowed"


def test_a_file_that_is_too_long_is_not_opened(tmp_path: Path) -> None:
    with (tmp_path / "long.png").open("wb") as file:
        os.truncate(file.fileno(), sources.MOST_FILE_BYTES + 1)
    with pytest.raises(InvalidArgument, match="has more than 32 MiB"):
        read_picture(tmp_path / "long.png")


def test_too_many_files_or_labels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of_pictures(tmp_path, 2)
    monkeypatch.setattr(sources, "MOST_LABELS", 1)
    with pytest.raises(InvalidArgument, match="has 2 folders with pictures, at most 1 are allowed"):
        in_folder(tmp_path)
    monkeypatch.setattr(sources, "MOST_FILES", 3)
    with pytest.raises(InvalidArgument, match="has 4 pictures, at most 3 are allowed"):
        in_folder(tmp_path)


def test_no_folder_and_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="absent is no folder"):
        in_folder(tmp_path / "absent")
    with pytest.raises(NotFound, match=r"holds no picture \(\.png, \.jpg, \.jpeg\)$"):
        in_folder(tmp_path)
    (tmp_path / "x.png").write_text("x")
    with pytest.raises(NotFound, match=r"holds no picture .*: x\.png: is no picture that can be read"):
        in_folder(tmp_path)


def test_a_picture_is_shown_upright_and_without_transparency(tmp_path: Path) -> None:
    turned = Image.new("RGB", (20, 10), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").size == (10, 20)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png").getpixel((1, 1)) == (255, 255, 255)
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    assert read_picture(tmp_path / "palette.png").mode == "RGB"
    Image.new("I;16", (4, 4), 60_000).save(tmp_path / "deep.png")
    deep = read_picture(tmp_path / "deep.png")
    assert deep.mode in ("L", "RGB")


def test_the_data_set_has_names_for_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_DATA", str(tmp_path))
    assert of_fashion() is None
    np.savez(tmp_path / sources.DATA_SET, base=np.arange(2 * 784).reshape(2, 784).astype(np.uint8), labels=np.array([9, 0]))
    found = of_fashion()
    assert found is not None
    assert found.labels == ("Ankle boot", "T-shirt/top")
    assert found.names == ("number 0", "number 1")
    assert np.asarray(found.image(1)).tolist() == found.pixels[1].reshape(28, 28).tolist()
