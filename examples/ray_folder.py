"""`python -m examples.ray_folder FOLDER`: a folder of texts into a collection with Ray Data, and a question to it.

Ray reads the files, cuts them into chunks, embeds these and writes them, each step in parallel. The embedding hashes
words into dimensions (Weinberger and others, ICML 2009), so it needs neither a model nor a look at all texts first. To
use a model, put it into `embedded`. Running it again replaces the chunks by themselves, since their ids are made of
file and position.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from sklearn.feature_extraction.text import HashingVectorizer

import shoal
import shoal.ray
from examples.knowledge_base.chunks import Document, chunks_of, title_of
from examples.knowledge_base.embedding import words_of

DIMENSIONS = 512
ENDINGS = ["md", "txt"]
BATCH = 256


def main(words: list[str] | None = None) -> int:
    """Load the folder, and answer the question if there is one. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.ray_folder", description="Loads a folder of texts with Ray Data.")
    parser.add_argument("folder", type=Path, help="its .md and .txt files, and those of the folders in it")
    parser.add_argument("--address", help="router, host:port; SHOAL_ADDRESS, else localhost:7600")
    parser.add_argument("--collection", default="texts")
    parser.add_argument("--ask", metavar="QUESTION", help="then search for this")
    given = parser.parse_args(words)
    if not given.folder.is_dir():
        parser.error(f"{given.folder} is no folder")
    address = given.address or os.environ.get("SHOAL_ADDRESS", "localhost:7600")
    try:
        with shoal.connect(address) as client:
            client.create_collection(given.collection, DIMENSIONS, "cosine", text={"text": "auto"}, exist_ok=True)
            print(f"{load(given.folder.resolve(), address, given.collection)} chunks are in {given.collection}")
            if given.ask:
                answer(client, given.collection, given.ask)
    except shoal.ShoalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def load(folder: Path, address: str, collection: str) -> int:
    """Write the chunks of a folder; return their number. A Ray of this machine is started if none is running."""
    if not ray.is_initialized():
        started: dict[str, Any] = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray.init(**({} if os.environ.get("RAY_ADDRESS") else started))
    texts = ray.data.read_binary_files(str(folder), include_paths=True, file_extensions=ENDINGS)
    chunks = texts.flat_map(cutter(folder)).map_batches(embedded, batch_size=BATCH)
    sink = shoal.ray.Sink(address, collection, vector="embedding", payload=["file", "heading", "text"])
    chunks.write_datasink(sink)
    return 0 if sink.result is None else sink.result.points


def cutter(folder: Path) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """Return a step that makes rows of chunks of the row of a file."""

    def cut(row: dict[str, Any]) -> list[dict[str, Any]]:
        file, text = os.path.relpath(row["path"], folder), row["bytes"].decode("utf-8", errors="replace")
        chunks = chunks_of(Document(file=file, title=title_of(text, file), text=text))
        return [{"id": f"{file}#{each.offset}", "file": file, "heading": each.name, "text": each.text} for each in chunks]

    return cut


def embedded(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch of rows with the column `embedding`, (n, dim) float32."""
    return {**batch, "embedding": vectors_of(list(batch["text"]))}


def vectors_of(texts: list[str]) -> Any:
    """Return vectors of texts, (n, dim) float32 of unit length; of a text without words, one for all of these."""
    found = HashingVectorizer(analyzer=words_of, n_features=DIMENSIONS).transform(texts).toarray().astype(np.float32)
    found[~found.any(axis=1), 0] = 1.0
    return found


def answer(client: shoal.Client, collection: str, question: str) -> None:
    """Print what is found by words and by vectors, fused."""
    for hit in client.search(collection, vectors_of([question])[0], k=3, text=question):
        payload = hit.payload or {}
        print(f"{payload['file']}, {payload['heading']}: {' '.join(str(payload['text']).split())[:80]}")


if __name__ == "__main__":
    sys.exit(main())
