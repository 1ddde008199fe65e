import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import PreconditionFailed, ResourceExhausted
from shoal.core.ids import ClusterId, ReplicaId, RequestId, Seq, Term
from shoal.shard_worker.logic.replication.record import Record, RecordKind
from shoal.shard_worker.storage.log import frame as frame_module
from shoal.shard_worker.storage.log.frame import chain_seed, encode_group, holds_frame, read_frame
from tests.support.worker.storage_parts import CLUSTER, REPLICA, record

SEED = chain_seed(CLUSTER, REPLICA)

RECORDS = st.builds(
    Record,
    term=st.integers(0, 2**64 - 1).map(Term),
    seq=st.integers(1, 2**64 - 1).map(Seq),
    kind=st.sampled_from(RecordKind),
    time_ms=st.integers(-(2**63), 2**63 - 1),
    request_id=st.none() | st.builds(RequestId, st.text(max_size=20), st.integers(0, 2**64 - 1)),
    body=st.binary(max_size=200),
)


def test_a_record_of_a_kind_of_a_newer_version_is_no_damage():
    newer = replace(record(7), kind=99)
    with pytest.raises(PreconditionFailed, match="record 7 is of kind 99, which this version of Shoal does not know: a newer one"):
        read_frame(io.BytesIO(b"".join(encode_group([newer], 0, SEED).pieces)), SEED)


@given(st.lists(RECORDS, max_size=4), st.integers(0, 2**32 - 1))
def test_what_is_encoded_is_read_back_in_its_chain(group, previous_crc):
    encoded = encode_group(group, previous_crc, SEED)
    stream = io.BytesIO(b"".join(encoded.pieces))
    crc = previous_crc
    for expected in group:
        found = read_frame(stream, SEED)
        assert found is not None
        assert (found.record, found.previous_crc) == (expected, crc)
        crc = found.crc
    assert (crc, stream.tell()) == (encoded.last_crc, encoded.size_bytes)
    assert read_frame(stream, SEED) is None


def test_every_flipped_bit_and_every_missing_byte_is_noticed():
    data = b"".join(encode_group([record(1, request=RequestId("client", 7))], 5, SEED).pieces)
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        assert read_frame(io.BytesIO(bytes(flipped)), SEED) is None
    for size in range(len(data)):
        assert read_frame(io.BytesIO(data[:size]), SEED) is None
    assert read_frame(io.BytesIO(data), SEED) is not None


def test_a_frame_is_found_anywhere_and_only_whole():
    data = b"".join(encode_group([record(1)], 0, SEED).pieces)
    assert holds_frame(b"\xffSR" + b"\xffSR\xfe" + b"x" * 40 + data + b"tail", SEED)
    assert not holds_frame(b"noise" + data[:-1], SEED)
    assert not holds_frame(b"", SEED)


def test_a_frame_of_another_replica_is_none_of_ours():
    data = b"".join(encode_group([record(1)], 0, chain_seed(CLUSTER, ReplicaId("replica-b"))).pieces)
    other_cluster = b"".join(encode_group([record(1)], 0, chain_seed(ClusterId("cluster-b"), REPLICA)).pieces)
    assert not holds_frame(data + other_cluster, SEED)


def test_a_record_over_the_bound_is_refused(monkeypatch):
    monkeypatch.setattr(frame_module, "MAX_PAYLOAD_BYTES", 100)
    with pytest.raises(ResourceExhausted, match="record 3 has 235 bytes, a log takes at most 100"):
        encode_group([record(3, body=bytes(200))], 0, SEED)


def test_a_client_name_over_the_bound_is_refused():
    with pytest.raises(ResourceExhausted, match="client name of record 3 has 65535 bytes"):
        encode_group([record(3, request=RequestId("c" * 65535, 1))], 0, SEED)
