"""fp16 as a precision of its own: half the bytes, inputs and outputs kept in float32."""

from __future__ import annotations

from collections.abc import Collection

import onnx


def to_fp16(model: onnx.ModelProto, *, in_float: Collection[str] = ()) -> onnx.ModelProto:
    """A copy with float16 weights and arithmetic, nodes named in `in_float` apart, which are put between casts.

    Values below the smallest half are kept at it, not lost. Runtimes without half kernels insert casts: the file is
    half the size, the speed is that of fp32 or less.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    left_out = in_float or any(node.op_type in DEFAULT_OP_BLOCK_LIST for node in model.graph.node)
    half: onnx.ModelProto = convert_float_to_float16(
        copy, keep_io_types=True, disable_shape_infer=not left_out, node_block_list=list(in_float)
    )
    _order(half, len(model.graph.node))
    return half


def _order(model: onnx.ModelProto, known: int) -> None:
    """Put each cast, which the converter appends behind the `known` nodes, before its first reader."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    casts = {node.output[0]: node for node in nodes[known:]}
    ordered: list[onnx.NodeProto] = []

    def place(node: onnx.NodeProto) -> None:
        for name in node.input:
            if name in casts:
                place(casts.pop(name))
        ordered.append(node)

    for node in nodes[:known]:
        place(node)
    ordered += casts.values()
    del model.graph.node[:]
    model.graph.node.extend(ordered)
