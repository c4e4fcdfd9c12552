"""Running a QONNX file on the CPU, with the numbers that the FPGA is built to give; needs neither torch nor qonnx.

Quantizers become standard operators, which onnxruntime runs one by one: its optimizer would fuse BatchNorm into
the convolution before it, and move values that lie at a threshold to the other side of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from edgekit.errors import BadInput
from edgekit.signature import Signature, TensorSpec
from targets.cpu.nodes import read
from targets.cpu.runtime import OrtRunner
from targets.fpga.standard_ops import to_standard

BATCH = "N"


class QonnxRunner(OrtRunner):
    """A QONNX file, run sample by sample where the file is made for one; `load_seconds` is how long loading took.

    BadInput where the file is broken, or past QONNX (FINN's own dialect).
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.file = Path(path)
        self._made = tempfile.TemporaryDirectory(prefix="edgekit-qonnx-")
        standard = Path(self._made.name) / self.file.name
        onnx.save(to_standard(read(self.file)), standard)
        try:
            super().__init__(standard, threads=threads, optimization="none")
        except BadInput as error:
            raise BadInput(str(error).replace(str(standard), str(self.file))) from error
        declared = super().signature
        self._single = {spec.name for spec in declared.inputs if spec.shape[:1] == (1,)}
        free = lambda specs: tuple(_freed(spec) if self._single else spec for spec in specs)  # noqa: E731
        self._signature = Signature(free(declared.inputs), free(declared.outputs))

    @property
    def signature(self) -> Signature:
        """The inputs and outputs, the batch free."""
        return self._signature

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for any number of samples; BadInput naming the input that does not fit."""
        self.signature.check(feeds)
        sizes = {len(value) for name, value in feeds.items() if name in self._single}
        if sizes in (set(), {1}):
            return super().run(feeds)
        if len(sizes) > 1:
            raise BadInput(
                f"{self.file}: the inputs hold {sorted(sizes)} samples. Give equally many of each."
            )
        samples = [
            super(QonnxRunner, self).run({name: value[index : index + 1] for name, value in feeds.items()})
            for index in range(sizes.pop())
        ]
        return {name: np.concatenate([sample[name] for sample in samples]) for name in self._outputs}


def _freed(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(
        spec.name, spec.dtype, (BATCH, *spec.shape[1:]) if spec.shape[:1] == (1,) else spec.shape
    )
