"""Write fp32.onnx, default_int8.onnx (onnxruntime's default quantization) and edgekit_int8.onnx of one network."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantFormat, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekit.export.to_onnx import to_onnx
from edgekit.job import Data, Job
from edgekit.signature import Signature, TensorSpec
from edgekit.target import find_board, find_target
from edgekit.transforms.quantize import Quantize
from edgekit.zoo.resnet import resnet8

torch.manual_seed(0)
net = resnet8(width=32)
with torch.no_grad():
    for _ in range(10):
        net.train()(torch.randn(32, 3, 32, 32))  # settle BatchNorm
graph = to_onnx(net.eval(), {"input": torch.randn(1, 3, 32, 32)})
onnx.save(graph, "fp32.onnx")
inputs = [np.random.default_rng(seed).standard_normal((1, 3, 32, 32)).astype("float32") for seed in range(16)]


class Reader:
    """Calibration inputs as onnxruntime's quantizer wants them."""

    def __init__(self):
        self.left = iter(inputs)

    def get_next(self):
        """The next input, or None."""
        value = next(self.left, None)
        return None if value is None else {"input": value}


quant_pre_process("fp32.onnx", "prepared.onnx")
quantize_static(
    "prepared.onnx", "default_int8.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True
)

board, target = find_board("this-machine"), find_target("cpu")
job = Job(
    signature=Signature((TensorSpec("input", "float32", ("N", 3, 32, 32)),), ()),
    example={},
    data=Data(calibration=inputs),
    loss=None,
    fit=None,
    caps=target.caps(board),
    step="example",
)
target.export(graph, Quantize().describe(graph, job)[0], board, Path("edgekit_int8.onnx"))
Path("prepared.onnx").unlink()
