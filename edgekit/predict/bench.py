"""Times in units of a reference kernel that takes turns with what is measured, so that they travel."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from edgekit.predict.isolate import ONE, empty, feeds_of, isolated, named_inputs
from edgekit.predict.kernel import Kernel, Tensor
from edgekit.profile import clock as clocks
from edgekit.profile.interleave import Call, interleave
from edgekit.profile.latency import caller

ROUNDS: Final = 4
SHORT, LONG = 0.04, 0.15  # seconds of a measurement
CACHED: Final = (
    2**20
)  # bytes; more constants than these take many runs until they lie in the last cache again
MOST_COPIES: Final = 256
MOST_BYTES: Final = 32 * 2**20
REFERENCE: Final = Kernel(
    "Conv",
    "",
    21,
    (("kernel_shape", (3, 3)), ("pads", (1, 1, 1, 1))),
    (
        Tensor("float32", (1, 64, 16, 16)),
        Tensor("float32", (64, 64, 3, 3), True),
        Tensor("float32", (64,), True),
    ),
    (Tensor("float32", (1, 64, 16, 16)),),
)


@dataclass(frozen=True)
class Sample:
    """A kernel measured: the time of one of `copies`, which have `footprint` bytes of constants, in reference units."""

    kernel: Kernel
    copies: int
    footprint: int
    time: float


class Bench:
    """Measures files and kernels of one target against the reference convolution (64 channels, 3x3, 16x16).

    Use `open_bench`. With one thread the clock is that thread's own processor time, which is the latency on a core
    that does nothing else, so that other processes spoil little; with several it is the wall's.
    """

    def __init__(self, target: Any, folder: Path, threads: int) -> None:
        self.target, self.folder, self.threads = target, folder, threads
        self._clock: clocks.Clock = time.thread_time_ns if threads == 1 else clocks.now
        self.reference = self._call(isolated(REFERENCE, 1), named_inputs(REFERENCE))
        self._units: list[float] = []
        self.idle = self.time(self._call(empty(), {"x": ONE}), seconds=0.3)

    @property
    def unit(self) -> float:
        """Seconds of the reference, the median of all times that it took its turns."""
        return float(np.median(self._units))

    def file(self, path: Path, feeds: Mapping[str, np.ndarray], *, seconds: float = 0.3) -> float:
        """A run of an ONNX file, in reference units."""
        return self.time(caller(self.target.runner(path, threads=self.threads), feeds), seconds=seconds)

    def kernel(self, kernel: Kernel, *, length: float, seed: int = 0) -> Sample:
        """One kernel in a chain that takes about `length` seconds, at most 256 copies and 32 MiB of constants."""
        inputs = named_inputs(kernel)
        once = self._call(isolated(kernel, 1, seed=seed), inputs)
        alone = min(clocks.timed(once, clock=self._clock) for _ in range(3)) / 1e9
        most = min(MOST_COPIES, MOST_BYTES // max(kernel.weight_bytes, 1), length / alone)
        copies = max(1, int(most))
        call = self._call(isolated(kernel, copies, seed=seed), inputs) if copies > 1 else once
        return self._sample(kernel, copies, call)

    def again(self, sample: Sample) -> Sample:
        """The same measurement once more; the lesser of both, since what disturbs a run makes it longer."""
        call = self._call(isolated(sample.kernel, sample.copies), named_inputs(sample.kernel))
        return min(sample, self._sample(sample.kernel, sample.copies, call), key=lambda one: one.time)

    def time(self, call: Call, *, seconds: float) -> float:
        """A call in reference units: the least of its rounds over that of the reference's."""
        timings = interleave(
            {"call": call, "reference": self.reference},
            rounds=ROUNDS,
            seconds=seconds,
            warmup=0.0,
            share=5.0,
            clock=self._clock,
        )
        unit = float(timings["reference"].rounds.min())
        self._units.append(unit / 1e9)
        return float(timings["call"].rounds.min()) / unit

    def _sample(self, kernel: Kernel, copies: int, call: Call) -> Sample:
        footprint = copies * kernel.weight_bytes
        each = (self.time(call, seconds=SHORT if footprint < CACHED else LONG) - self.idle) / copies
        return Sample(kernel, copies, footprint, max(each, 1e-6))

    def _call(self, model: onnx.ModelProto, inputs: Mapping[str, Tensor]) -> Call:
        path = self.folder / "kernel.onnx"
        onnx.save(model, path)
        runner = self.target.runner(path, threads=self.threads, optimization="none")
        return caller(runner, feeds_of(inputs))


@contextmanager
def open_bench(target: Any, *, threads: int = 1) -> Iterator[Bench]:
    """A bench on pinned cores, its files in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder, clocks.pinned(threads):
        yield Bench(target, Path(folder), threads)
