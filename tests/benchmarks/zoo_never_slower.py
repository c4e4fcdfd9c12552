"""Every network of the zoo under objective latency: the file that edgekit chooses is never slower than fp32.

Run by hand: python tests/benchmarks/zoo_never_slower.py [--models ds_cnn mlp] [--threads 1]

Random weights with settled BatchNorm, random calibration. The choice is made by `edgekit.choose.Measurer`;
then the chosen file is timed against fp32 once more, in an interleaved measurement that the choice has not
seen. Exit 1 where its speed-up has a 95 % lower bound below 0.98. Where fp32 itself was chosen both files
are the same bytes: the ratio is 1, "no gain", and the measured one shows what the measurement can resolve.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, as_pair, calibrated, decided, parser, random_batches, settle, to_graph

from edgekit.choose import FLOOR, Measurer, time_files
from edgekit.profile import ratio
from edgekit.registry import models
from edgekit.target import find_board, find_target
from edgekit.zoo import ENTRIES, input_shape

COLUMNS = ("chosen", "float_layers", "int8", "final", "fp32_us")


def measure(name: str, cases: Cases, *, threads: int, smoke: bool) -> None:
    """Choose for one model, then time the chosen file against fp32 anew."""
    import torch

    torch.manual_seed(cases.seed)
    shape, board, target = input_shape(name), find_board("this-machine"), find_target("cpu")
    graph = to_graph(settle(models.get(name)(), shape, seed=cases.seed), shape)
    batches = random_batches(shape, seed=cases.seed, count=4, batch=4)
    quantization, feeds = calibrated(graph, batches), {"input": batches[0][:1]}
    decision = Measurer(graph, quantization, board, target, feeds, threads).choose()
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as folder:
        fp32 = target.export(graph, None, board, Path(folder) / "fp32.onnx").path
        final = target.export(
            graph, decided(graph, quantization, decision), board, Path(folder) / "final.onnx"
        ).path
        timings = time_files({"fp32": fp32, "final": final}, target, feeds, threads=threads)
        same = fp32.read_bytes() == final.read_bytes()
    speed = ratio(timings["fp32"], timings["final"])
    whole = decision["measured"]["int8"]
    cases.add(
        name,
        met=None if smoke else same or speed.low >= FLOOR,
        asked=f"lower bound >= {FLOOR}",
        chosen=decision["precision"] + (", mixed" if decision["float_layers"] else ""),
        float_layers=", ".join(decision["float_layers"]) or "-",
        int8={"value": whole["ratio"], "ci95": whole["ci95"]},
        final=as_pair(speed),
        same_bytes_as_fp32=same,
        fp32_us=round(timings["fp32"].typical / 1e3, 1),
        threads=threads,
        measured=decision["measured"],
    )


def main() -> int:
    """Run the models; 1 where a chosen file is slower than fp32."""
    options = parser(__doc__, smoke="ds_cnn and mlp")
    options.add_argument("--models", nargs="+", choices=list(ENTRIES))
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    cases = Cases("zoo_never_slower", chosen.seed)
    for name in chosen.models or (["ds_cnn", "mlp"] if chosen.smoke else list(ENTRIES)):
        measure(name, cases, threads=chosen.threads, smoke=chosen.smoke)
    return cases.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
