"""What a Jetson's TensorRT runs in integers, and which ONNX forms its parser reads, from the board's facts."""

from __future__ import annotations

from edgekit.errors import BadInput
from edgekit.target import Board, Caps, Grid

# TensorRT's layers that have int8 kernels on GPUs, by the ONNX operators that become them.
OPERATORS = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "ConvTranspose",
        "Gemm",
        "GlobalAveragePool",
        "MatMul",
        "MaxPool",
    }
    | {"Clip", "Relu", "Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
# The newest operator set that the parser of a TensorRT release reads (onnx-tensorrt, docs/operators.md of each).
OPSETS = (((8, 4), 16), ((8, 5), 17), ((8, 6), 17), ((10, 0), 20), ((10, 9), 22), ((10, 13), 24))
OLDEST = OPSETS[0][0]
TYPED = (11, 0)
PRECISION_KEY = "edgekit.precision"  # of a file's metadata: one with float32 may be for an fp16 engine
EXPECTS = (
    "Not measured here: latency is read on the board (board/measure.py of the output folder). TensorRT runs int8 "
    "where its builder finds that faster, and fp16 is measured beside it."
)


def caps_of(board: Board) -> Caps:
    """The capabilities of a Jetson board; BadInput where its TensorRT is unknown or too old."""
    release = release_of(board)
    if release < OLDEST:
        raise BadInput(
            f"boards: {board.name}: TensorRT {board.facts['tensorrt']} has no explicit int8 as edgekit writes it. "
            f"Update to JetPack 5 (TensorRT {OLDEST[0]}.{OLDEST[1]}) or later."
        )
    integer = bool(board.facts.get("int8", True))
    return Caps(
        activations=Grid(bits=8, signed=True, symmetric=True),
        weights=Grid(bits=8, signed=True, symmetric=True, per_channel=True),
        bias="float",
        operators=OPERATORS if integer else frozenset(),
        precisions=("fp32", "fp16", "int8") if integer else ("fp32", "fp16"),
        channel_multiple=32 if integer else 8,  # tensor cores take 32 int8 or 8 half values at a time
        opset=max(newest for known, newest in OPSETS if known <= release),
        fuse_addition=True,
        expects=EXPECTS,
    )


def release_of(board: Board) -> tuple[int, int]:
    """(major, minor) of the board's TensorRT."""
    text = str(board.facts.get("tensorrt", ""))
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts[:2]):
        raise BadInput(
            f"boards: {board.name}: the TensorRT version '{text}' is not like 10.3. Correct the board's file."
        )
    return int(parts[0]), int(parts[1])


def is_typed(board: Board) -> bool:
    """Whether the board's TensorRT computes in a file's own types alone, as 11 and later do."""
    return release_of(board) >= TYPED
