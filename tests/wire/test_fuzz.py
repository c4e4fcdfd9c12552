"""A million frames: each is read or refused with BadFrame and nothing else, and memory does not grow."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pytest

from edgekit.wire.chunks import RECENT, Assembler
from edgekit.wire.frame import BadFrame, Frame, Head, Kind, Reason, unpack
from tests.wire.frames import KEY, PLACES, changed, frames, packed

FRAMES = 1_000_000
BATCH = 1000
LIMIT, MEMORY = 2000, 50_000
KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["crc", "tag"])
# values at which something changes, beside those that are drawn
EDGES = (0, 1, 2, 3, 255, LIMIT, LIMIT + 1, 65_535, 65_536, (1 << 31) - 1, (1 << 32) - 1)
MASKS = {name: (1 << {"B": 8, "H": 16, "I": 32}[form[-1]]) - 1 for name, (_, form) in PLACES.items()}


class Fuzz:
    """Batches of frames of which most are none, each made in another way from a seed."""

    def __init__(self, seed: int, key: bytes | None) -> None:
        self.random, self.key, self.round = np.random.default_rng(seed), key, 0
        self.before: list[bytes] = []

    def batches(self, count: int) -> Iterator[list[bytes]]:
        kinds = [
            self.noise,
            self.lookalikes,
            self.damaged,
            self.cut,
            self.lies,
            self.contradictions,
            self.sound,
        ]
        for number in range(count // BATCH):
            batch = kinds[number % len(kinds)]()
            yield batch[:BATCH]

    def valid(self, count: int, chunk: int = 40) -> list[bytes]:
        """Messages of 1 to 6 chunks, some of whose chunks are left out."""
        made: list[bytes] = []
        while len(made) < count:
            self.round += 1
            head = Head(self.drawn(Kind), sender=int(self.random.integers(8)), round=self.round)
            sent = packed(
                self.random.bytes(int(self.random.integers(1, 240))), head, chunk=chunk, key=self.key
            )
            made += [data for data in sent if self.random.random() < 0.9]
        return made

    def drawn(self, values):
        values = list(values)
        return values[self.random.integers(len(values))]

    def noise(self) -> list[bytes]:
        return [self.random.bytes(int(size)) for size in self.random.integers(0, 200, BATCH)]

    def lookalikes(self) -> list[bytes]:
        """The beginning of a frame, and noise."""
        start = b"EK\1\1\0\0" + bytes([self.key is not None])
        return [start + noise for noise in self.noise()]

    def damaged(self) -> list[bytes]:
        """One to eight flipped bits."""
        return [self.flipped(data) for data in self.valid(BATCH)]

    def flipped(self, data: bytes) -> bytes:
        new = bytearray(data)
        for bit in set(self.random.integers(0, 8 * len(data), self.random.integers(1, 9)).tolist()):
            new[bit // 8] ^= 1 << bit % 8
        return bytes(new)

    def cut(self) -> list[bytes]:
        """Too short or too long."""
        return [
            data[: self.random.integers(len(data))]
            if self.random.random() < 0.5
            else data + data[: index % 70 + 1]
            for index, data in enumerate(self.valid(BATCH))
        ]

    def lies(self) -> list[bytes]:
        """Fields that say something else, under a checksum or tag that is right."""
        return [self.lie(data) for data in self.valid(BATCH)]

    def lie(self, data: bytes) -> bytes:
        names = self.random.choice(list(PLACES), self.random.integers(1, 4), replace=False)
        return changed(data, self.key, **{str(name): self.value() & MASKS[str(name)] for name in names})

    def value(self) -> int:
        return int(self.drawn(EDGES) if self.random.random() < 0.5 else self.random.integers(1 << 32))

    def contradictions(self) -> list[bytes]:
        """Messages under one another's names: chunks of other lengths, totals and numbers, some above the limit."""
        made: list[bytes] = []
        while len(made) < BATCH:
            self.round += 1
            head = Head(Kind.DATA, round=self.round - int(self.random.integers(3)))
            size, chunk = int(self.random.integers(1, 2 * LIMIT)), int(self.random.integers(20, 400))
            made += packed(self.random.bytes(size), head, chunk=chunk, key=self.key)
        return [made[index] for index in self.random.permutation(len(made))]

    def sound(self) -> list[bytes]:
        """Frames as they should be, and those of the time before again."""
        made = self.valid(BATCH // 2)
        replayed, self.before = self.before, made
        return made + replayed + self.valid(BATCH // 2)


def read(data: bytes, key: bytes | None, reasons: Counter) -> Frame | None:
    try:
        return unpack(data, key)
    except BadFrame as bad:
        reasons[bad.reason] += 1
        return None


@KEYS
def test_any_bytes_are_read_or_refused(key):
    assembler, reasons, given = Assembler(LIMIT, MEMORY), Counter(), 0
    for batch in Fuzz(7, key).batches(FRAMES // 2):
        for data in batch:
            frame = read(data, key, reasons)
            if frame is not None and (whole := assembler.add(frame)) is not None:
                assert len(whole) == frame.total <= LIMIT
                given += 1
            assert assembler.held <= MEMORY
        assert assembler.held == sum(message.size for message in assembler._unfinished.values())
    assert set(Reason) - set(reasons) == ({Reason.UNTAGGED, Reason.TAG} if key is None else {Reason.TAGGED})
    assert set(assembler.counts) == {"duplicate", "too large", "contradictory", "evicted"}
    assert given > FRAMES / 200


@KEYS
def test_what_is_damaged_or_cut_is_never_read(key):
    fuzz, reasons = Fuzz(8, key), Counter()
    for data in fuzz.damaged() + fuzz.cut():
        assert read(data, key, reasons) is None


@KEYS
def test_memory_does_not_grow(key):
    assembler, fuzz, sizes = Assembler(LIMIT, MEMORY), Fuzz(9, key), []
    for number in range(RECENT):  # what it may remember, to begin with
        assembler.add(frames(b"", Head(Kind.WANT, round=number))[0])
    tracemalloc.start()
    try:
        for _ in range(3):
            for data in chain.from_iterable(fuzz.batches(14_000)):
                frame = read(data, key, Counter())
                if frame is not None:
                    assembler.add(frame)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) - sizes[0] < 4 * MEMORY  # of 1.8 MB that a third of the frames are
