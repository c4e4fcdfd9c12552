"""What FINN makes hardware of, from a board's facts."""

from __future__ import annotations

from edgekit.target import Board, Caps, Grid

OPERATORS = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Conv",
        "Flatten",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "MatMul",
        "MaxPool",
        "Relu",
        "Reshape",
    }
)
OPSET = 13
EXPECTS = (
    "Every layer is hardware of its own, and samples stream through: the slowest layer sets the rate. Fewer bits "
    "take fewer LUTs and DSPs, so 1 to 4 bits fit where 8 do not; accuracy comes back by training at those bits. "
    "FINN's figures are estimates until a bitfile is built with Vivado."
)


def caps_of(board: Board) -> Caps:
    """The capabilities of a board of the target fpga: unsigned activations, narrow weights, BatchNorm unfused."""
    return Caps(
        activations=Grid(bits=8, signed=False, symmetric=True),
        weights=Grid(bits=8, signed=True, symmetric=True),
        bias="float",
        operators=OPERATORS,
        precisions=("int8",),
        opset=OPSET,
        fuse_batchnorm=False,
        low_bit=True,
        expects=EXPECTS,
    )
