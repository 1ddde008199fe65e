"""Where documents come from: a folder of the user, the shared data sets, or what is installed beside Shoal."""

from __future__ import annotations

import gzip
import importlib
import inspect
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from examples.knowledge_base.chunks import Document, title_of
from shoal.core.errors import InvalidArgument, NotFound

SUFFIXES = (".md", ".txt")
MOST_FILE_BYTES = 16 * 2**20
MOST_FILES = 20_000

_SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
_DESCRIBED_MODULES = ("numpy", "numpy.linalg", "numpy.fft", "numpy.random")


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Documents, and why files beside them were left out, a line each."""

    documents: tuple[Document, ...]
    left_out: tuple[str, ...] = ()


def shared_folder() -> Path:
    """Return the folder of the data sets: SHOAL_DATA, or shared/data beside the project. It may be absent."""
    return Path(os.environ.get("SHOAL_DATA", _SHARED))


def in_folder(folder: Path) -> Found:
    """Return the texts (.md, .txt) below a folder, ascending by name. Hidden files and folders are not looked at.

    Raises NotFound if there is no folder or no text in it, InvalidArgument for too many files.
    """
    if not folder.is_dir():
        raise NotFound(f"{folder} is no folder")
    files = sorted(_texts_below(folder))
    if len(files) > MOST_FILES:
        raise InvalidArgument(f"{folder} has {len(files):,} texts, at most {MOST_FILES:,} are allowed")
    documents, left_out = [], []
    for file in files:
        name = str(file.relative_to(folder))
        if file.stat().st_size > MOST_FILE_BYTES:
            left_out.append(f"{name} has more than {MOST_FILE_BYTES // 2**20} MiB")
            continue
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            left_out.append(f"{name} is not UTF-8 (byte {error.start:,})")
            continue
        documents.append(Document(file=name, title=title_of(text, file.stem), text=text))
    if not documents:
        told = f": {'; '.join(left_out[:5])}" if left_out else ""
        raise NotFound(f"{folder} holds no text ({', '.join(SUFFIXES)}){told}")
    return Found(documents=tuple(documents), left_out=tuple(left_out))


def in_data_set(name: str) -> Found | None:
    """Return the documents of a shared data set (name-docs.jsonl.gz without the suffix); None if it is absent."""
    path = shared_folder() / f"{name}.jsonl.gz"
    if not path.is_file():
        return None
    rows = json_lines(path)
    return Found(
        documents=tuple(Document(file=row["id"], title=title_of(row["text"], row["title"] or row["id"]), text=row["text"]) for row in rows)
    )


def installed() -> Found:
    """Return what is installed with Shoal: descriptions of packages, and the documentation of numpy's functions."""
    descriptions = {each.metadata["Name"]: _described(each) for each in metadata.distributions() if each.metadata["Name"]}
    packages = [
        Document(file=f"package {name}", title=title_of(text, name), text=text)
        for name, text in sorted(descriptions.items())
        if text.strip()
    ]
    functions = dict(_documented_functions())
    return Found(
        documents=(
            *packages,
            *(Document(file=name, title=name, text=text) for name, text in sorted(functions.items())),
        )
    )


def json_lines(path: Path) -> list[dict[str, str]]:
    """Return the objects of a compressed file, one a line."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _texts_below(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(path) / name


def _refuse(error: OSError) -> None:
    raise error


def _described(distribution: metadata.Distribution) -> str:
    """Return the long description of a package, mostly its page in Markdown."""
    return str(distribution.metadata.json.get("description", ""))


def _documented_functions() -> Iterator[tuple[str, str]]:
    for module_name in _DESCRIBED_MODULES:
        module = importlib.import_module(module_name)
        for name in dir(module):
            text = inspect.getdoc(getattr(module, name)) if not name.startswith("_") else None
            if callable(getattr(module, name)) and text and len(text) > 200:
                yield f"{module_name}.{name}", text
