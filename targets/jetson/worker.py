"""Builds an ONNX file with NVIDIA's parser and builder, and prints what came of it as JSON; a process of its own.

A process, because TensorRT keeps the first logger it is given, and may end a process that it cannot serve.
`python -m targets.jetson.worker FILE.onnx`. Without a GPU the module is TensorRT for RTX, whose builder needs none.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
COMPUTE = "SM86"  # Ampere with int8 tensor cores, the nearest to Orin (8.7) that the RTX builder knows


def module() -> Any:
    """The first of NVIDIA's modules that can be imported, or None."""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):
            continue
    return None


def build(trt: Any, path: str) -> dict[str, Any]:
    """What the parser and the builder said of a file."""
    said: list[str] = []
    builder = trt.Builder(_logger(trt, said))
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, builder.logger)
    made: dict[str, Any] = {"module": trt.__name__, "version": trt.__version__, "errors": [], "layers": []}
    if not parser.parse_from_file(path):
        made["errors"] = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
        return made
    engine = builder.build_serialized_network(network, _config(trt, builder, network))
    if engine is None:
        made["errors"] = [{"node": "", "reason": said[-1] if said else "the builder gave no engine"}]
        return made
    made["layers"] = _inspected(trt, engine, said) or _logged(said)
    return made


def _logger(trt: Any, said: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is only known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Keep what matters: errors, and the list of layers."""
            if message.startswith("Layers:") or severity in (
                self.Severity.ERROR,
                self.Severity.INTERNAL_ERROR,
            ):
                said.append(message)

    return Logger()


def _network_flags(trt: Any) -> int:
    flags: Any = getattr(trt, "NetworkDefinitionCreationFlag", None)
    return 1 << int(flags.EXPLICIT_BATCH) if hasattr(flags, "EXPLICIT_BATCH") else 0


def _config(trt: Any, builder: Any, network: Any) -> Any:
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        value = network.get_input(index)
        shape = [1 if size < 0 else size for size in value.shape]
        profile.set_shape(value.name, shape, shape, shape)
    config.add_optimization_profile(profile)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in ("INT8", "FP16"):  # gone where networks are always strongly typed
        if hasattr(trt.BuilderFlag, name):
            config.set_flag(getattr(trt.BuilderFlag, name))
    if hasattr(config, "num_compute_capabilities"):
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, COMPUTE), 0)
    return config


def _inspected(trt: Any, engine: Any, said: list[str]) -> list[Any]:
    """The engine's own account; [] where there is no GPU to load it on."""
    if any(text.startswith("Layers:") for text in said):
        return []
    runtime = trt.Runtime(_logger(trt, said))
    loaded = runtime.deserialize_cuda_engine(engine)
    if loaded is None:
        return []
    text = loaded.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    layers: list[Any] = json.loads(text)["Layers"]
    return layers


def _logged(said: list[str]) -> list[str]:
    return [line for text in said if text.startswith("Layers:") for line in text.splitlines()[1:]]


def _error(error: Any) -> dict[str, str]:
    name = getattr(error, "node_name", None)
    return {
        "node": name() if callable(name) else "",
        "reason": str(error.desc() if callable(error.desc) else error),
    }


def main() -> int:
    """0 with JSON; 3 where none of NVIDIA's modules is here."""
    trt = module()
    if trt is None:
        return 3
    print(json.dumps(build(trt, sys.argv[1])), flush=True)
    return 0


if __name__ == "__main__":
    import os

    code = main()
    sys.stdout.flush()
    os._exit(code)  # without a GPU some of NVIDIA's destructors fault after everything is done
