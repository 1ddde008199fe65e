"""The demo: two knowledge bases, or one of a user's folder, from texts to judged answers on a cluster of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import shoal
from examples.knowledge_base import documents, plot
from examples.knowledge_base.chunks import Chunk, chunks_of
from examples.knowledge_base.documents import Found
from examples.knowledge_base.embedding import Embedding, Matrix, embedding_for
from examples.knowledge_base.fit import fit
from examples.knowledge_base.judged_sets import CMRC, SCIFACT, embedded_text, judged_set
from examples.knowledge_base.quality import HYBRID, Quality, measured
from examples.knowledge_base.questions import WRITTEN, Question, known_items
from examples.knowledge_base.shown import show_answers, show_quality
from shoal.core.errors import NotFound, ResourceExhausted
from shoal.deploy.local.foreground import ForegroundCluster

TEXT_FIELDS = {"title": "auto", "body": "auto"}
QUESTIONS, KNOWN_ITEMS, SHOWN = 10, 200, 3
MOST_QUESTIONS = 500
MOST_CHUNKS = 100_000
LOADED_AT_ONCE = 500
WAIT_S = 60.0
FITTED = "both, fitted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the user asked for. folder: of own texts, None for the shared ones; asked: questions, none for those of the
    demo; chars: most of a chunk; picture: where the plot goes.
    """

    folder: Path | None
    asked: tuple[str, ...]
    chars: int
    picture: Path


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnowledgeBase:
    """Chunks that become a collection. name: of the collection; vectors: (chunks, dim) float32; asked: texts."""

    name: str
    chunks: Sequence[Chunk]
    vectors: Matrix
    embedding: Embedding
    asked: Sequence[str]


class Demo:
    """Runs one demo and prints what it does."""

    def __init__(self, console: Console, wanted: Wanted) -> None:
        self._console, self._wanted = console, wanted
        self._address = ""

    def run(self) -> None:
        """Run it. Raises ShoalError with what went wrong; the cluster is stopped whatever happens."""
        began = time.monotonic()
        bases = [self._prepared(name, found, asked) for name, found, asked in self._sources()]
        with tempfile.TemporaryDirectory(prefix="shoal-kb-") as folder:
            cluster = ForegroundCluster(data=Path(folder), heard=self._told)
            with self._step("starting a cluster in a temporary folder"):
                cluster.start()
            self._address = cluster.address
            try:
                with shoal.connect(cluster.address, timeout=WAIT_S) as client:
                    self._show(client, bases)
            finally:
                with self._step("stopping everything"):
                    cluster.stop()
        self._console.print(f"\n[bold]Done[/bold] after {time.monotonic() - began:.0f} s.")

    def _show(self, client: shoal.Client, bases: Sequence[KnowledgeBase]) -> None:
        for base in bases:
            self._load(client, base.name, base.chunks, base.vectors)
            self._ask(client, base)
        qualities = self._judged_sets(client) if self._wanted.folder is None else {}
        if not qualities:
            qualities = {base.name: quality for base in bases if (quality := self._known_items(client, base))}
        self._draw(qualities)

    def _sources(self) -> Iterator[tuple[str, Found, tuple[str, ...]]]:
        """Yield the name of each knowledge base, its documents and its questions."""
        wanted = self._wanted
        if wanted.folder is not None:
            yield "kb", documents.in_folder(wanted.folder), wanted.asked
            return
        shared = [(name, data, documents.in_data_set(data)) for name, data in (("kb-en", "milvus-docs-en"), ("kb-zh", "tidb-docs-zh"))]
        for name, data, found in shared:
            if found is None:
                self._console.print(f"{data}.jsonl.gz is absent from {documents.shared_folder()} (or the folder that SHOAL_DATA names)")
            else:
                yield name, found, wanted.asked or WRITTEN[data]
        if all(found is None for _, _, found in shared):
            self._console.print("Instead: descriptions of the packages that are installed, and of numpy's functions. None is Chinese.\n")
            yield "kb-installed", documents.installed(), wanted.asked

    def _prepared(self, name: str, found: Found, asked: tuple[str, ...]) -> KnowledgeBase:
        with self._step(f"{name}: cutting {len(found.documents):,} documents into chunks of at most {self._wanted.chars:,} characters"):
            for line in found.left_out:
                self._console.print(f"    left out: {line}", markup=False)
            chunks = [chunk for each in found.documents for chunk in chunks_of(each, self._wanted.chars)]
            self._console.print(f"    {len(chunks):,} chunks")
        if len(chunks) < 2:
            raise NotFound(f"{name} has {len(chunks)} chunks, at least 2 are needed")
        if len(chunks) > MOST_CHUNKS:
            raise ResourceExhausted(f"{name} has {len(chunks):,} chunks, this demo takes at most {MOST_CHUNKS:,}")
        with self._step(f"{name}: embedding"):
            texts = [embedded_text(each) for each in chunks]
            embedding = embedding_for(texts)
            vectors = embedding.vectors(texts)
            self._console.print(f"    {embedding.name}")
        questions = asked or tuple(each.text for each in known_items(chunks, QUESTIONS))
        return KnowledgeBase(name=name, chunks=chunks, vectors=vectors, embedding=embedding, asked=questions)

    def _load(self, client: shoal.Client, name: str, chunks: Sequence[Chunk], vectors: Matrix) -> None:
        with self._step(f"{name}: loading {len(chunks):,} chunks of {vectors.shape[1]} dimensions, text fields title and body"):
            client.create_collection(name, dim=vectors.shape[1], metric="cosine", text=TEXT_FIELDS)
            columns = (TextColumn("   "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal) as progress:
                task = progress.add_task(name, total=len(chunks))
                for start in range(0, len(chunks), LOADED_AT_ONCE):
                    batch = range(start, min(start + LOADED_AT_ONCE, len(chunks)))
                    client.upsert(name, list(batch), vectors[start : batch.stop], [payload_of(chunks[at]) for at in batch])
                    progress.update(task, completed=batch.stop)

    def _ask(self, client: shoal.Client, base: KnowledgeBase) -> None:
        self._console.print(f"\n[bold]{base.name}[/bold]: {len(base.asked)} questions, by vectors and text together\n")
        for question, vector in zip(base.asked, base.embedding.vectors(base.asked), strict=True):
            show_answers(self._console, question, client.search(base.name, vector, k=SHOWN, text=question, highlight=True))

    def _judged_sets(self, client: shoal.Client) -> dict[str, dict[str, Quality]]:
        """Return the quality on the data sets with known answers that are there."""
        qualities = {}
        for name in (SCIFACT, CMRC):
            with self._step(f"{name}: reading and embedding"):
                judged = judged_set(name, MOST_QUESTIONS)
                if judged is None:
                    self._console.print(f"    it is absent from {documents.shared_folder()}")
                    continue
            self._load(client, name, judged.chunks, judged.vectors)
            title = f"{name}: {len(judged.questions):,} questions of people, {judged.embedding}"
            qualities[name] = self._measured(client, name, judged.questions, judged.question_vectors, title)
            self._fit(client, name, judged.questions, judged.question_vectors, qualities[name])
        return qualities

    def _fit(self, client: shoal.Client, name: str, questions: Sequence[Question], vectors: Matrix, qualities: dict[str, Quality]) -> None:
        """Let the command choose weights and boosts; add the quality with them if they were saved."""
        with self._step(f"{name}: shoal collection fit, on the same questions"), tempfile.TemporaryDirectory() as folder:
            told = fit(self._address, Path(folder), name, questions, vectors)
            gain = f"gain {told['gain']:+.3f} on questions not seen, 95 % interval {told['low']:+.3f} to {told['high']:+.3f}"
            self._console.print(f"    {gain}: {'saved' if told['saved'] else 'nothing is saved'}; best was {told['choice']}", markup=False)
            if told["saved"]:
                qualities[FITTED] = measured(client, name, questions, vectors)[HYBRID]
                show_quality(self._console, f"    {name}", {FITTED: qualities[FITTED]})

    def _known_items(self, client: shoal.Client, base: KnowledgeBase) -> dict[str, Quality]:
        """Return the quality on questions that are made of headings; nothing without such headings."""
        questions = known_items(base.chunks, KNOWN_ITEMS)
        if not questions:
            self._console.print(f"{base.name} has no heading of several words that occurs once: nothing can be judged")
            return {}
        title = f"{base.name}: {len(questions)} headings as questions (their words are in the titles, which favours text)"
        return self._measured(client, base.name, questions, base.embedding.vectors([each.text for each in questions]), title)

    def _measured(self, client: shoal.Client, name: str, questions: Sequence[Question], vectors: Matrix, title: str) -> dict[str, Quality]:
        with self._step(f"{name}: asking {len(questions):,} questions whose answers are known"):
            qualities = measured(client, name, questions, vectors)
            show_quality(self._console, f"    {title}", qualities)
        return qualities

    def _draw(self, qualities: dict[str, dict[str, Quality]]) -> None:
        if not qualities:
            return
        if find_spec("matplotlib") is None:
            self._console.print("matplotlib is not installed: no plot is drawn")
            return
        self._wanted.picture.parent.mkdir(parents=True, exist_ok=True)
        self._console.print(f"\nplot: {plot.draw(qualities, self._wanted.picture)}", markup=False)

    def _told(self, line: str) -> None:
        self._console.print(f"    {line}", style="dim", markup=False)

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        """Print the title of a step, and at its end how long it took."""
        self._console.print(f"[bold]*[/bold] {title}")
        began = time.monotonic()
        yield
        self._console.print(f"    {time.monotonic() - began:.1f} s", style="dim")


def payload_of(chunk: Chunk) -> dict[str, str | int]:
    """Return what is stored of a chunk: its text fields, and where it is from."""
    return {"title": chunk.name, "body": chunk.text, "file": chunk.file, "heading": chunk.heading, "offset": chunk.offset}
