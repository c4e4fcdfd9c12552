"""What onnxruntime's CPU provider runs in integers, from a board's instruction set."""

from __future__ import annotations

from edgekit.errors import BadInput
from edgekit.target import Board, Caps, Grid

# ONNX operators that become integer kernels between Q/DQ pairs (a test builds each).
ARITHMETIC = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "Gemm",
        "GlobalAveragePool",
        "LeakyRelu",
        "MatMul",
        "Mul",
        "Sigmoid",
        "Softmax",
        "Where",
    }
)
# Operators that only move or compare values, and so run on integers as they are.
# Resize does so in nearest mode alone.
MOVEMENT = frozenset(
    {
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "MaxPool",
        "ReduceMax",
        "Reshape",
        "Resize",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
# Activations that the pair after them absorbs.
ABSORBED = frozenset({"Clip", "Relu"})

EXPECTS = {
    "vnni": "Static int8 over fp32, measured on AVX512-VNNI with one thread: 3 to 4.3 times on dense "
    "convolution "
    "networks, 1.8 times on small residual ones, 0.9 to 1.2 times on tiny depthwise ones, about 1 on tiny "
    "fully connected ones.",
    "avx": "Without VNNI int8 weights have 7 bits, because the 16-bit sums of VPMADDUBSW saturate; the "
    "gain is "
    "smaller than with VNNI, and was not measured on this instruction set.",
    "neon": "On Arm signed int8 is the fast form. Without dot products (asimddp) its products are summed in 16 bits "
    "first, and the gain is smaller; it was not measured on this instruction set.",
    "neon-dotprod": "On Arm signed int8 is the fast form, here with dot products (asimddp) of four at a time; the gain "
    "was not measured on this instruction set.",
    "neon-i8mm": "On Arm signed int8 is the fast form, here with products of small int8 matrices (i8mm); the gain was "
    "not measured on this instruction set.",
}
NO_WHEEL = " There is no onnxruntime wheel for 32-bit Arm: build it from source, or run a 64-bit system."


def caps_of(board: Board) -> Caps:
    """The capabilities of a board of the target cpu; BadInput where its instruction set is unknown."""
    name = str(board.facts.get("instruction_set", ""))
    if name in ("neon", "neon-dotprod", "neon-i8mm"):
        return _caps(board, signed=True, reduced=False, expects=EXPECTS[name] + _without_wheel(board))
    if name.endswith("vnni"):
        return _caps(board, signed=False, reduced=False, expects=EXPECTS["vnni"])
    if name.startswith(("avx", "sse")):
        return _caps(board, signed=False, reduced=True, expects=EXPECTS["avx"])
    raise BadInput(
        f"boards: {board.name}: the instruction set '{name}' is unknown to the target cpu. Write one of "
        "avx512-vnni, avx-vnni, avx512, avx2, neon, neon-dotprod, neon-i8mm."
    )


def _without_wheel(board: Board) -> str:
    return NO_WHEEL if str(board.facts.get("machine", "")).startswith(("armv6", "armv7")) else ""


def _caps(board: Board, *, signed: bool, reduced: bool, expects: str) -> Caps:
    return Caps(
        activations=Grid(bits=8, signed=signed, symmetric=False),
        weights=Grid(bits=8, signed=True, symmetric=True, per_channel=True, reduced=reduced),
        bias="int32",
        operators=ARITHMETIC | MOVEMENT | ABSORBED,
        channel_multiple=16 if int(board.facts.get("vector_bits", 0)) >= 512 else 8,
        expects=expects,
    )
