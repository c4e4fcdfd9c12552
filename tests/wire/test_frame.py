"""Frames: what is packed is read, what is not a frame of this run is refused with its reason."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.wire.frame import HEADER, TAG, BadFrame, Head, Kind, Reason, frame_key, pack, run_hash, unpack
from tests.wire.frames import HEAD, KEY, changed, packed

KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["crc", "tag"])
U8, U16, U32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
HEADS = st.builds(
    Head,
    kind=st.sampled_from(Kind),
    codec=U16,
    run=U32,
    epoch=U32,
    round=U32,
    phase=U8,
    stream=U16,
    sender=U32,
    schema=U32,
)


def refused(data: bytes, key: bytes | None = None) -> Reason:
    with pytest.raises(BadFrame) as caught:
        unpack(data, key)
    return caught.value.reason


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    head=HEADS,
    payload=st.binary(max_size=600),
    room=st.integers(1, 700),
    key=st.sampled_from([None, KEY, b"k"]),
)
def test_what_is_packed_is_read(head, payload, room, key):
    largest = HEADER + room + (0 if key is None else TAG)
    sent = pack(head, payload, largest=largest, key=key)
    read = [unpack(data, key) for data in sent]
    assert all(len(data) <= largest for data in sent)
    assert b"".join(frame.payload for frame in read) == payload
    assert [frame.chunk for frame in read] == list(range(len(sent)))
    assert {(frame.head, frame.chunks, frame.total) for frame in read} == {(head, len(sent), len(payload))}
    assert len({len(frame.payload) for frame in read[:-1]}) <= 1


def test_the_format_is_the_one_that_is_documented():
    (data,) = packed(b"payload", HEAD)
    assert data.hex() == (
        "454b0101030000004433221105000000060000000100020000000100"
        "040000000700000007000000ddccbbaa" + data[44:48].hex() + b"payload".hex()
    )
    assert changed(data) == data  # the checksum


def test_a_tag_is_half_of_an_hmac_of_header_and_chunk():
    (data,) = packed(b"payload", HEAD, key=KEY)
    assert data[6] == 1
    assert data[44:48] == bytes(4)
    assert data[-16:] == hmac.new(KEY, data[:-16], hashlib.sha256).digest()[:16]


def test_a_memoryview_is_packed_as_bytes_are():
    assert packed(memoryview(b"payload")) == packed(b"payload")


def test_a_frame_holds_no_copy_of_its_chunk():
    (data,) = packed(b"payload")
    assert unpack(data, None).payload.obj is data


ONE, (FIRST, SECOND, LAST) = packed(b"payload")[0], packed(b"payload", chunk=3)
REASONS = [
    (Reason.SHORT, b""),
    (Reason.SHORT, ONE[: HEADER - 1]),
    (Reason.MAGIC, b"MQ" + ONE[2:]),
    (Reason.VERSION, changed(ONE, version=0)),
    (Reason.VERSION, changed(ONE, version=2)),
    (Reason.KIND, changed(ONE, kind=0)),
    (Reason.KIND, changed(ONE, kind=max(Kind) + 1)),
    (Reason.RESERVED, changed(ONE, flags=2)),
    (Reason.RESERVED, changed(ONE, flags=1 << 15)),
    (Reason.RESERVED, changed(ONE, reserved=1)),
    (Reason.TAGGED, packed(b"payload", key=KEY)[0]),
    (Reason.LENGTH, ONE[:-1]),
    (Reason.LENGTH, ONE + b"\0"),
    (Reason.LENGTH, changed(ONE, length=6)),
    (Reason.LENGTH, changed(ONE, length=(1 << 32) - 1)),
    (Reason.CHUNKS, changed(ONE, chunks=0)),
    (Reason.CHUNKS, changed(ONE, chunk=1)),
    (Reason.CHUNKS, changed(LAST, chunk=3)),
    (Reason.TOTAL, changed(ONE, total=8)),
    (Reason.TOTAL, changed(ONE, total=0)),
    (Reason.TOTAL, changed(FIRST, total=6)),  # nothing is left for the last
    (Reason.TOTAL, changed(FIRST, total=10)),  # more is left than the others have
    (Reason.TOTAL, changed(LAST, total=8)),  # the others differ in length
    (Reason.TOTAL, changed(LAST, total=1)),  # the others have none
    (Reason.TOTAL, changed(LAST, total=0)),
    (Reason.TOTAL, changed(ONE, chunks=2)),
    (Reason.CHECKSUM, ONE[:-1] + b"D"),
    (Reason.CHECKSUM, ONE[:47] + bytes([ONE[47] ^ 1]) + ONE[48:]),
]
TAGGED = packed(b"payload", key=KEY)[0]
REASONS_WITH_KEY = [
    (Reason.SHORT, TAGGED[: HEADER - 1]),
    (Reason.LENGTH, TAGGED[:HEADER]),
    (Reason.LENGTH, TAGGED[:-1]),
    (Reason.UNTAGGED, ONE),
    (Reason.CHECKSUM, TAGGED[:44] + b"\1" + TAGGED[45:]),
    (Reason.TAG, TAGGED[:-1] + bytes([TAGGED[-1] ^ 1])),
    (Reason.TAG, packed(b"payload", key=bytes(32))[0]),
    (Reason.TAG, changed(TAGGED, b"another key", round=7)),
]


def name(value: object) -> str:
    return value.name if isinstance(value, Reason) else ""


@pytest.mark.parametrize(("reason", "data"), REASONS, ids=name)
def test_what_is_no_frame_is_refused_with_its_reason(reason, data):
    assert refused(data) is reason


@pytest.mark.parametrize(("reason", "data"), REASONS_WITH_KEY, ids=name)
def test_what_is_no_frame_of_a_run_with_a_key_is_refused_with_its_reason(reason, data):
    assert refused(data, KEY) is reason


def test_every_reason_is_tried_and_says_what_it_is():
    assert {reason for reason, _ in REASONS + REASONS_WITH_KEY} == set(Reason)
    assert str(BadFrame(Reason.SHORT)) == "no frame: shorter than a header."


@KEYS
def test_a_frame_with_one_flipped_bit_is_never_accepted(key):
    for (data,) in (packed(b"", key=key), packed(b"a payload of some length", key=key)):
        unpack(data, key)
        for bit in range(8 * len(data)):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            refused(bytes(flipped), key)


@KEYS
def test_a_frame_cut_anywhere_is_never_accepted(key):
    (data,) = packed(b"a payload of some length", key=key)
    for end in range(len(data)):
        refused(data[:end], key)


def test_an_empty_message_is_one_frame():
    (frame,) = [unpack(data, None) for data in packed(b"")]
    assert (frame.chunks, frame.total, bytes(frame.payload)) == (1, 0, b"")


def test_what_no_frames_can_carry_is_refused():
    with pytest.raises(ValueError, match="no chunk fits a frame of 48 bytes"):
        pack(HEAD, b"", largest=HEADER, key=None)
    with pytest.raises(ValueError, match="no chunk fits"):
        pack(HEAD, b"", largest=HEADER + TAG, key=KEY)
    assert len(pack(HEAD, bytes(65_535), largest=HEADER + 1, key=None)) == 65_535
    with pytest.raises(ValueError, match="65,536 bytes is too large for frames of 49 bytes"):
        pack(HEAD, bytes(65_536), largest=HEADER + 1, key=None)


def test_keys_and_hashes_are_those_of_any_implementation():
    assert run_hash("run") == int.from_bytes(hashlib.sha256(b"run").digest()[:4], "little")
    drawn = hmac.new(bytes(32), b"secret", hashlib.sha256).digest()
    assert frame_key(b"secret", "run") == hmac.new(drawn, b"edgekit frame run\x01", hashlib.sha256).digest()
    assert frame_key(b"secret", "run") != frame_key(b"secret", "run2") != frame_key(b"other", "run2")


def test_a_key_agrees_with_hkdf_of_cryptography():
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(SHA256(), 32, salt=None, info=b"edgekit frame run").derive(b"secret")
    assert frame_key(b"secret", "run") == derived
