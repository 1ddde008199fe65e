"""Random collections of texts in shards and segments that grow, are sealed, merged and lose rows; random queries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np

from shoal.core.points import PointId, id_array, id_order
from shoal.core.text_query import Match, QueryWord
from shoal.core.text_statistics import NO_STATISTICS, TextStatistics
from shoal.shard_worker.text.eligible import Eligible
from shoal.shard_worker.text.growing import GrowingTexts
from shoal.shard_worker.text.indexing import NO_TEXT, IndexedText
from shoal.shard_worker.text.inspection import inspect_texts
from shoal.shard_worker.text.part import TextPart
from shoal.shard_worker.text.query import Clause, Occurrence, Phrase, TextQuery, Together
from shoal.shard_worker.text.scoring import weighted
from shoal.shard_worker.text.sealed import TextMerge
from shoal.shard_worker.text.search import search_part
from shoal.shard_worker.text.statistics import LivingRows, statistics_of
from shoal.shard_worker.text.text_file import read_texts
from tests.twins.texts import TextDocument

FIELDS = ("title", "body")
FINGERPRINT = "letters 1"

WORDS = ("a", "ab", "abc", "ab\0", "b", "ba", "é", "中", "中文", "文", "\U0001f41f", "\ud800", "z", *(f"w{n}" for n in range(40)))
PREFIXES = ("a", "ab", "w", "w1", "中", "nothing", "")
BOOSTS = (0.01, 1.0, 1.0, 2.5, 300.0)


def random_text(random: Random, longest: int = 12) -> IndexedText:
    """Draw a text: words are used unevenly, positions ascend, or do not."""
    if random.random() < 0.15:
        return NO_TEXT
    words = [WORDS[min(int(random.paretovariate(0.7)) - 1, len(WORDS) - 1)] for _ in range(random.randint(1, longest))]
    positions = list(range(len(words)))
    shape = random.random()
    if shape < 0.1:
        random.shuffle(positions)
    elif shape < 0.3:
        positions = sorted(random.choices(positions, k=len(words)))
    elif shape < 0.32:
        positions = [position + 2**32 - 1 - len(words) for position in positions]
    return IndexedText(words, positions)


@dataclass
class SegmentWorld:
    """A segment: its index, and id and life of each row."""

    part: TextPart
    ids: list[PointId]
    alive: list[bool]


@dataclass
class ShardWorld:
    growing: GrowingTexts = field(default_factory=lambda: GrowingTexts(FIELDS, FINGERPRINT))
    ids: list[PointId] = field(default_factory=list)
    alive: list[bool] = field(default_factory=list)
    sealed: list[SegmentWorld] = field(default_factory=list)

    def segments(self) -> list[SegmentWorld]:
        return [*self.sealed, SegmentWorld(self.growing.part(), self.ids, self.alive)]

    def append(self, documents: Sequence[tuple[PointId, TextDocument]]) -> None:
        self.growing.append({name: [document[name] for _, document in documents] for name in FIELDS}, len(documents))
        self.ids += [point_id for point_id, _ in documents]
        self.alive += [True] * len(documents)

    def remove(self, point_id: PointId) -> None:
        for segment in self.segments():
            for at, held in enumerate(segment.ids):
                if held == point_id:
                    segment.alive[at] = False

    def merge(self, random: Random, folder: Path) -> None:
        """Merge the growing segment and some sealed ones, some with their dead rows, into a file, and map it."""
        taken = [segment for segment in self.sealed if random.random() < 0.5]
        sources = [*taken, SegmentWorld(self.growing.part(), self.ids, self.alive)]
        positions = [
            np.arange(len(source.ids)) if random.random() < 0.3 else np.flatnonzero(np.array(source.alive, dtype=bool))
            for source in sources
        ]
        merge = TextMerge(
            [(source.part, rows) for source, rows in zip(sources, positions, strict=True)],
            fields=FIELDS,
            fingerprint=FINGERPRINT,
            most_bytes=random.choice((1, 700, 5_000, 2**24)),
        )
        path = folder / "merged.text"
        merge.write(path)
        read = read_texts(path, FINGERPRINT)
        inspect_texts(read)
        merged = SegmentWorld(
            read,
            [source.ids[at] for source, rows in zip(sources, positions, strict=True) for at in rows.tolist()],
            [source.alive[at] for source, rows in zip(sources, positions, strict=True) for at in rows.tolist()],
        )
        path.unlink()
        self.sealed = [segment for segment in self.sealed if not any(segment is each for each in taken)] + [merged]
        self.growing, self.ids, self.alive = GrowingTexts(FIELDS, FINGERPRINT), [], []


class TextWorld:
    """Documents by id, and the shards that hold them."""

    def __init__(self, random: Random, shards: int, folder: Path) -> None:
        self.documents: dict[PointId, TextDocument] = {}
        self._random, self._folder = random, folder
        self._shards = [ShardWorld() for _ in range(shards)]
        self._home: dict[PointId, ShardWorld] = {}

    def change(self) -> None:
        """Write, delete or merge."""
        random = self._random
        shard = random.choice(self._shards)
        kind = random.random()
        if kind < 0.6:
            self._write(shard, random.choice((1, 3, 20, 60)))
        elif kind < 0.75:
            for point_id in [point_id for point_id, home in self._home.items() if home is shard and random.random() < 0.3]:
                shard.remove(point_id)
                del self.documents[point_id], self._home[point_id]
        else:
            shard.merge(random, self._folder)

    def search(self, query: TextQuery, k: int, allowed: Collection[PointId] | None) -> list[tuple[PointId, float]]:
        """Search as workers and a router do: statistics of all shards, their sum, the best of each segment."""
        living = [
            [(segment, LivingRows(segment.part, np.array(segment.alive, dtype=bool))) for segment in shard.segments()]
            for shard in self._shards
        ]
        total = sum((self._statistics(shard, query) for shard in living), NO_STATISTICS)
        words = weighted(query, total)
        hits = []
        for segment, rows in (each for shard in living for each in shard):
            ids = id_array(segment.ids)
            eligible = self._eligible(segment, rows, allowed)
            found = search_part(segment.part, query, words, k=k, ids=ids, eligible=eligible)
            hits += [(segment.ids[row], score) for row, score in zip(found.rows.tolist(), found.scores.tolist(), strict=True)]
        return sorted(hits, key=lambda hit: (-hit[1], id_order(hit[0])))[:k]

    def _write(self, shard: ShardWorld, count: int) -> None:
        written = []
        for _ in range(count):
            number = self._random.randint(0, 2_000)
            point_id: PointId = str(number) if number % 7 == 0 else number
            if point_id in self._home:
                continue
            self.documents[point_id] = {name: random_text(self._random) for name in FIELDS}
            self._home[point_id] = shard
            written.append((point_id, self.documents[point_id]))
        shard.append(written)

    def _statistics(self, shard: Sequence[tuple[SegmentWorld, LivingRows]], query: TextQuery) -> TextStatistics:
        return statistics_of([rows for _, rows in shard], query.boosts)

    def _eligible(self, segment: SegmentWorld, rows: LivingRows, allowed: Collection[PointId] | None) -> Eligible:
        """Say what may be returned in one of the ways in which it can be said."""
        count = len(segment.part)
        if allowed is None:
            return Eligible(count, mask=rows.alive)
        matching = np.array([point_id in allowed for point_id in segment.ids], dtype=bool)
        alive = np.array(segment.alive, dtype=bool)
        return self._random.choice(
            (
                lambda: Eligible(count, mask=matching & alive),
                lambda: Eligible(count, mask=rows.alive, among=np.flatnonzero(matching)),
                lambda: Eligible(count, mask=rows.alive, among=np.flatnonzero(matching), among_mask=matching),
                lambda: Eligible(count, among=np.flatnonzero(matching & alive).astype(np.uint32)),
            )
        )()


def random_query(random: Random, documents: Collection[TextDocument]) -> TextQuery:
    """Draw a query; its phrases often occur in one of the documents."""
    units = [
        [(QueryWord(name, text, prefix), random.choice(BOOSTS)) for name in random.sample(FIELDS, random.randint(1, 2))]
        for text, prefix in (_word(random) for _ in range(random.choice((1, 2, 3, 6))))
    ]
    match = Match.ALL if random.random() < 0.2 else Match.ANY
    must = [_clause(random, documents) for _ in range(random.choice((0, 0, 0, 1, 2)))]
    must_not = [_clause(random, documents) for _ in range(random.choice((0, 0, 0, 1, 2)))]
    return TextQuery.of(units, match=match, must=must, must_not=must_not)


def _word(random: Random) -> tuple[str, bool]:
    if random.random() < 0.15:
        return random.choice(PREFIXES), True
    return random.choice((random.choice(WORDS), random.choice(WORDS[:8]))), False


def _clause(random: Random, documents: Collection[TextDocument]) -> Clause:
    return Clause(tuple(_occurrence(random, documents) for _ in range(random.choice((0, 1, 1, 1, 2)))))


def _occurrence(random: Random, documents: Collection[TextDocument]) -> Occurrence:
    if random.random() < 0.1:
        return Together(tuple(_clause(random, documents) for _ in range(random.choice((1, 2, 2, 3)))))
    name = random.choice(FIELDS)
    text = random.choice(list(documents))[name] if documents else NO_TEXT
    if len(text.words) < 2 or random.random() < 0.4:
        return QueryWord(name, *_word(random))
    places = sorted(random.sample(range(len(text.words)), random.randint(1, min(3, len(text.words)))), key=lambda at: text.positions[at])
    first = text.positions[places[0]]
    return Phrase(name, tuple(text.words[at] for at in places), tuple(text.positions[at] - first for at in places))
