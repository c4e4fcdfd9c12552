"""Probes: random networks of every common layer, from which a table's kernels are taken."""

from __future__ import annotations

import math
import random

import onnx

from edgekit.predict.sketch import Sketch

MOST_MACS = 200_000_000  # of one layer, so that it is measured in a few milliseconds
ACTS = ("Relu", "Relu", "Relu6", "HardSwish", "")


def probe(seed: int) -> onnx.ModelProto:
    """A chain of random layers over random widths and sizes; every fourth is fully connected.

    Widths are log-uniform in 3..512, half of them multiples of 8 or 16.
    """
    chance = random.Random(seed)
    return _perceptron(chance, seed) if seed % 4 == 3 else _chain(chance, seed)


def _perceptron(chance: random.Random, seed: int) -> onnx.ModelProto:
    sketch = Sketch((_width(chance, 8, 3072),), seed=seed)
    x = "input"
    for _ in range(chance.randint(2, 6)):
        x = sketch.linear(x, _width(chance, 8, 3072), act=chance.choice(("Relu", "Relu", "", "Sigmoid")))
    x = sketch.linear(x, chance.randint(2, 100), act="")
    return sketch.model(sketch.softmax(x) if chance.random() < 0.5 else x)


def _chain(chance: random.Random, seed: int) -> onnx.ModelProto:
    side = round(2 ** chance.uniform(3, 7))
    sketch = Sketch((chance.choice((1, 3, 3)), side, side), seed=seed)
    act = chance.choice(ACTS)
    x = sketch.conv(
        "input", _width(chance, 8, 64), chance.choice((3, 3, 5, 7)), stride=chance.choice((1, 2)), act=act
    )
    for _ in range(chance.randint(5, 10)):
        x = chance.choice(LAYERS)(sketch, x, chance, act)
    return sketch.model(sketch.linear(sketch.mean(x), chance.randint(2, 1000), act=""))


def _pointwise(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    return sketch.conv(x, _affordable(sketch, x, 1, chance), 1, act=chance.choice((act, "")))


def _dense(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    kernel, stride = chance.choice((3, 3, 3, 5)), chance.choice((1, 1, 2))
    return sketch.conv(x, _affordable(sketch, x, kernel, chance), kernel, stride=stride, act=act)


def _depthwise(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    channels = sketch.shapes[x][1]
    kernel, stride = chance.choice((3, 3, 5)), chance.choice((1, 1, 2))
    return sketch.conv(x, channels, kernel, stride=stride, groups=channels, act=act)


def _residual(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    channels = sketch.shapes[x][1]
    kernel = 3 if 9 * channels**2 * _positions(sketch, x) < MOST_MACS else 1
    y = sketch.conv(x, channels, kernel, act=act)
    return sketch.add(sketch.conv(y, channels, 1, act=""), x, act=chance.choice((act, "")))


def _halved(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    if sketch.shapes[x][2] < 4:
        return _pointwise(sketch, x, chance, act)
    return sketch.pool(x, chance.choice(("MaxPool", "AveragePool")), kernel=chance.choice((2, 3)))


def _gated(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    channels = sketch.shapes[x][1]
    gate = sketch.conv(sketch.mean(x, flat=False), max(4, channels // 4), 1)
    return sketch.scale(x, sketch.conv(gate, channels, 1, act="Sigmoid"))


def _joined(sketch: Sketch, x: str, chance: random.Random, act: str) -> str:
    if sketch.shapes[x][1] > 256:
        return _pointwise(sketch, x, chance, act)
    return sketch.concat([x, sketch.conv(x, _width(chance, 8, 64), 1, act=act)])


LAYERS = (
    _pointwise,
    _pointwise,
    _dense,
    _dense,
    _dense,
    _depthwise,
    _depthwise,
    _residual,
    _halved,
    _gated,
    _joined,
)


def _width(chance: random.Random, low: int, high: int) -> int:
    width = round(2 ** chance.uniform(math.log2(low), math.log2(high)))
    multiple = chance.choice((1, 1, 8, 16))
    return max(multiple, round(width / multiple) * multiple)


def _affordable(sketch: Sketch, x: str, kernel: int, chance: random.Random) -> int:
    """A width whose layer stays within the most MACs."""
    most = MOST_MACS // (_positions(sketch, x) * sketch.shapes[x][1] * kernel**2)
    return _width(chance, 8, max(9, min(512, most)))


def _positions(sketch: Sketch, x: str) -> int:
    _, _, height, width = sketch.shapes[x]
    return height * width
