"""What was sent lately, for neighbours that ask for it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from time import monotonic

Place = tuple[int, int, int]  # epoch, round, phase
Frames = list[bytes]
BYTES = 256 << 20


class Store:
    """The frames of the last `places` phases, at most `limit` bytes, but always those of the newest phase."""

    def __init__(self, places: int, limit: int = BYTES) -> None:
        self.places, self.limit, self.held = places, limit, 0
        self._served: dict[Place, dict[str, float]] = {}  # until when each receiver is not served again
        self._kept: OrderedDict[Place, dict[str | None, Frames]] = OrderedDict()

    def keep(self, place: Place, receiver: str | None, frames: Frames) -> None:
        """Keep what was sent to one receiver, or to all (None)."""
        kept = self._kept.setdefault(place, {})
        self.held += _size(frames) - (_size(kept[receiver]) if receiver in kept else 0)
        kept[receiver] = frames
        while len(self._kept) > 1 and (len(self._kept) > self.places or self.held > self.limit):
            _, old = self._kept.popitem(last=False)
            self.held -= sum(map(_size, old.values()))

    def of(self, place: Place) -> dict[str | None, Frames]:
        """All that a phase sent, by receiver."""
        return self._kept.get(place, {})

    def again(self, place: Place, receiver: str, chunks: list[int], pause: float) -> Frames:
        """As `take`, for who asks; none within `pause` seconds of the last time, as those are still on their way."""
        now, served = monotonic(), self._served.setdefault(place, {})
        if place not in self._kept or now < served.get(receiver, 0.0):
            self._served = {known: times for known, times in self._served.items() if known in self._kept}
            return []
        served[receiver] = now + pause
        return self.take(place, receiver, chunks)

    def take(self, place: Place, receiver: str, chunks: list[int]) -> Frames:
        """The frames for a receiver, those of some chunks or (none named) all; empty where they are gone."""
        kept = self._kept.get(place, {})
        frames = kept.get(receiver) or kept.get(None) or []
        if not chunks:
            return frames
        return [frames[chunk] for chunk in chunks if chunk < len(frames)]


def _size(frames: Collection[bytes]) -> int:
    return sum(map(len, frames))
