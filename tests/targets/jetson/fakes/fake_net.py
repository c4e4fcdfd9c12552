"""What the fake TensorRT and the fake trtexec share: the network that a model's doc string tells, and its engine.

Python 3.8 without numpy, as on a board. Settings come by environment: FAKE_TENSORRT (version), FAKE_GPU, FAKE_CC,
FAKE_MS (milliseconds by precision), FAKE_NAN (a precision), FAKE_BUILD_SECONDS, FAKE_BUILD_ERROR ("int8:text"),
FAKE_DLA (how many cores of the accelerator). With FAKE_REAL=1 a file without such a doc string is a real network, which
onnxruntime computes; then Python is the host's.
"""

import json
import os
import re
import time

VERSION = os.environ.get("FAKE_TENSORRT", "8.6.2.3")
MAJOR = int(VERSION.split(".")[0])
GPU, CC = os.environ.get("FAKE_GPU", "Orin"), os.environ.get("FAKE_CC", "8.7")
ERROR = {"int8": 0.02, "fp16": 0.001, "fp32": 0.0}
MILLISECONDS = {"int8": 0.3, "fp16": 0.9, "fp32": 1.8}
MILLISECONDS.update(
    {k: float(v) for k, v in (p.split("=") for p in os.environ.get("FAKE_MS", "").split() if p)}
)
DATATYPES = {"int8": "Int8", "fp16": "Half", "fp32": "Float"}
FORMATS = {
    "int8": "Thirty-two wide channel vectorized row major Int8 format",
    "fp16": "Two wide channel vectorized row major FP16 format",
    "fp32": "Row major linear FP32",
}


def network(path):
    """The network that a model file's doc string tells."""
    with open(path, "rb") as file:
        found = re.search(rb'\{"fake": .*?\}\}', file.read(), re.DOTALL)
    if found is None and os.environ.get("FAKE_REAL"):
        return real_network(path)
    if found is None:
        raise ValueError("no ONNX file")
    return json.loads(found.group(0).decode())["fake"]


def real_network(path):
    """The network of a real file, which goes into the engine whole."""
    import base64

    import onnx

    with open(path, "rb") as file:
        data = file.read()
    graph = onnx.load_from_string(data).graph
    sides = [
        [[v.name, [d.dim_value or -1 for d in v.type.tensor_type.shape.dim], "FLOAT"] for v in side]
        for side in (graph.input, graph.output)
    ]
    layers = [node.name for node in graph.node if node.op_type in ("Conv", "Gemm", "Add")]
    halves = any(item.data_type == onnx.TensorProto.FLOAT16 for item in graph.initializer)
    net = {"refuse": None, "pairs": b"QuantizeLinear" in data, "halves": halves, "layers": layers}
    return dict(net, inputs=sides[0], outputs=sides[1], model=base64.b64encode(data).decode())


SESSIONS = {}


def real_outputs(net, values):
    """What the file's own arithmetic gives for one sample, node by node."""
    import base64

    import numpy
    import onnxruntime

    if net["model"] not in SESSIONS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        SESSIONS[net["model"]] = onnxruntime.InferenceSession(base64.b64decode(net["model"]), options)
    name, shape, _ = net["inputs"][0]
    sample = numpy.asarray(values, numpy.float32).reshape([1, *shape[1:]])
    return SESSIONS[net["model"]].run(None, {name: sample})[0].ravel().tolist()


def precision(net, flags):
    """What the engine computes in: pairs make int8; a flag, or the file's own types, make fp16."""
    if net["pairs"]:
        return "int8"
    return "fp16" if "FP16" in flags or net["halves"] else "fp32"


def build_error(net, flags):
    """The error that a build is told to give, after the time that it is told to take."""
    time.sleep(float(os.environ.get("FAKE_BUILD_SECONDS", "0")))
    which, _, text = os.environ.get("FAKE_BUILD_ERROR", "").partition(":")
    if which and which == precision(net, flags):
        return text
    if MAJOR < 11 and net["pairs"] and "INT8" not in flags:
        return "Q/DQ layers need BuilderFlag::kINT8"
    return ""


DLA_CORES = int(os.environ.get("FAKE_DLA", "0")) if MAJOR < 11 else 0


def dla_error(core, flags):
    """Why a build for a core of the accelerator fails; it computes in fp16 and int8, and needs leave to use the GPU."""
    if core >= DLA_CORES:
        return "Cannot create DLA engine, " + str(core) + " not available"
    if not {"FP16", "INT8"} & set(flags):
        return "Default DLA is enabled but layer stem is not supported on DLA: FP32"
    if "GPU_FALLBACK" not in flags:
        return "Default DLA is enabled but layer mean is not supported on DLA, falling back to GPU is not enabled"
    return ""


def dla_log(net):
    """TensorRT's account of where layers run: pairs are not for the accelerator, nor is the mean."""
    on_gpu = ["QUANTIZE: x.q", "CONVOLUTION: stem"] * bool(net["pairs"]) + ["REDUCE: mean"]
    on_dla = [] if net["pairs"] else ["{ForeignNode[stem]}"]
    rows = ["---------- Layers Running on DLA ----------"] + ["[DlaLayer] " + name for name in on_dla]
    return rows + ["---------- Layers Running on GPU ----------"] + ["[GpuLayer] " + name for name in on_gpu]


def engine_of(net, flags, detailed, shapes):
    """An engine's bytes: it knows the board and the version that it is for."""
    made = {"engine": VERSION, "gpu": GPU, "cc": CC, "net": net, "precision": precision(net, flags)}
    return json.dumps(dict(made, detailed=detailed, shapes=shapes)).encode()


def load_error(data):
    """Why an engine's bytes are not taken, in TensorRT's words."""
    try:
        engine = json.loads(bytes(data).decode())
    except ValueError:
        return "Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)"
    if engine["engine"] != VERSION:
        return (
            "Error Code 6: API Usage Error (The engine plan file is not compatible with this version of TensorRT, "
            "expecting library version " + VERSION + " got " + engine["engine"] + ", please rebuild.)"
        )
    if (engine["gpu"], engine["cc"]) != (GPU, CC):
        return (
            "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, expecting "
            "compute " + CC + " got compute " + engine["cc"] + ", please rebuild.)"
        )
    return ""


def outputs(engine, values, count):
    """y[k] = sum over i of x[i] ((i + k) mod 7 - 3) / n, and the precision's error, for one sample."""
    if os.environ.get("FAKE_NAN") == engine["precision"]:
        return [float("nan")] * count
    if "model" in engine.get("net", {}):
        return real_outputs(engine["net"], values)
    error = ERROR[engine["precision"]]
    size = len(values)
    return [sum(x * ((i + k) % 7 - 3) for i, x in enumerate(values)) / size + error for k in range(count)]


def layer_times(engine):
    """Milliseconds by layer: the network's names."""
    share = MILLISECONDS[engine["precision"]] / len(engine["net"]["layers"])
    return [(layer, share) for layer in engine["net"]["layers"]]


def inspection(engine):
    """The engine inspector's JSON; 11 names the input and output tensors otherwise, and the types by themselves."""
    rows = [layer_information(engine, name) for name in engine["net"]["layers"]]
    names = [item[0] for item in engine["net"]["inputs"] + engine["net"]["outputs"]]
    if MAJOR < 11:
        return json.dumps({"Layers": rows, "Bindings": names})
    return json.dumps({"Layers": rows, "I/O Tensors": [{"Name": name} for name in names]})


def layer_information(engine, name):
    """One layer, its name alone where the engine was built without details."""
    if not engine["detailed"]:
        return name
    kind = engine["precision"]
    tensor = {"Name": "t", "Location": "Device", "Dimensions": [1, 4, 8, 8]}
    if MAJOR < 11:
        tensor["Format/Datatype"] = FORMATS[kind]
    else:
        tensor.update({"Format": "Row major linear", "Datatype": DATATYPES[kind]})
    row = {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor]}
    if MAJOR < 11:
        row["Weights"] = {"Type": DATATYPES[kind], "Count": 108}
    if MAJOR > 8:
        row["Metadata"] = "[ONNX Layer: " + name + "]\x1e[ONNX Layer: " + name + ".relu]"
    return row
