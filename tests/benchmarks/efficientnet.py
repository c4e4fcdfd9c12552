"""EfficientNet-Lite0, int8 after training, against onnxruntime's own settings on the labelled ImageNet sample.

Run by hand: python tests/benchmarks/efficientnet.py [--draws 5]

Prints, per calibration draw of 100 images (the other 400 are the test set): top-1 of fp32 and int8, agreement with
fp32 of edgekit's file and of onnxruntime's best setting, and the interleaved speed-ups, 1 thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgekit.choose import time_files
from edgekit.export.to_onnx import to_onnx
from edgekit.job import Data, Job
from edgekit.profile import ratio
from edgekit.profile.statistics import mean_interval
from edgekit.signature import Signature, TensorSpec
from edgekit.target import find_board, find_target
from edgekit.transforms.quantize import Quantize
from tests.imagenet_sample import imagenet_sample, lite_input


class Reader:
    """Calibration images one by one, as onnxruntime's quantizer wants them."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None."""
        image = next(self.images, None)
        return None if image is None else {"input": image[None]}


def onnxruntime_best(source: Path, images: np.ndarray, path: Path) -> None:
    """onnxruntime's static quantization with its best setting here: uint8 activations, int8 weights per channel."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".pre.onnx")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(path),
        Reader(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def logits(target, path: Path, images: np.ndarray) -> np.ndarray:
    """Outputs of a file over all images."""
    runner = target.runner(path, threads=2)
    return np.concatenate(
        [next(iter(runner.run({"input": images[i : i + 1]}).values())) for i in range(len(images))]
    )


def main() -> None:
    """Run every draw and print a line each, then the summary."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--draws", type=int, default=5)
    options.add_argument("--calibration", default="mse")
    options.add_argument("--weights", default="minmax")
    chosen = options.parse_args()
    import torch

    from edgekit.zoo.efficientnet import efficientnet_lite0

    images, labels = imagenet_sample()
    images = lite_input(images)
    model = efficientnet_lite0(pretrained=True).eval()
    board, target = find_board("this-machine"), find_target("cpu")
    folder = Path(tempfile.mkdtemp(prefix="edgekit-bench-"))
    graph = to_onnx(model, {"input": torch.as_tensor(images[:1])})
    fp32 = target.export(graph, None, board, folder / "fp32.onnx").path
    reference = logits(target, fp32, images)
    rows, drops = [], []
    for draw in range(chosen.draws):
        order = np.random.default_rng(draw).permutation(len(images))
        calibration, test = order[:100], order[100:]
        job = Job(
            signature=Signature((TensorSpec("input", "float32", ("N", 3, 224, 224)),), ()),
            example={},
            data=Data(calibration=[images[i : i + 1] for i in calibration]),
            loss=None,
            fit=None,  # type: ignore
            caps=target.caps(board),
            step="bench",
        )
        step = Quantize(calibration=chosen.calibration, weight_scales=chosen.weights)
        quantization, _ = step.describe(graph, job)
        ours = target.export(graph, quantization, board, folder / f"ours{draw}.onnx").path
        best = folder / f"ort{draw}.onnx"
        onnxruntime_best(fp32, images[calibration], best)
        mine, theirs = (logits(target, path, images[test]) for path in (ours, best))
        correct = {
            "fp32": reference[test].argmax(1) == labels[test],
            "ours": mine.argmax(1) == labels[test],
            "ort": theirs.argmax(1) == labels[test],
        }
        row = {
            "draw": draw,
            **{f"top1_{k}": float(v.mean()) for k, v in correct.items()},
            "agree_ours": float((mine.argmax(1) == reference[test].argmax(1)).mean()),
            "agree_ort": float((theirs.argmax(1) == reference[test].argmax(1)).mean()),
        }
        rows.append(row)
        drops.append(row["top1_fp32"] - row["top1_ours"])
        print(json.dumps(row), flush=True)
        audit = target.audit(ours)
        print(
            f"  audit: {audit.integer_compute_nodes} integer, {audit.float_compute_nodes} float, "
            f"{audit.stray_qdq} stray"
        )
    timings = time_files({"fp32": fp32, "ours": ours, "ort": best}, target, {"input": images[:1]}, rounds=20)
    interval = mean_interval(drops) if len(drops) > 1 else None
    print(
        f"speed-up over fp32: ours {ratio(timings['fp32'], timings['ours'])}, onnxruntime's best "
        f"{ratio(timings['fp32'], timings['ort'])}"
    )
    print(
        f"mean drop over draws (points): {100 * np.mean(drops):.2f}"
        + (f" [{100 * interval.low:.2f}, {100 * interval.high:.2f}]" if interval else "")
    )
    print(
        f"mean agreement: ours {np.mean([r['agree_ours'] for r in rows]):.4f}, onnxruntime "
        f"{np.mean([r['agree_ort'] for r in rows]):.4f}; machine {platform.processor() or board.title}"
    )


if __name__ == "__main__":
    main()
