"""Predicted against measured latency of random networks, fp32 and int8, from a table built in under 10 minutes.

Run by hand: python tests/benchmarks/predict.py --out runs/predict [--minutes 8]

The table knows kernels of random chains of layers (edgekit/predict/probes.py). The networks asked here are built in
blocks, by another generator; the blocks of the families `fire` and `dense` have no counterpart in the chains, and are
listed as held out. Every network is measured twice, in sessions of its own, in units of the reference kernel
that takes turns with it: how far the two are apart is the repeatability, printed first. After a kill start it again
with the same --out.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent))

from common import Cases, parser

from edgekit.analysis.graph_cost import graph_cost
from edgekit.predict.bench import Bench, open_bench
from edgekit.predict.build import build
from edgekit.predict.fit import non_negative
from edgekit.predict.graph import read_kernels
from edgekit.predict.kernel import Kernel
from edgekit.predict.predict import Predictor
from edgekit.predict.sketch import Sketch, rough_quantization
from edgekit.predict.table import Table, load_table
from edgekit.progress import make_progress
from edgekit.target import find_board, find_target

SHORTEST, LONGEST = 0.2e-3, 20e-3  # seconds of a network that counts
HELD_OUT = ("fire", "dense")
LIMIT, SHARE, TIMES = 0.15, 0.9, 3.0
COLUMNS = (
    "networks",
    "repeatability",
    "median_error",
    "p90_error",
    "within",
    "within_15",
    "in_interval",
    "macs_median_error",
    "times_better",
)


def plain(sketch: Sketch, chance: random.Random) -> str:
    """Convolutions of 3x3 in stages, each half the size and up to twice the width of the one before."""
    x, width = "input", chance.randint(8, 64)
    for _ in range(chance.randint(2, 4)):
        for _ in range(chance.randint(1, 3)):
            x = sketch.conv(x, width, 3)
        x = sketch.pool(x) if chance.random() < 0.7 else sketch.conv(x, width, 3, stride=2)
        width = round(width * chance.uniform(1.0, 2.0))
    return sketch.linear(sketch.mean(x), 10, act="")


def residual(sketch: Sketch, chance: random.Random) -> str:
    """ResNet's basic blocks (He et al., 2016)."""
    width = chance.randint(8, 64)
    x = sketch.conv("input", width, chance.choice((3, 7)), stride=chance.choice((1, 2)))
    for stage in range(chance.randint(2, 4)):
        for block in range(chance.randint(1, 3)):
            stride = 2 if stage and not block else 1
            y = sketch.conv(sketch.conv(x, width, 3, stride=stride), width, 3, act="")
            x = sketch.add(y, x if stride == 1 else sketch.conv(x, width, 1, stride=2, act=""))
        width = round(width * chance.uniform(1.2, 2.0)) if stage < 9 else width
        x = sketch.conv(x, width, 1)
    return sketch.linear(sketch.mean(x), 100, act="")


def separable(sketch: Sketch, chance: random.Random) -> str:
    """MobileNetV1: depthwise, then pointwise (Howard et al., 2017)."""
    width = chance.randint(8, 48)
    x = sketch.conv("input", width, 3, stride=2)
    for _ in range(chance.randint(4, 12)):
        stride = 2 if chance.random() < 0.3 and sketch.shapes[x][2] > 4 else 1
        x = sketch.conv(x, width, 3, stride=stride, groups=width)
        width = min(768, round(width * (chance.uniform(1.3, 2.0) if stride == 2 else 1)))
        x = sketch.conv(x, width)
    return sketch.linear(sketch.mean(x), 1000, act="")


def inverted(sketch: Sketch, chance: random.Random) -> str:
    """MobileNetV2: widen, depthwise, narrow, with a way around (Sandler et al., 2018)."""
    width = chance.randint(8, 32)
    x = sketch.conv("input", width, 3, stride=2, act="Relu6")
    for _ in range(chance.randint(4, 12)):
        stride = 2 if chance.random() < 0.3 and sketch.shapes[x][2] > 4 else 1
        inner = width * chance.choice((3, 4, 6))
        y = sketch.conv(x, inner, act="Relu6")
        y = sketch.conv(y, inner, chance.choice((3, 5)), stride=stride, groups=inner, act="Relu6")
        next_width = width if stride == 1 else min(160, round(width * chance.uniform(1.2, 2.0)))
        y = sketch.conv(y, next_width, act="")
        x = sketch.add(y, x, act="") if stride == 1 else y
        width = next_width
    return sketch.linear(sketch.mean(sketch.conv(x, 4 * width, act="Relu6")), 100, act="")


def perceptron(sketch: Sketch, chance: random.Random) -> str:
    """Fully connected layers."""
    x = sketch.flatten("input")
    for _ in range(chance.randint(2, 8)):
        x = sketch.linear(x, chance.randint(64, 2048))
    return sketch.linear(x, 10, act="")


def fire(sketch: Sketch, chance: random.Random) -> str:
    """SqueezeNet: narrow, then two branches side by side (Iandola et al., 2016)."""
    x = sketch.conv("input", chance.randint(16, 64), 3, stride=2)
    width = chance.randint(8, 48)
    for _ in range(chance.randint(3, 8)):
        narrow = sketch.conv(x, width)
        x = sketch.concat([sketch.conv(narrow, 4 * width), sketch.conv(narrow, 4 * width, 3)])
        if chance.random() < 0.4 and sketch.shapes[x][2] > 6:
            x = sketch.pool(x, kernel=3)
            width = min(64, round(width * chance.uniform(1.2, 2.0)))
    return sketch.mean(sketch.conv(x, 100))


def dense(sketch: Sketch, chance: random.Random) -> str:
    """DenseNet: every layer's channels beside all before it (Huang et al., 2017)."""
    growth = chance.randint(8, 32)
    x = sketch.conv("input", 2 * growth, 3, stride=2)
    for _ in range(chance.randint(2, 3)):
        for _ in range(chance.randint(2, 6)):
            x = sketch.concat([x, sketch.conv(sketch.conv(x, 4 * growth), growth, 3, act="")])
        x = sketch.pool(sketch.conv(x, max(8, sketch.shapes[x][1] // 2)), "AveragePool")
    return sketch.linear(sketch.mean(x), 10, act="")


FAMILIES: dict[str, Callable[[Sketch, random.Random], str]] = {
    "plain": plain,
    "residual": residual,
    "separable": separable,
    "inverted": inverted,
    "perceptron": perceptron,
    "fire": fire,
    "dense": dense,
}


@dataclass
class Networks:
    """What was measured so far, by name: family, precision, kernels, and the times in reference units, one a pass."""

    path: Path
    rows: dict[str, dict[str, Any]]

    @classmethod
    def open(cls, path: Path) -> Networks:
        """What an earlier, killed run has measured; a torn last line is measured again."""
        networks = cls(path, {})
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                networks._take(json.loads(line))
            except ValueError:
                continue
        return networks

    def keep(self, **row: Any) -> None:
        """One line more."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._take(row)

    def counting(self, family: str | None = None) -> list[dict[str, Any]]:
        """Those within 0.2 to 20 ms."""
        rows = [row for row in self.rows.values() if row["counts"]]
        return [row for row in rows if family is None or row["family"] == family]

    def _take(self, row: dict[str, Any]) -> None:
        self.rows.setdefault(row["name"], {**row, "times": []})["times"].append(row["time"])


def draw(family: str, number: int, seed: int) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """One network's graph and the shape of its input, 32 to 160 pixels wide."""
    chance = random.Random(f"{seed} {family} {number}")
    side = round(2 ** chance.uniform(3, 5) if family == "perceptron" else 2 ** chance.uniform(5, 7.3))
    sketch = Sketch((3, side, side), seed=number)
    return sketch.model(FAMILIES[family](sketch, chance)), (1, 3, side, side)


def first_pass(networks: Networks, bench: Bench, *, each: int, seed: int) -> None:
    """`each` networks of every family, half of them int8; those outside 0.2 to 20 ms are passed over."""
    for family in FAMILIES:
        number = 0
        while len(networks.counting(family)) < each:
            name, number = f"{family}-{number}", number + 1
            if name not in networks.rows:
                time, kernels = measured(bench, family, number - 1, seed)
                counts = SHORTEST < time * bench.unit < LONGEST
                networks.keep(
                    name=name,
                    family=family,
                    number=number - 1,
                    precision=precision(number - 1),
                    counts=counts,
                    time=time,
                    kernels=[[node, kernel.to_json()] for node, kernel in kernels] if counts else [],
                )


def second_pass(networks: Networks, bench: Bench, *, seed: int) -> None:
    """The same networks once more, all others in between."""
    for row in networks.counting():
        if len(row["times"]) < 2:
            time, _ = measured(bench, row["family"], row["number"], seed)
            networks.keep(name=row["name"], time=time)


def precision(number: int) -> str:
    """Every second network is int8."""
    return "int8" if number % 2 else "fp32"


def measured(bench: Bench, family: str, number: int, seed: int) -> tuple[float, list[tuple[str, Kernel]]]:
    """The time of one network in reference units, and its kernels."""
    board, target = find_board("this-machine"), find_target("cpu")
    graph, shape = draw(family, number, seed)
    quantization = rough_quantization(graph, target.caps(board)) if precision(number) == "int8" else None
    with tempfile.TemporaryDirectory(prefix="edgekit-benchmark-") as folder:
        path = target.export(graph, quantization, board, Path(folder) / "network.onnx").path
        feeds = {"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}
        return bench.file(path, feeds), read_kernels(path, target)


def errors(predicted: np.ndarray, times: np.ndarray) -> np.ndarray:
    """|predicted / measured - 1|."""
    return np.abs(predicted / times - 1)


def by_macs(rows: list[dict[str, Any]], macs: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What a + b macs predicts, fitted for each precision to the very networks it is asked about."""
    predicted = np.empty(len(rows))
    for kind in ("fp32", "int8"):
        chosen = np.array([row["precision"] == kind for row in rows])
        if chosen.any():
            columns = np.stack([np.ones(chosen.sum()), macs[chosen]], 1)
            rates = non_negative(columns / times[chosen, None], np.ones(chosen.sum()))
            predicted[chosen] = columns @ rates
    return predicted


def judge(table: Table, networks: Networks, cases: Cases, *, smoke: bool) -> None:
    """Repeatability first, then each family, each precision, and all.

    A network is predicted well within 15 %, or within 1.5 times the difference of its own two measurements.
    """
    rows = [row for row in networks.counting() if len(row["times"]) > 1]
    pairs = np.array([row["times"][:2] for row in rows])
    times, apart = pairs.min(1), np.abs(pairs[:, 0] / pairs[:, 1] - 1)
    say_repeatability(apart)
    predictor = Predictor(table)
    found = [predictor.predict([(n, Kernel.from_json(value)) for n, value in row["kernels"]]) for row in rows]
    unit = 1e3 * table.unit
    predicted = np.array([item.milliseconds for item in found]) / unit
    low, high = (
        np.array([getattr(item, end) or other for item in found]) / unit
        for end, other in (("low", 0.0), ("high", np.inf))
    )
    macs = np.array(
        [graph_cost(draw(row["family"], row["number"], cases.seed)[0]).macs for row in rows], np.float64
    )
    wrong, rough = errors(predicted, times), errors(by_macs(rows, macs, times), times)
    good = wrong <= np.maximum(LIMIT, 1.5 * apart)
    for name in [*FAMILIES, "fp32", "int8", "all"]:
        chosen = np.array([name in (row["family"], row["precision"], "all") for row in rows])
        if not chosen.any():
            continue
        within = float(np.mean(good[chosen]))
        better = float(np.median(rough[chosen]) / np.median(wrong[chosen]))
        cases.add(
            f"{name}, held out" if name in HELD_OUT else name,
            met=bool(within >= SHARE and better >= TIMES) if name == "all" and not smoke else None,
            asked=f"{SHARE:.0%} within, {TIMES:g} times better than MACs"
            if name == "all"
            else "(part of all)",
            networks=int(chosen.sum()),
            median_error=round(float(np.median(wrong[chosen])), 4),
            p90_error=round(float(np.percentile(wrong[chosen], 90)), 4),
            within=round(within, 3),
            within_15=round(float(np.mean(wrong[chosen] <= LIMIT)), 3),
            in_interval=round(float(np.mean((low <= times) & (times <= high), where=chosen)), 3),
            bias=round(float(np.median(predicted[chosen] / times[chosen])), 3),
            macs_median_error=round(float(np.median(rough[chosen])), 4),
            times_better=round(better, 2),
            repeatability=round(float(np.median(apart[chosen])), 4),
        )


def say_repeatability(apart: np.ndarray) -> None:
    """How far the two measurements of a network are apart."""
    median, most = np.percentile(apart, [50, 90])
    print(f"repeatability: median {median:.1%}, 90 % of networks within {most:.1%} of themselves", flush=True)


def main() -> int:
    """Build the table, measure the networks, judge; 1 where what is asked was missed."""
    options = parser(__doc__, smoke="the kernels of two probes, one network of each family")
    options.add_argument(
        "--out", type=Path, default=Path("runs/predict"), help="where table and measurements are kept"
    )
    options.add_argument("--minutes", type=float, default=8.0, help="for the table")
    options.add_argument("--each", type=int, default=29, help="networks of each of 7 families")
    chosen = options.parse_args()
    minutes, each = (9.0, 1) if chosen.smoke else (chosen.minutes, chosen.each)
    size = {"probes": 2, "networks": 2} if chosen.smoke else {}
    chosen.out.mkdir(parents=True, exist_ok=True)
    path, cases = chosen.out / "table.json", Cases("predict", chosen.seed)
    board = find_board("this-machine")
    table = load_table(path) if path.exists() else None
    if table is None or not table.facts["finished"]:
        table = build(path, board, minutes=minutes, seed=chosen.seed, progress=make_progress(), **size)
    networks = Networks.open(chosen.out / "networks.jsonl")
    with open_bench(find_target("cpu")) as bench:
        first_pass(networks, bench, each=each, seed=chosen.seed)
        second_pass(networks, bench, seed=chosen.seed)
    judge(table, networks, cases, smoke=chosen.smoke)
    return cases.finish(COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
