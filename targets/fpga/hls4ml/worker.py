"""hls4ml's side: runs in hls4ml's own environment and imports nothing of edgekit.

`python worker.py TASK.json` turns a QONNX file into C++, builds it and runs it on an array of inputs; the task
names `model`, `inputs`, `outputs`, `folder` and `precision`. The last line of standard output is one JSON
object: `{"seconds"}` of the build, or `{"failed": reason}`. `python worker.py --check` prints the packages.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any


def main(task: dict[str, Any]) -> int:
    """Do a task and print its result; 0 where it was done."""
    try:
        with redirect_stdout(sys.stderr):
            told = _compute(task)
    except Exception as error:
        told = {"failed": " ".join(str(error).split()) or type(error).__name__}
    print(json.dumps(told), flush=True)
    return 1 if "failed" in told else 0


def check() -> None:
    """Import what a task needs; print Python's version and the packages' as one JSON line."""
    import platform
    from importlib.metadata import distributions

    with redirect_stdout(sys.stderr):
        import hls4ml  # noqa: F401
        from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean  # noqa: F401
        from qonnx.util.cleanup import cleanup_model  # noqa: F401
    packages = {item.metadata["Name"].lower(): item.version for item in distributions()}
    print(json.dumps({"python": platform.python_version(), "packages": packages}))


def _compute(task: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    model, start = _built(task), time.monotonic()
    model.compile()
    seconds = round(time.monotonic() - start, 1)
    inputs = np.ascontiguousarray(np.load(task["inputs"]), np.float32)
    np.save(task["outputs"], np.asarray(model.predict(inputs)).reshape(len(inputs), -1))
    return {"seconds": seconds}


def _built(task: dict[str, Any]) -> Any:
    """hls4ml's model: streams between layers where there is a convolution, arrays where there is none."""
    import hls4ml

    model, convolutions = _readable(task["model"])
    config = hls4ml.utils.config.config_from_onnx_model(
        model, granularity="name", backend="Vitis", default_precision=task["precision"]
    )
    return hls4ml.converters.convert_from_onnx_model(
        model,
        hls_config=config,
        output_dir=str(Path(task["folder"])),
        backend="Vitis",
        io_type="io_stream" if convolutions else "io_parallel",
    )


def _readable(path: str) -> tuple[Any, bool]:
    """The file as hls4ml wants it, channels last and MatMul for Gemm, and whether it has convolutions."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(path))
    convolutions = any(node.op_type == "Conv" for node in model.graph.node)
    if convolutions:
        model = model.transform(ConvertToChannelsLastAndClean())
    return cleanup_model(model.transform(GemmToMatMul())), convolutions


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check()
    else:
        sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
