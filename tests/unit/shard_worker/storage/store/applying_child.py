"""Apply the same history to a store again and again until this process is killed: `python -m ... FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from shoal.core.ids import RequestId
from shoal.shard_worker.storage.store.mutation import Mutation
from tests.support.worker.storage_parts import delete, open_store, upsert


def group_after(seq: int) -> list[Mutation]:
    """Return the group that follows `seq`. In this history, each group replaces and deletes what earlier
    groups wrote.
    """
    written = [(seq * 7 + step * 3) % 400 for step in range(100)]
    return [
        upsert(seq + 1, written, salt=float(seq), request=RequestId("child", seq + 1)),
        delete(seq + 2, [each for each in written if each % 5 == 0]),
        upsert(seq + 3, [f"string {each}" for each in written[:20]], salt=0.5),
    ]


def main() -> None:
    store = open_store(Path(sys.argv[1]))
    while True:
        store.apply(group_after(store.applied_seq))
        if store.applied_seq % 30 == 0:
            store.checkpoint()
        print(store.applied_seq, flush=True)


if __name__ == "__main__":
    main()
