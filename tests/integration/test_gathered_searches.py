"""Many clients at the HTTP port at once: each request has its own answer or error, whatever comes together with it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import numpy as np

import shoal
from shoal.deploy.local.foreground import ForegroundCluster
from shoal.deploy.processes.ports import free_port
from shoal.v1 import search_pb2
from shoal.wire.columns import vectors_to_message
from tests.support.cluster.role_cluster import RoleCluster
from tests.support.http_requests import request_bytes

DIM, POINTS, CLIENTS, ROUNDS = 8, 400, 12, 30


def _request(collection: str, query: np.ndarray, k: int) -> bytes:
    leg = search_pb2.SearchLeg(vectors=vectors_to_message(query[None, :]))
    asked = search_pb2.SearchRequest(collection=collection, legs=[leg], k=k, with_payload=k == 5, exact=True)
    return request_bytes(body=asked.SerializeToString())


def _answer(peer: socket.socket) -> tuple[int, bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        got += _piece(peer)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _piece(peer)
    assert len(body) == length
    return int(head.split(b" ", 2)[1]), body


def _piece(peer: socket.socket) -> bytes:
    piece = peer.recv(65_536)
    assert piece, "the connection was closed"
    return piece


def test_clients_of_a_router_before_workers_get_their_own_answers(shared_cluster: RoleCluster, client: shoal.Client) -> None:
    assert _wrong_answers(client, shared_cluster.http_port) == []
    assert "handler_failed" not in shared_cluster.router.log()


def test_clients_of_a_cluster_in_one_process_get_their_own_answers(tmp_path: Path) -> None:
    port, told = free_port(), list[str]()
    with (
        ForegroundCluster(data=tmp_path / "data", flags=(f"--http-port={port}",), heard=told.append) as cluster,
        shoal.connect(cluster.address) as client,
    ):
        assert _wrong_answers(client, port) == []
    assert not [line for line in told if "handler_failed" in line]


def _wrong_answers(client: shoal.Client, port: int) -> list[str]:
    """Search with all clients at the same moments. Return what was wrong."""
    random = np.random.default_rng(5)
    vectors = random.normal(size=(POINTS, DIM)).astype(np.float32)
    client.create_collection("gathered", DIM, metric="l2", shards=2)
    client.upsert("gathered", np.arange(POINTS), vectors, [{"at": at} for at in range(POINTS)])
    together = threading.Barrier(CLIENTS)
    wrong: list[str] = []

    def ask(number: int) -> None:
        own = np.random.default_rng(number)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as peer:
            for turn in range(ROUNDS):
                query, k = own.normal(size=DIM).astype(np.float32), (3, 5)[(number + turn) % 2]
                missing = (number + turn) % 7 == 0
                together.wait(30)
                peer.sendall(_request("absent" if missing else "gathered", query, k))
                status, body = _answer(peer)
                nearest = np.square(vectors.astype(np.float64) - query).sum(axis=1).argsort()[:k].tolist()
                if missing and status != 404:
                    wrong.append(f"{status} for a collection that does not exist")
                elif not missing:
                    hits = search_pb2.SearchResponse.FromString(body).hits
                    texts = [f'{{"at":{at}}}' for at in nearest] if k == 5 else []
                    if (status, list(hits.ids.integers), [text.replace(" ", "") for text in hits.payloads]) != (200, nearest, texts):
                        wrong.append(f"{status}: {hits} instead of {nearest}")

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    client.drop_collection("gathered")
    return wrong
