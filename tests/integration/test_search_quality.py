"""Test searches of real vectors through gRPC and the real parts, and measure their recall."""

import numpy as np

from tests.support.examples.data_sets import load, recall


def test_sift5k_in_two_shards_reaches_recall_098_with_all_rows_sealed(client):
    data = load("sift5k-128-l2.npz")
    base, queries, neighbors = data["base"], data["queries"], data["neighbors"]
    client.create_collection("sift", dim=128, metric="l2", shards=2, index="hnsw")
    client.upsert("sift", np.arange(len(base)), base)
    client.optimize("sift")
    info = client.describe_collection("sift")
    assert (info.points, info.growing_rows, info.sealed_rows, info.builds_pending) == (len(base), 0, len(base), 0)
    found = [[hit.id for hit in hits] for hits in client.search_many("sift", queries, k=10)]
    assert recall(found, neighbors, 10) >= 0.98
    exact = client.search_many("sift", queries, k=10, exact=True)
    true_distances = ((base[neighbors[:, :10]].astype(np.int64) - queries[:, None, :].astype(np.int64)) ** 2).sum(axis=2)
    np.testing.assert_array_equal(np.array([[hit.score for hit in hits] for hits in exact]), true_distances.astype(np.float32))


def test_one_query_and_a_batch_give_the_same_scores_and_order(client):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(700, 24))
    for metric in ("l2", "ip", "cosine"):
        name = f"same-{metric}"
        client.create_collection(name, dim=24, metric=metric, shards=3)
        client.upsert(name, [f"p{number}" if number % 2 else number for number in range(700)], vectors)
        together = client.search_many(name, vectors[:20], k=5, exact=True)
        alone = [client.search(name, vector, k=5, exact=True) for vector in vectors[:20]]
        assert together == alone
        sign = 1 if metric == "l2" else -1
        for hits in alone:
            assert [sign * hit.score for hit in hits] == sorted(sign * hit.score for hit in hits)


def test_ties_are_ordered_by_id_integers_before_strings(client):
    client.create_collection("ties", dim=2, shards=3)
    ids = ["b", 3, "a", 10, 1, "c", 2]
    client.upsert("ties", ids, [[1, 1]] * len(ids))
    hits = client.search("ties", [0, 0], k=5, exact=True)
    assert [hit.id for hit in hits] == [1, 2, 3, 10, "a"]
    assert [hit.score for hit in hits] == [2.0] * 5
