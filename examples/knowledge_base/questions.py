"""What is asked: ten written questions for each set of documentation, and questions made of headings for any texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from examples.knowledge_base.chunks import ABOVE, Chunk
from examples.knowledge_base.embedding import words_of
from shoal.core.ranking_quality import Judged

WRITTEN: Mapping[str, tuple[str, ...]] = {
    "milvus-docs-en": (
        "How do I rotate logs and change the log level?",
        "What is the difference between IVF_FLAT and HNSW indexes?",
        "How can I back up my data and restore it into another collection?",
        "Which GPUs does the GPU index need?",
        "queryNode memory mmap configuration",
        "combine sparse and dense vectors in one hybrid search",
        "upgrade a cluster with Helm without losing data",
        "How do I enable TLS between client and server?",
        "limit the number of collections per database",
        "What does consistency level Bounded mean?",
    ),
    "tidb-docs-zh": (
        "如何扩容 TiKV 节点？",
        "乐观事务和悲观事务有什么区别？",
        "tidb mem quota query 的默认值是多少",
        "怎样用 TiDB Lightning 并行导入数据",
        "慢查询日志里的 Query_time 是什么意思",
        "TiCDC 如何把數據同步到 Kafka",
        "Region 的 Leader 怎么切换",
        "如何创建向量索引加速向量搜索",
        "平滑升級集群的步驟",
        "GC safe point 和 tidb_gc_life_time 的关系",
    ),
}
"""By data set. Two of the Chinese ones are in traditional characters; the documents are in simplified ones."""

LEAST_WORDS = 3
"""A heading of fewer words is no question; numbers do not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A question, and the grades of the points that answer it, by id."""

    text: str
    judged: Judged


def known_items(chunks: Sequence[Chunk], most: int, seed: int = 0) -> list[Question]:
    """Return up to `most` questions that are the text of a heading, whose answer is every chunk below that heading.

    Only headings that occur once are taken, or titles of documents without headings. The id of a chunk is its position.
    Equal input and seed give equal questions. The words of such a question are in the title of its answer, so it is
    easier for a search by text than questions of people are.
    """
    below: dict[tuple[str, str], list[int]] = {}
    for at, chunk in enumerate(chunks):
        below.setdefault((chunk.file, chunk.heading), []).append(at)
    texts = {place: place[1].split(ABOVE)[-1] or chunks[found[0]].title for place, found in below.items()}
    often = Counter(text.lower() for text in texts.values())
    once = [place for place, text in texts.items() if often[text.lower()] == 1 and _words_in(text) >= LEAST_WORDS]
    picked = np.random.default_rng(seed).permutation(len(once))[:most]
    return [Question(text=texts[once[each]], judged=dict.fromkeys(below[once[each]], 1.0)) for each in sorted(picked.tolist())]


def _words_in(text: str) -> int:
    return sum(not word.isdigit() for word in words_of(text))
