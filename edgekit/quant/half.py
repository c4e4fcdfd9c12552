"""fp16 as a precision of its own: half the bytes, inputs and outputs kept in float32."""

from __future__ import annotations

import onnx


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with float16 weights and arithmetic; values below the smallest half are kept at it, not lost.

    Runtimes without half kernels insert casts: the file is half the size, the speed is that of fp32 or less.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, disable_shape_infer=True)
    return half
