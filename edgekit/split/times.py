"""Seconds of every operation of a network on one device, kept in a file to plan with elsewhere."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, did_you_mean
from edgekit.split.network import Network

MOST_BYTES = 16_000_000
KEYS = ("network", "batch", "device", "seconds")


@dataclass(frozen=True)
class Times:
    """seconds: of each operation in the network's order, for a batch of so many samples; device: what measured them.

    network: `signature` of what was measured.
    """

    network: str
    batch: int
    device: str
    seconds: tuple[float, ...]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def fit(self, network: Network, batch: int, where: str) -> tuple[float, ...]:
        """The seconds, where they are of this network and batch; BadInput where they are not."""
        if self.network != signature(network):
            raise BadInput(
                f"{where}: it was measured with another network or input shape. Measure this one there."
            )
        if self.batch != batch:
            raise BadInput(
                f"{where}: it was measured with batch {self.batch}, not {batch}. Give --batch {self.batch}."
            )
        return self.seconds


def signature(network: Network) -> str:
    """What networks whose operations cost the same share: operations, and shapes of activations and of parameters."""
    parts: list[object] = [(node.op, node.name) for node in network.order]
    parts += [(name, value.shape, str(value.dtype)) for name, value in network.values.items()]
    parts += [(name, tuple(value.shape)) for name, value in network.model.state_dict().items()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def read_times(path: Path) -> Times:
    """The times of a file; BadInput where it holds none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path}: it is too large for times of a network. {_MAKE}")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: it cannot be read ({error.strerror}). {_MAKE}") from error
    except ValueError as error:
        raise BadInput(f"{path}: it is no JSON ({error}). {_MAKE}") from error
    if not isinstance(values, dict) or set(values) != set(KEYS):
        strange = [name for name in values if name not in KEYS] if isinstance(values, dict) else []
        hint = f" '{strange[0]}' is unknown. {did_you_mean(str(strange[0]), KEYS)}" if strange else ""
        raise BadInput(f"{path}: times have {', '.join(KEYS)}.{hint} {_MAKE}")
    return Times(
        str(values["network"]),
        _count(values["batch"], path),
        str(values["device"]),
        _seconds(values["seconds"], path),
    )


_MAKE = "Make it with: edgekit split plan MODEL --times-out FILE, on the device."


def _count(value: Any, path: Path) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInput(f"{path}: batch is {value!r}, not 1 or more. {_MAKE}")
    return value


def _seconds(values: Any, path: Path) -> tuple[float, ...]:
    numbers: list[Any] = values if isinstance(values, list) else [values]
    for value in numbers:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise BadInput(f"{path}: seconds has {value!r}, not a number of 0 or more. {_MAKE}")
    return tuple(float(value) for value in numbers)
