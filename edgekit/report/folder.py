"""What an output folder tells someone who has no edgekit: io.json and run_example.py."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from edgekit.report.report import write_text
from edgekit.signature import Signature, TensorSpec


def write_io_json(
    signature: Signature,
    path: Path | str,
    *,
    quantization_input: dict[str, Any] | None = None,
    model: str = "model.onnx",
) -> Path:
    """Names, shapes, dtypes, layout, scale, normalization, resize, colour order and classes of an artefact.

    A dimension that is a word is free. `quantization_input` {input name: {"scale", "zero_point", "dtype"}} is
    how the first quantizer sees an input, for whoever feeds integers. A raw sample becomes an input by
    (raw * scale - mean) / std.
    """
    prep = asdict(signature.preprocessing)
    content = {
        "schema": 1,
        "model": model,
        "inputs": [_tensor(spec, (quantization_input or {}).get(spec.name)) for spec in signature.inputs],
        "outputs": [_tensor(spec, None) for spec in signature.outputs],
        "preprocessing": {"formula": "(raw * scale - mean) / std", **prep},
        "classes": list(signature.classes),
    }
    write_text(Path(path), json.dumps(content, indent=1, allow_nan=False) + "\n")
    return Path(path)


def write_run_example(path: Path | str) -> Path:
    """The script that runs the folder's artefact with numpy and onnxruntime alone; it reads io.json."""
    source = resources.files("edgekit.report").joinpath("run_example.py").read_text(encoding="utf-8")
    write_text(Path(path), source)
    return Path(path)


def _tensor(spec: TensorSpec, quantization: dict[str, Any] | None) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape), "quantization": quantization}
