"""Test payloads that an older version stored and this version would refuse: they are read, found by filters, sealed,
opened again and deleted by filter.
"""

import asyncio
import sys

import numpy as np
import pytest

from shoal.core.filter import Contains, Exists, In, Prefix
from shoal.core.ids import ClusterId
from shoal.core.points import id_array
from shoal.core.shard_calls import ShardCount, ShardGet
from shoal.shard_worker.fsck.replica_check import check_replica
from shoal.shard_worker.fsck.targets import Target
from tests.support.worker.replica_bench import DIM, REPLICA, SHARD, opened

LONG = "x" * 200
LEVELS = 5 * sys.getrecursionlimit()
OLD = {
    "past the bound": '{"n":1,"text":"LONG","d":' + '{"d":' * 101 + "1" + "}" * 102,
    "past the recursion limit of Python": '{"n":1,"text":"LONG","d":' + '[{"d":' * LEVELS + "1" + "}]" * LEVELS + "}",
    "half a character, and no finite number": '{"n":1,"text":"LONG","a":"\\ud800","b":1e400}',
    "a key twice": '{"n":2,"text":"LONG","n":1}',
    "a long integer": '{"n":1,"text":"LONG","b":' + "9" * 4_300 + "}",
}
FILTERS = [In(("n",), (1,)), Exists(("text",)), Prefix(("text",), LONG[:150]), Contains(("text",), LONG[:150])]
"""The index answers the first two. For the other two, texts of this length are read."""


@pytest.mark.parametrize("name", OLD)
def test_what_an_older_version_stored_is_a_payload_as_any_other(tmp_path, name):
    text = OLD[name].replace("LONG", LONG).encode()
    vectors = np.random.default_rng(1).normal(size=(300, DIM)).astype(np.float32)

    async def look(bench, present):
        for filter in FILTERS:
            assert await bench.replica.count(ShardCount(shard=SHARD, filter=filter), 5.0) == present
            assert (await bench.search(vectors[7], 5, filter=filter)).ids.tolist() == [7] * present
        found = await bench.replica.get(ShardGet(shard=SHARD, ids=id_array([7])), 5.0)
        assert (found.payloads or ()) == (text,) * present

    async def run():
        async with opened(tmp_path, term=1) as bench:
            await bench.upsert(range(300), vectors, tuple(text if at == 7 else b'{"n":0}' for at in range(300)))
            await look(bench, 1)
            await bench.replica.optimize(60.0)
            await look(bench, 1)
        report = check_replica(
            Target(replica=tmp_path / "collection" / "0" / REPLICA, worker=tmp_path), ClusterId("cluster"), lambda _: None
        )
        assert report.findings == ()
        async with opened(tmp_path, term=2) as bench:
            await look(bench, 1)
            assert (await bench.delete_matching(FILTERS[3])).affected == 1
            await look(bench, 0)

    asyncio.run(run())
