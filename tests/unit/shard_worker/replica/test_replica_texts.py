"""Test the text fields of one replica on a real disk: searchable when acknowledged, the same hits and scores as brute
force through seals, merges, deletes and restarts, repaired when damaged, altered while it lives.
"""

import asyncio
import contextlib
import dataclasses
import json

import numpy as np
import pytest

from shoal.core.errors import PreconditionFailed
from shoal.core.filter import Range
from shoal.core.text_fields import text_fields_from_input
from shoal.core.text_query import Match, TextAsk
from shoal.shard_worker.index.native.task import run_native_task
from shoal.shard_worker.replica.segment_texts import SegmentTexts
from shoal.shard_worker.resources.builders import Delivery, ElsewhereBuilder
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, SPEC, opened
from tests.support.worker.replica_texts import PointsWithTexts, found_texts

RNG = np.random.default_rng(11)
NOTE = text_fields_from_input({"note": "auto"})
BOTH = text_fields_from_input({"note": "auto", "in.title": {"kind": "auto", "own_words": ["red box"]}})
NOTE_ANEW = text_fields_from_input({"note": "words", "in.title": {"kind": "auto", "own_words": ["red box"]}})
WORDS = ["red", "green", "blue", "boxes", "walking", "知识", "检索系统", "RocksDB", "tidb_mem_quota"]
ASKS = (
    TextAsk(text="red walks"),
    TextAsk(text="green blue", match=Match.ALL),
    TextAsk(text="检索 知识", must=("red",)),
    TextAsk(phrases=("red green",)),
    TextAsk(text="mem quota", must_not=("blue",)),
    TextAsk(prefix="bo"),
)


def spec_of(text):
    return dataclasses.replace(SPEC, text=text)


def payload_of(number):
    """Return a payload with some words. Some points have none, or a list of texts."""
    words = np.random.default_rng(number).choice(WORDS, number % 7).tolist()
    if number % 11 == 0:
        return None
    note = [" ".join(words[:2]), " ".join(words[2:]), number] if number % 3 == 0 else " ".join(words)
    return {"n": number, "note": note, "in": {"title": f"red box {number % 5}"}}


def segments(tmp_path):
    return tmp_path / SHARD.collection / "0" / REPLICA / "segments"


async def until(holds):
    """Wait until something holds. Raises TimeoutError if it does not within a minute."""
    deadline = asyncio.get_running_loop().time() + 60.0
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.002)


class World:
    """A replica, and the payloads that it must hold."""

    def __init__(self, bench, payloads):
        self.bench, self.payloads = bench, payloads

    async def upsert(self, ids, *, add=0):
        made = [payload_of(each + add) for each in ids]
        vectors = RNG.normal(size=(len(ids), DIM)).astype(np.float32)
        await self.bench.upsert(ids, vectors, tuple(None if each is None else json.dumps(each).encode() for each in made))
        self.payloads.update(zip(ids, made, strict=True))

    async def delete(self, ids):
        await self.bench.delete(ids)
        for each in ids:
            self.payloads.pop(each, None)

    def agree(self, text):
        """Every search finds what brute force finds, also under a filter."""
        low = Range(path=("n",), lt=150)
        allowed = {each for each, payload in self.payloads.items() if payload and payload["n"] < 150}
        expected = PointsWithTexts(text, self.payloads)
        for ask in ASKS:
            assert found_texts(self.bench.engine, ask, 20) == expected.search(ask, 20)
            assert found_texts(self.bench.engine, ask, 20, low) == expected.search(ask, 20, allowed)

    async def settled(self):
        """Wait until nothing is to be built."""
        await until(lambda: not self.bench.replica.stats_now().builds_pending)


@contextlib.asynccontextmanager
async def world(tmp_path, term, text, payloads, *, growing_rows=100):
    async with opened(tmp_path, term=term, growing_rows=growing_rows, spec=spec_of(text)) as bench:
        yield World(bench, payloads)


def test_texts_are_searchable_when_acknowledged_and_stay_so(tmp_path):
    payloads = {}

    async def run():
        async with world(tmp_path, 1, BOTH, payloads) as one:
            for start in range(0, 90, 30):
                await one.upsert(range(start, start + 30))
                one.agree(BOTH)
            await one.delete(range(0, 90, 4))
            one.agree(BOTH)
            await one.upsert(range(40, 450), add=1_000)
            one.agree(BOTH)
            await one.settled()
            one.agree(BOTH)
            await one.delete(range(100, 160))
            await one.upsert(range(120, 140))
            one.agree(BOTH)
            await one.bench.replica.optimize(60.0)
            assert (await one.bench.replica.stats()).segments == 1
            one.agree(BOTH)
            await one.upsert(range(600, 630))
        assert len(list(segments(tmp_path).glob("*.text"))) == 1
        files = {path.name: path.stat().st_mtime_ns for path in segments(tmp_path).iterdir()}
        async with world(tmp_path, 2, BOTH, payloads) as one:
            one.agree(BOTH)
            assert (await one.bench.replica.stats()).builds_pending == 0
        assert {path.name: path.stat().st_mtime_ns for path in segments(tmp_path).iterdir()} == files

    asyncio.run(run())


@pytest.mark.parametrize("damage", ["missing", "short", 0, 8, 60, 0.2, 0.4, 0.6, 0.8, 0.999])
def test_a_damaged_index_of_texts_is_made_anew_and_the_graph_stays(tmp_path, damage):
    payloads = {}

    async def run():
        async with world(tmp_path, 1, BOTH, payloads) as one:
            await one.upsert(range(300))
            await one.bench.replica.optimize(60.0)
            await one.delete(range(10, 30))
        (graph,) = segments(tmp_path).glob("*.faiss")
        (file,) = segments(tmp_path).glob("*.text")
        written, intact = graph.stat().st_mtime_ns, file.read_bytes()
        if damage == "missing":
            file.unlink()
        elif damage == "short":
            file.write_bytes(intact[:-1])
        else:
            at = damage if isinstance(damage, int) else int(damage * len(intact))
            file.write_bytes(intact[:at] + bytes([intact[at] ^ 4]) + intact[at + 1 :])
        async with world(tmp_path, 2, BOTH, payloads) as one:
            assert (await one.bench.replica.stats()).builds_pending == 0
            one.agree(BOTH)
        assert graph.stat().st_mtime_ns == written
        (made,) = segments(tmp_path).glob("*.text")
        assert made.name != file.name
        async with world(tmp_path, 3, BOTH, payloads) as one:
            one.agree(BOTH)
        assert [path.name for path in segments(tmp_path).glob("*.text")] == [made.name]

    asyncio.run(run())


def test_text_fields_of_a_live_replica_are_added_changed_and_dropped(tmp_path):
    payloads = {}

    async def run():
        async with world(tmp_path, 1, (), payloads) as one:
            await one.upsert(range(250))
            for text in (NOTE, BOTH, NOTE_ANEW, NOTE, (), BOTH):
                one.bench.replica.tell_spec(spec_of(text))
                await one.upsert(range(250, 260), add=len(text))
                await one.settled()
                if text:
                    one.agree(text)
                assert (await one.bench.replica.stats()).waiting == ""
            await one.bench.replica.optimize(60.0)
            one.agree(BOTH)
        async with world(tmp_path, 2, BOTH, payloads) as one:
            assert (await one.bench.replica.stats()).builds_pending == 0
            one.agree(BOTH)

    asyncio.run(run())


def test_meanwhile_a_search_of_the_new_field_is_refused_and_others_go_on(tmp_path, monkeypatch):
    payloads = {}
    write = SegmentTexts.write
    wait = []

    def held(self, lacking, should_stop):
        while wait and not should_stop():
            pass
        return write(self, lacking, should_stop)

    monkeypatch.setattr(SegmentTexts, "write", held)

    async def run():
        async with world(tmp_path, 1, NOTE, payloads) as one:
            await one.upsert(range(200))
            await one.bench.replica.optimize(60.0)
            wait.append(True)
            one.bench.replica.tell_spec(spec_of(BOTH))
            await until(lambda: one.bench.engine.reading.view().texts.names == ("in.title", "note"))
            await one.upsert(range(200, 220))
            note = TextAsk(text="red walks", fields=(("note", 1.0),))
            assert found_texts(one.bench.engine, note, 20) == PointsWithTexts(BOTH, payloads).search(note, 20)
            for ask in (TextAsk(text="red"), TextAsk(text="red", fields=(("in.title", 2.0),))):
                with pytest.raises(PreconditionFailed, match="1 of 2 segments are ready"):
                    found_texts(one.bench.engine, ask, 5)
            stats = await one.bench.replica.stats()
            assert (stats.builds_pending, stats.waiting) == (1, "text fields are indexed in 1 of 2 segments")
            await one.delete(range(0, 40))
            await one.upsert(range(50, 60), add=5_000)
            wait.clear()
            await one.settled()
            one.agree(BOTH)
            assert (await one.bench.replica.stats()).waiting == ""

    asyncio.run(run())


def test_a_restart_in_the_middle_goes_on(tmp_path, monkeypatch):
    """The replica closes while the index of a new field is being made, so that work is stopped and done later."""
    payloads = {}

    def stopped(self, rows, texts, should_stop):
        while not should_stop():
            pass
        yield from batches(self, rows, texts, should_stop)

    batches = SegmentTexts._batches

    async def run():
        async with world(tmp_path, 1, NOTE, payloads) as one:
            await one.upsert(range(200))
            await one.bench.replica.optimize(60.0)
            with monkeypatch.context() as patched:
                patched.setattr(SegmentTexts, "_batches", stopped)
                one.bench.replica.tell_spec(spec_of(BOTH))
                await one.upsert(range(200, 230))
                await one.bench.replica.close()
        assert len(list(segments(tmp_path).glob("*.text"))) == 1
        async with world(tmp_path, 2, BOTH, payloads) as one:
            await one.upsert(range(230, 240))
            await one.settled()
            one.agree(BOTH)

    asyncio.run(run())


def test_a_replica_whose_files_rest_gets_a_new_text_field_and_keeps_its_graph(tmp_path):
    payloads = {}

    async def run():
        async with world(tmp_path, 1, (), payloads) as one:
            await one.upsert(range(150))
            await one.bench.replica.optimize(60.0)
            graphs = {path: path.stat().st_mtime_ns for path in segments(tmp_path).glob("*.faiss")}
            await one.bench.rest()
            one.bench.replica.tell_spec(spec_of(NOTE))
            await one.settled()
            one.agree(NOTE)
            assert {path: path.stat().st_mtime_ns for path in segments(tmp_path).glob("*.faiss")} == graphs

    asyncio.run(run())


class TaskHere:
    """Builds an index as another process would, from the material that it is sent. asked: the tasks."""

    def __init__(self):
        self.asked = []

    def run(self, task, material, should_stop):
        self.asked.append(task)
        built = run_native_task(task, material, should_stop)
        return None if built is None else Delivery(built=built, place="elsewhere")


def test_texts_are_merged_at_home_when_the_graph_is_built_elsewhere(tmp_path):
    payloads = {}
    spec = dataclasses.replace(spec_of(BOTH), index="HNSW8,Flat")

    async def run():
        async with opened(tmp_path, term=1, growing_rows=100, spec=spec) as bench:
            elsewhere = TaskHere()
            bench.pools.builder = ElsewhereBuilder(elsewhere)
            one = World(bench, payloads)
            await one.upsert(range(250))
            await one.delete(range(0, 250, 3))
            await bench.replica.optimize(60.0)
            (part,) = bench.engine.reading.view().parts
            assert part.index == "HNSW8,Flat"
            assert elsewhere.asked
            one.agree(BOTH)
            bench.replica.tell_spec(dataclasses.replace(spec, text=NOTE_ANEW))
            await one.upsert(range(250, 300))
            await bench.replica.optimize(60.0)
            one.agree(NOTE_ANEW)

    asyncio.run(run())


def test_rows_that_no_table_holds_yet_are_counted_in_memory_and_sealed_ones_are_not(tmp_path):
    payloads = {}

    async def run():
        async with world(tmp_path, 1, NOTE, payloads, growing_rows=1_000) as one:
            await one.upsert(range(500))
            held = one.bench.engine.cost()
            growing = one.bench.engine.reading.view().parts[0].texts.memory_bytes()
            assert held.growing.has_texts
            assert growing > 10_000
            one.bench.replica.tell_spec(spec_of(()))
            await one.bench.replica.optimize(60.0)
            bare = (await one.bench.replica.stats()).memory_bytes
            one.bench.replica.tell_spec(spec_of(NOTE))
            await one.settled()
            assert (await one.bench.replica.stats()).memory_bytes == pytest.approx(bare, abs=4_096)

    asyncio.run(run())
