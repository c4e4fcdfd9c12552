"""A verification: what the network computes after one of FINN's conversions, beside what was expected."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {"finn_onnx_python": "conversion", "streamlined_python": "streamlining"}
ROUNDING = 1e-5  # of the largest output: what float32 sums in another order may differ by
FLIPS = 0.1  # rms of the differences over rms of the outputs: what single quantizer steps may add up to


@dataclass(frozen=True)
class Check:
    """How many samples came out equal but for float rounding, and how far the others are off.

    A value that lies on the border of two quantizer steps may round either way, and the step it flips is then
    seen in the outputs: `exact` < `samples` is no fault where `rms` (of the differences, relative to that of
    the outputs about their mean) stays small.
    """

    after: str
    samples: int
    exact: int
    same_class: int
    largest: float
    rms: float

    @property
    def passed(self) -> bool:
        """Whether the network is the same: most samples are exact, or all are close."""
        return 2 * self.exact > self.samples or (self.rms <= FLIPS and self.same_class == self.samples)

    def told(self) -> str:
        """In one line without a full stop."""
        verdict = "computes the same" if self.passed else "computes something else than the trained one"
        return (
            f"after {self.after} the network {verdict}: {self.exact} of {self.samples} samples are exact, "
            f"{self.same_class} have the same class, the largest difference is {self.largest:.3g}"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self) | {"passed": self.passed}


def checks_in(output: Path, build: Path) -> tuple[Check, ...]:
    """The verifications that FINN left in an output folder, in the order of its steps."""
    expected = np.load(build / "expected_output.npy")
    found = []
    for step, after in NAMES.items():
        files = {
            _sample(path): path for path in (output / "verification_output").glob(f"verify_{step}_*.npy")
        }
        if files:
            got = np.stack([np.load(files[sample]).reshape(-1) for sample in sorted(files)])
            found.append(compare(after, got, expected.reshape(len(expected), -1)))
    return tuple(found)


def compare(after: str, got: np.ndarray, expected: np.ndarray) -> Check:
    """The check of outputs [N, K] against expected outputs [N, K]."""
    differences = np.abs(got - expected)
    rounding = ROUNDING * float(np.abs(expected).max())
    exact = differences.max(axis=1) <= rounding
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    spread = float(np.sqrt(np.mean((expected - expected.mean()) ** 2)))
    return Check(
        after,
        samples=len(expected),
        exact=int(exact.sum()),
        same_class=int((chosen >= expected.max(axis=1) - rounding).sum()),  # of two equal outputs, either
        largest=float(differences.max()),
        rms=float(np.sqrt(np.mean(differences**2)) / max(spread, 1e-30)),
    )


def _sample(path: Path) -> int:
    found = re.search(r"_(\d+)_(?:SUCCESS|FAIL)\.npy$", path.name)
    return int(found.group(1)) if found else -1
