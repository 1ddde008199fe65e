"""The demo: pictures from files to a page, on a cluster of its own."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

import shoal
from examples.images import pictures as sources
from examples.images.embedding import Embedded, by_function, by_pixels, function_named
from examples.images.page import About
from examples.images.pictures import Pictures
from examples.images.search import Answer, ImageSearch, measured_recall, payload_of
from examples.images.server import listener, serving
from examples.images.wishes import PicturesLike, address_of
from examples.knowledge_base.documents import shared_folder
from shoal.core.errors import NotFound
from shoal.deploy.local.foreground import ForegroundCluster

COLLECTION = "pictures"
RECALL_SAMPLE, RECALL_K = 200, 10
ASKED, ASKED_K = 10, 10
LISTED = 5
LOADED_AT_ONCE = 5_000
WAIT_S = 60.0
PAGE_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagesWanted:
    """What the user asked for. folder: of own pictures, None for the shared ones; embedding: "module:function", None
    for pixels; port: of the page, None for the usual one; once: make some searches and end.
    """

    folder: Path | None
    embedding: str | None
    port: int | None
    once: bool


class ImagesDemo:
    """Runs the demo and prints what it does."""

    def __init__(self, console: Console, wanted: ImagesWanted) -> None:
        self._console, self._wanted = console, wanted

    def run(self) -> None:
        """Run it: until Ctrl-C, or until the searches are made.

        Raises ShoalError or OSError with what went wrong. The cluster is stopped whatever happens.
        """
        if self._wanted.embedding is not None:
            function_named(self._wanted.embedding)
        with listener(self._wanted.port) as listening:
            pictures = self._pictures()
            embedded = self._embedded(pictures)
            with self._cluster() as address:
                about = self._loaded(address, pictures, embedded)
                try:
                    asyncio.run(self._show(address, listening, pictures, about))
                except KeyboardInterrupt:
                    self._console.print("\nstopped")

    def _pictures(self) -> Pictures:
        folder = self._wanted.folder
        with self._step("reading pictures"):
            found = sources.of_fashion() if folder is None else sources.in_folder(folder)
            if found is None:
                raise NotFound(
                    f"{sources.DATA_SET} is absent from {shared_folder()} (or the folder that SHOAL_DATA names);"
                    " give a folder of your own pictures: make demo-images IMAGES=folder"
                )
            for line in found.left_out[:LISTED]:
                self._console.print(f"    left out: {line}", markup=False)
            if len(found.left_out) > LISTED:
                self._console.print(f"    left out: {len(found.left_out) - LISTED:,} more")
            self._console.print(f"    {found.title}: {len(found):,} pictures, {len(set(found.labels)):,} labels", markup=False)
        return found

    def _embedded(self, pictures: Pictures) -> Embedded:
        with self._step("embedding"):
            if self._wanted.embedding is None:
                embedded = by_pixels(pictures)
            else:
                with self._bar("embedding", len(pictures)) as (progress, task):
                    embedded = by_function(pictures, self._wanted.embedding, lambda done: progress.update(task, completed=done))
            self._console.print(f"    {embedded.name}", markup=False)
        return embedded

    @contextmanager
    def _cluster(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="shoal-images-") as folder:
            cluster = ForegroundCluster(data=Path(folder), heard=self._told)
            with self._step("starting a cluster in a temporary folder"):
                cluster.start()
            try:
                yield cluster.address
            finally:
                with self._step("stopping everything"):
                    cluster.stop()

    def _loaded(self, address: str, pictures: Pictures, embedded: Embedded) -> About:
        """Load the pictures, and return what the page tells of them."""
        vectors = embedded.vectors
        with shoal.connect(address, timeout=WAIT_S) as client:
            with self._step(f"loading {len(pictures):,} vectors of {vectors.shape[1]} dimensions"):
                client.create_collection(COLLECTION, dim=vectors.shape[1], metric=embedded.metric)
                with self._bar("loading", len(pictures)) as (progress, task):
                    for start in range(0, len(pictures), LOADED_AT_ONCE):
                        ids = range(start, min(start + LOADED_AT_ONCE, len(pictures)))
                        payloads = [payload_of(pictures.labels[at], pictures.names[at]) for at in ids]
                        client.upsert(COLLECTION, ids, vectors[start : ids.stop], payloads)
                        progress.update(task, completed=ids.stop)
            with self._step("building the index"):
                client.optimize(COLLECTION, progress=self._console.is_terminal, timeout=600)
            sample = np.random.default_rng(0).permutation(len(vectors))[:RECALL_SAMPLE]
            with self._step(f"measuring recall of {len(sample)} searches against exact search"):
                recall = measured_recall(client, COLLECTION, vectors[sample], RECALL_K)
                self._console.print(f"    recall@{RECALL_K} = {recall:.4f}")
        return About(
            title=pictures.title,
            embedding=embedded.name,
            metric=embedded.metric,
            count=len(pictures),
            recall=recall,
            recall_k=RECALL_K,
            recall_sample=len(sample),
            labels=dict(sorted(Counter(pictures.labels).items())),
        )

    async def _show(self, address: str, listening: socket.socket, pictures: Pictures, about: About) -> None:
        async with shoal.connect_async(address, timeout=WAIT_S) as client:
            search = ImageSearch(client, COLLECTION, pictures.labels)
            async with serving(listening, pictures, search, about) as page:
                if self._wanted.once:
                    await self._once(page, search)
                    return
                self._console.print(f"\n[bold]The page is at {page}[/bold]  Ctrl-C ends it and the cluster.")
                await asyncio.Event().wait()

    async def _once(self, page: str, search: ImageSearch) -> None:
        """Ask for pictures of different labels, show what is found, and read the page once."""
        drawn = np.random.default_rng(1).permutation(search.count)[:ASKED].tolist()
        answers = [await search.answer(PicturesLike(id=at, k=ASKED_K)) for at in drawn]
        self._console.print()
        self._console.print(table_of(answers))
        shown = f"{page.rstrip('/')}{address_of(answers[0].wish)}"
        text = await asyncio.to_thread(_read, shown)
        self._console.print(f"the page {shown} shows {text.count('<li>')} pictures", markup=False)

    def _told(self, line: str) -> None:
        self._console.print(f"    {line}", style="dim", markup=False)

    @contextmanager
    def _bar(self, title: str, total: int) -> Iterator[tuple[Progress, TaskID]]:
        columns = (TextColumn("   "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as progress:
            yield progress, progress.add_task(title, total=total)

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        """Print the title of a step, and at its end how long it took."""
        self._console.print(f"[bold]*[/bold] {title}")
        began = time.monotonic()
        yield
        self._console.print(f"    {time.monotonic() - began:.1f} s", style="dim")


def table_of(answers: Sequence[Answer]) -> Table:
    """Return a table of what was found for each picture that was asked for."""
    table = Table("picture", "its label", "labels of the nearest", "exact", "ms", box=None, padding=(0, 3, 0, 0))
    for answer in answers:
        labels = [picture.label for picture in answer.pictures]
        found = ", ".join(f"{count} {label}" for label, count in Counter(labels).most_common())
        asked = answer.asked
        assert asked is not None, "these are answers to PicturesLike"
        table.add_row(asked.name, asked.label, found, f"{answer.nearest}/{len(labels)}", f"{answer.search_ms:.1f}")
    return table


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=PAGE_S) as answer:
        text: str = answer.read().decode("utf-8")
    return text
