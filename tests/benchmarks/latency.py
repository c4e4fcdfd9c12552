"""Int8 after training against fp32: ResNet-18 at 224x224 and MobileNetV1-1.0 at 96x96, 1 thread.

Run by hand: python tests/benchmarks/latency.py [--models resnet18 mobilenet_v1]

Weights and inputs are random (latency does not depend on them), BatchNorm statistics are settled first. All
files of a case take turns on the clock: fp32, edgekit's int8, the file that objective latency chooses (layers
that int8 slows down kept in float), and onnxruntime's static quantizer with its defaults (int8 activations and
weights) and with uint8 activations and int8 weights per channel.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, calibrated, decided, parser, random_batches, settle, to_graph

from edgekit.choose import Measurer, time_files
from edgekit.profile import ratio
from edgekit.registry import models
from edgekit.target import find_board, find_target


@dataclass(frozen=True)
class Case:
    """A model with its options, one sample's shape, the speed-up asked, and of which file."""

    model: str
    options: dict[str, Any]
    shape: tuple[int, ...]
    asked: float
    file: str  # "int8": every convolution in integers; "chosen": by measurement

    @property
    def wish(self) -> str:
        """What is asked in words."""
        return f"{self.file} >= {self.asked}x" + (", all convolutions integer" if self.file == "int8" else "")


CASES = (
    Case("resnet18", {}, (3, 224, 224), 3.4, "int8"),
    Case("mobilenet_v1", {"width": 1.0, "num_classes": 1000}, (3, 96, 96), 3.0, "chosen"),
)
SMOKE = Case("mobilenet_v1", {"width": 0.25}, (3, 32, 32), 0.0, "chosen")


class Reader:
    """Calibration batches as onnxruntime's quantizer wants them."""

    def __init__(self, batches: list[np.ndarray]) -> None:
        self.samples: Iterator[np.ndarray] = (sample[None] for batch in batches for sample in batch)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        sample = next(self.samples, None)
        return None if sample is None else {"input": sample}


def by_onnxruntime(fp32: Path, batches: list[np.ndarray], folder: Path) -> dict[str, Path]:
    """onnxruntime's own quantizer after its own preprocessing, by setting."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logging.getLogger().setLevel(logging.ERROR)
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(fp32), str(prepared))
    settings: dict[str, dict[str, Any]] = {
        "ort_s8s8": {},
        "ort_u8s8": {
            "activation_type": QuantType.QUInt8,
            "weight_type": QuantType.QInt8,
            "per_channel": True,
        },
    }
    for name, setting in settings.items():
        quantize_static(str(prepared), str(folder / f"{name}.onnx"), Reader(batches), **setting)
    return {name: folder / f"{name}.onnx" for name in settings}


def convolutions(graph: Any, placement: dict[str, str]) -> dict[str, int]:
    """How many convolutions the graph has, and how many of them run in integers."""
    names = [node.name for node in graph.graph.node if node.op_type == "Conv"]
    return {"convolutions": len(names), "integer": sum(placement.get(name) == "integer" for name in names)}


def measure(case: Case, cases: Cases, *, calibration: int, rounds: int, smoke: bool) -> None:
    """Export, audit and time every file of one case."""
    import torch

    torch.manual_seed(cases.seed)
    model = settle(models.get(case.model)(**case.options), case.shape, seed=cases.seed)
    batches = random_batches(case.shape, seed=cases.seed, count=max(1, calibration // 4), batch=4)
    graph, board, target = to_graph(model, case.shape), find_board("this-machine"), find_target("cpu")
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as name:
        folder = Path(name)
        quantization, feeds = calibrated(graph, batches), {"input": batches[0][:1]}
        decision = Measurer(graph, quantization, board, target, feeds).choose()
        wanted = {"fp32": None, "int8": quantization, "chosen": decided(graph, quantization, decision)}
        files = {
            key: target.export(graph, q, board, folder / f"{key}.onnx").path for key, q in wanted.items()
        }
        files |= by_onnxruntime(files["fp32"], batches, folder)
        audits = {key: target.audit(files[key]) for key in ("int8", "ort_s8s8", "ort_u8s8")}
        timings = time_files(files, target, feeds, rounds=rounds)
    speed = {key: ratio(timings["fp32"], timings[key]) for key in files if key != "fp32"}
    counts = convolutions(graph, audits["int8"].placement)
    whole = case.file != "int8" or counts["integer"] == counts["convolutions"]
    cases.add(
        f"{case.model} {case.shape[1]}x{case.shape[2]}",
        met=None if smoke else bool(speed[case.file].value >= case.asked and whole),
        asked=case.wish,
        options=case.options,
        calibration_inputs=4 * len(batches),
        milliseconds={key: round(timing.typical / 1e6, 3) for key, timing in timings.items()},
        **{key: as_pair(value) for key, value in speed.items()},
        integer_convolutions=f"{counts['integer']} of {counts['convolutions']}",
        kept_in_float=decision["float_layers"],
        audit={
            key: {
                "integer": audit.integer_compute_nodes,
                "float": audit.float_compute_nodes,
                "stray_qdq": audit.stray_qdq,
            }
            for key, audit in audits.items()
        },
    )


def main() -> int:
    """Run the cases; 1 where one misses what is asked."""
    options = parser(__doc__, smoke="MobileNetV1-0.25 at 32x32")
    options.add_argument(
        "--models", nargs="+", default=[case.model for case in CASES], choices=[case.model for case in CASES]
    )
    options.add_argument("--calibration", type=int, default=32, help="random calibration inputs")
    options.add_argument("--rounds", type=int, default=30)
    chosen = options.parse_args()
    cases = Cases("latency", chosen.seed)
    if chosen.smoke:
        measure(SMOKE, cases, calibration=4, rounds=5, smoke=True)
    else:
        for case in CASES:
            if case.model in chosen.models:
                measure(case, cases, calibration=chosen.calibration, rounds=chosen.rounds, smoke=False)
    return cases.finish(["int8", "chosen", "ort_s8s8", "ort_u8s8", "integer_convolutions"])


if __name__ == "__main__":
    sys.exit(main())
