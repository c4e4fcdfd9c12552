"""Small ONNX graphs, written node by node, for the tests of the CPU target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A graph in the making; each method adds a node and returns the name of its output."""

    def __init__(self, shape: tuple[int | str, ...] = (1, 16, 8, 8), *, seed: int = 0) -> None:
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(seed)
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator: str, *inputs: str, name: str, outputs: int = 1, **attributes) -> str:
        names = [f"{name}_out{index or ''}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names[0]

    def conv(
        self,
        source: str,
        name: str,
        channels: int = 16,
        *,
        inputs: int = 16,
        kernel: int = 3,
        groups: int = 1,
        scale: float = 0.05,
    ) -> str:
        shape = (channels, inputs // groups, kernel, kernel)
        weight = self.constant(f"{name}.weight", self.random.normal(0, scale, shape).astype(np.float32))
        bias = self.constant(f"{name}.bias", self.random.normal(0, scale, channels).astype(np.float32))
        return self.node(
            "Conv",
            source,
            weight,
            bias,
            name=name,
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
        )

    def gemm(self, source: str, name: str, rows: int, columns: int) -> str:
        weight = self.constant(
            f"{name}.weight", self.random.normal(0, 0.1, (rows, columns)).astype(np.float32)
        )
        bias = self.constant(f"{name}.bias", self.random.normal(0, 0.1, rows).astype(np.float32))
        return self.node("Gemm", source, weight, bias, name=name, transB=1)

    def batchnorm(self, source: str, name: str, channels: int = 16, *, settled: bool = True) -> str:
        parts = {
            "scale": np.ones(channels),
            "shift": np.zeros(channels),
            "mean": np.zeros(channels),
            "variance": np.ones(channels),
        }
        if settled:
            parts["mean"] = self.random.normal(0, 1, channels)
            parts["variance"] = self.random.uniform(0.5, 2, channels)
        names = [self.constant(f"{name}.{key}", value.astype(np.float32)) for key, value in parts.items()]
        return self.node("BatchNormalization", source, *names, name=name)

    def pair(
        self, source: str, name: str, *, signed: bool = False, scale: float = 0.05, zero: int | None = None
    ) -> str:
        """QuantizeLinear and DequantizeLinear, per tensor."""
        dtype = np.int8 if signed else np.uint8
        scale_name = self.constant(f"{name}.scale", np.float32(scale))
        zero_name = self.constant(
            f"{name}.zero", dtype(0 if signed else 128) if zero is None else dtype(zero)
        )
        quantized = self.node("QuantizeLinear", source, scale_name, zero_name, name=f"{name}.q")
        return self.node("DequantizeLinear", quantized, scale_name, zero_name, name=f"{name}.dq")

    def model(self, output: str, *, opset: int = 21) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            self.inputs,
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            initializer=self.initializers,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        made.ir_version = min(made.ir_version, 10)
        return made

    def save(self, output: str, path: Path, *, opset: int = 21) -> Path:
        onnx.save(self.model(output, opset=opset), path)
        return path


def residual(blocks: int = 3, *, channels: int = 16) -> onnx.ModelProto:
    """Convolutions in residual blocks, mean over the image, a head: the smallest net with forks."""
    net = Net((1, channels, 8, 8))
    stream = net.node("Relu", net.conv("x", "stem", channels, inputs=channels), name="stem.relu")
    for index in range(blocks):
        inner = net.node(
            "Relu", net.conv(stream, f"{index}.a", channels, inputs=channels), name=f"{index}.relu_a"
        )
        added = net.node(
            "Add", stream, net.conv(inner, f"{index}.b", channels, inputs=channels), name=f"{index}.add"
        )
        stream = net.node("Relu", added, name=f"{index}.relu")
    pooled = net.node("GlobalAveragePool", stream, name="pool")
    flat = net.node("Flatten", pooled, name="flatten", axis=1)
    return net.model(net.gemm(flat, "head", 10, channels))
