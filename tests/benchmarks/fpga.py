"""Networks at few bits: accuracy beside what was published, and FINN's estimate of what they cost.

Run by hand: python tests/benchmarks/fpga.py [--cases published trained estimated] [--root FOLDER] [--zoo FOLDER]

published: QONNX models of the TFC network by their authors, run by edgekit's runner on the whole MNIST test set.
trained: TFC at 1W1A, 1W2A and 2W2A, trained here on the first 10,000 images of MNIST, shifted and turned a little at
random, exported as QONNX and tested as that file on the whole test set. Asked: within 1 point of 93.17, 94.79, 96.60 %
(brevitas' own, trained on all 60,000). estimated: TFC, SFC, a narrow CNV and a residual network, untrained, through
FINN's eleven steps with both verifications, fed with integers (needs edgekit doctor --install fpga).
"""

from __future__ import annotations

import copy
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from common import Cases, parser
from torch.nn import functional

from edgekit.data.idx import read_idx
from edgekit.errors import EdgekitError
from edgekit.export.file import write
from edgekit.quant.brevitas_layers import calibrate, swap
from edgekit.registry import models
from edgekit.target import find_board
from targets.fpga.finn.build import Device, write_build
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.estimate import estimate
from targets.fpga.finn.integer_input import integer_input
from targets.fpga.finn.report import read_report
from targets.fpga.qonnx_file import to_qonnx
from targets.fpga.runtime import QonnxRunner
from tests.paths import SHARED

PUBLISHED = {(1, 1): 93.17, (1, 2): 94.79, (2, 2): 96.60}
WITHIN = 1.0
NETS: dict[str, tuple[str, dict[str, Any], tuple[int, ...], float]] = {
    "TFC": ("tfc", {}, (1, 28, 28), 100_000),
    "SFC": ("sfc", {}, (1, 28, 28), 10_000),
    "CNV, width 16": ("cnv", {"width": 16}, (3, 32, 32), 1000),
}
BITS = ((1, 1), (1, 2), (2, 2), (4, 4), (8, 8))


def images(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 1, 28, 28] from 0 to 1, and classes."""
    pixels = read_idx(root / f"{name}-images-idx3-ubyte.gz")
    return pixels[:, None].astype(np.float32) / 255, read_idx(root / f"{name}-labels-idx1-ubyte.gz").astype(
        np.int64
    )


def accuracy(path: Path, data: tuple[np.ndarray, np.ndarray]) -> float:
    """Percent of a test set that a QONNX file classifies rightly; one output may be the class itself."""
    x, y = data
    runner = QonnxRunner(path, threads=2)
    (given,) = runner.signature.inputs
    found = next(iter(runner.run({given.name: x}).values())).reshape(len(x), -1)
    classes = found[:, 0] if found.shape[1] == 1 else found.argmax(1)
    return 100 * float((classes == y).mean())


def moved(x: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """Each image turned by up to 12 degrees and shifted by up to 2 pixels."""
    turn = (torch.rand(len(x), generator=chance) * 2 - 1) * math.pi / 15
    shift = (torch.rand(len(x), 2, generator=chance) * 2 - 1) * 2 / 14
    rows = [
        torch.stack([turn.cos(), -turn.sin(), shift[:, 0]], 1),
        torch.stack([turn.sin(), turn.cos(), shift[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def train(net: torch.nn.Module, data: tuple[np.ndarray, np.ndarray], epochs: int, seed: int) -> None:
    """Adam with a learning rate that falls as a cosine, on pixels from -1 to 1; the squared hinge, as FINN's are."""
    x, y = torch.from_numpy(data[0]), torch.from_numpy(data[1])
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    signs = torch.full((10, 10), -1.0).fill_diagonal_(1.0)
    net.train()
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=chance).split(100):
            loss = (1 - signs[y[part]] * net(2 * moved(x[part], chance) - 1)).clamp(min=0).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    net.eval()


def published(options: Any, cases: Cases, folder: Path) -> None:
    """The authors' files."""
    test = images(options.root, "t10k")
    for name, bits in (("TFC_1W1A", (1, 1)), ("TFC_2W2A", (2, 2))):
        found = accuracy(options.zoo / f"{name}.onnx", test)
        cases.add(
            f"published {name}",
            met=None if options.smoke else abs(found - PUBLISHED[bits]) < 0.3,
            asked=f"{PUBLISHED[bits]} % within 0.3",
            accuracy=round(found, 2),
        )


def trained(options: Any, cases: Cases, folder: Path) -> None:
    """Our own training."""
    learn, test = images(options.root, "train10k"), images(options.root, "t10k")
    if options.smoke:
        learn, test = (learn[0][:500], learn[1][:500]), (test[0][:200], test[1][:200])
    for (weights, activations), asked in PUBLISHED.items():
        if f"{weights}W{activations}A" not in options.widths:
            continue
        began = time.perf_counter()
        torch.manual_seed(options.seed)
        plan = {"weights": weights, "activations": activations, "input": activations}
        example = {"x": torch.zeros(1, 1, 28, 28)}
        net = swap(models.get("tfc")(), example, plan)
        calibrate(net, [2 * learn[0][:256] - 1])
        train(net, learn, options.epochs, options.seed)
        path = folder / f"tfc-{weights}w{activations}a.onnx"
        write(to_qonnx(net, example), path)
        found = accuracy(path, (2 * test[0] - 1, test[1]))
        cases.add(
            f"trained TFC {weights}W{activations}A",
            met=None if options.smoke else found >= asked - WITHIN,
            asked=f">= {asked - WITHIN:.2f} % (published {asked}, of 60,000 images)",
            accuracy=round(found, 2),
            gap=round(found - asked, 2),
            epochs=options.epochs,
            images=len(learn[0]),
            seconds=round(time.perf_counter() - began, 1),
        )


def estimated(options: Any, cases: Cases, folder: Path) -> None:
    """What FINN says of each network at each width."""
    if FINN.find() is None:
        print(f"estimated: {FINN.probe()}. Run: {FINN.command}", file=sys.stderr)
        return
    nets = {"TFC": NETS["TFC"]} if options.smoke else NETS
    wanted = [(name, bits) for name in nets for bits in (BITS[2:3] if options.smoke else BITS)]
    for name, bits in wanted:
        one_estimate(cases, folder, name, NETS[name], bits, smoke=options.smoke)
    if not options.smoke:
        residual = ("resnet8", {"width": 16}, (3, 32, 32), 500)
        one_estimate(cases, folder, "ResNet-8, width 16", residual, (4, 4), smoke=False)


def one_estimate(
    cases: Cases,
    folder: Path,
    name: str,
    net: tuple[str, dict[str, Any], tuple[int, ...], float],
    bits: tuple[int, int],
    *,
    smoke: bool,
) -> None:
    """A network through all steps, verified on samples of its own."""
    zoo, settings, shape, fps = net
    torch.manual_seed(0)
    example = {"x": torch.zeros(1, *shape)}
    low = swap(
        settled(models.get(zoo)(**settings), shape), example, {"weights": bits[0], "activations": bits[1]}
    )
    samples = np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype(np.float32)
    calibrate(low, [samples])
    model = to_qonnx(low.eval(), example)
    given, board = integer_input(model), find_board("pynq-z1")
    place = folder / f"{zoo}-{bits[0]}{bits[1]}"
    place.mkdir()
    write(model, place / "whole.onnx")
    write(given.model, place / "integers.onnx")
    expected = next(iter(QonnxRunner(place / "whole.onnx").run({"x": samples}).values()))
    began, failed, checks = time.perf_counter(), "", ()
    options = {"target_fps": fps, "inputs": given.quantize(samples), "expected": expected}
    figures: dict[str, Any] = {}
    try:
        build = write_build(place, place / "integers.onnx", Device.of(board), **options)  # type: ignore[arg-type]
        checks = estimate(build).checks
        report = read_report(build, board)
        figures = {key: report.resources[key].estimated for key in ("lut", "bram18", "dsp")}
        figures |= {"fps": round(report.fps.estimated or 0), "slowest": report.bottleneck.source}
    except EdgekitError as error:
        failed = str(error)
    cases.add(
        f"{name} W{bits[0]}A{bits[1]}",
        met=None if smoke else not failed and len(checks) == 2,
        asked=f"eleven steps, two verifications, {fps:,.0f} frames a second",
        **figures,
        exact=[f"{check.exact} of {check.samples} after {check.after}" for check in checks],
        failed=failed or None,
        seconds=round(time.perf_counter() - began, 1),
    )


def settled(net: torch.nn.Module, shape: tuple[int, ...]) -> torch.nn.Module:
    """Statistics of BatchNorm from noise, so that thresholds lie where values are."""
    net = copy.deepcopy(net).train()
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(20):
            net(torch.rand(32, *shape, generator=chance) * 2 - 1)
    return net.eval()


def main() -> int:
    """0 where all is met, 1 where something is missed, 2 where the data or brevitas is absent."""
    options = parser(__doc__, smoke="1 epoch of 500 images, one estimate")
    options.add_argument(
        "--cases", nargs="+", default=["published", "trained", "estimated"], choices=list(CASES)
    )
    widths = [f"{weights}W{activations}A" for weights, activations in PUBLISHED]
    options.add_argument("--widths", nargs="+", default=widths, choices=widths, help="of trained")
    options.add_argument("--epochs", type=int, default=60)
    options.add_argument("--root", type=Path, default=SHARED / "mnist", help="a folder of MNIST's IDX files")
    options.add_argument(
        "--zoo", type=Path, default=SHARED / "qonnx-zoo", help="a folder of TFC_1W1A.onnx ..."
    )
    chosen = options.parse_args()
    if chosen.smoke:
        chosen.epochs = 1
    torch.set_num_threads(2)
    cases = Cases("fpga", chosen.seed)
    try:
        with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as folder:
            for name in chosen.cases:
                CASES[name](chosen, cases, Path(folder))
    except (EdgekitError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return cases.finish(["accuracy", "gap", "fps", "lut", "bram18", "dsp", "seconds"])


CASES = {"published": published, "trained": trained, "estimated": estimated}

if __name__ == "__main__":
    sys.exit(main())
