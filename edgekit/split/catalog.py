"""A number for everything that agents of a split network may send, the same at all of them."""

from __future__ import annotations

from edgekit.errors import BadInput
from edgekit.split.build import Split
from edgekit.split.message import Key
from edgekit.split.placement import transfers

MOST = 1 << 15  # a frame has 16 bits, one of which says that it is of a test
PIECES = 1 << 8


class Catalog:
    """Numbers of keys, without their micro-batch, which travels beside them."""

    def __init__(self, split: Split) -> None:
        self._numbers = {key: number for number, key in enumerate(_keys(split))}
        if len(self._numbers) >= MOST:
            raise BadInput(
                f"split: {len(self._numbers):,} values cross, at most {MOST:,} can. Use fewer clients."
            )

    def number(self, key: Key) -> tuple[int, int]:
        """(stream, micro-batch) of a key; KeyError for what the placement does not send."""
        found = self._numbers[key._replace(micro=0, test=False)]
        if key.micro >= PIECES:
            raise BadInput(f"micro_batches: {key.micro + 1} are too many for a frame. Give at most {PIECES}.")
        return 2 * found + key.test, key.micro


def _keys(split: Split) -> list[Key]:
    found: dict[Key, None] = {}
    for chain in range(len(split.clients)):
        for row in transfers(split.network, split.segments, split.placed(chain)):
            consumer = row.consumer if row.what == "gradient" else -1
            found[Key(row.what, row.name, 0, consumer, chain)] = None
        for name in ("turn", "mine", "mean"):
            found[Key("weights", name, 0, -1, chain)] = None
        found[Key("done", "done", 0, -1, chain)] = None
    return list(found)
