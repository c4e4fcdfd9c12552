"""Whether a file's latency is that of a trained network: no denormals, settled BatchNorm statistics."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from edgekit.profile.denormals import check_times, check_values, unsettled_batchnorm
from edgekit.profile.fresh import fresh
from edgekit.target import Finding
from targets.cpu.nodes import Graph, read
from targets.cpu.runtime import OrtRunner


def guard(path: Path, feeds: Mapping[str, np.ndarray]) -> list[Finding]:
    """Findings where `path` computes on denormals with these inputs, or holds BatchNorm as it was made.

    Every intermediate float tensor is looked at; where one is denormal, the file is timed in two fresh
    processes, with and without denormals flushed to zero, because onnxruntime keeps the mode of a process's
    first session.
    """
    model = read(Path(path))
    findings = unsettled_batchnorm(model)
    seen = check_values({**feeds, **intermediate(model, feeds)})
    if not seen:
        return findings
    plain, flushed = (fresh(path, feeds, runs=30, flush_to_zero=flag).run_seconds for flag in (False, True))
    slower = check_times(plain, flushed)
    return [*findings, *slower, *(seen[:1] if slower else [_harmless(seen[0], plain, flushed)])]


def _harmless(seen: Finding, plain: float, flushed: float) -> Finding:
    """The same finding as a note: this CPU computes denormals as fast as other numbers, the next may not."""
    return replace(
        seen,
        severity="note",
        what=f"{seen.what}; not on this CPU ({1e3 * plain:.3g} ms, "
        f"{1e3 * flushed:.3g} ms with denormals flushed to zero)",
    )


def intermediate(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor that the graph computes, by name, without onnxruntime's optimizer."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    known = {value.name for value in opened.graph.output}
    names = [name for node in Graph(model).nodes for name in node.outputs if name and name not in known]
    opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    with tempfile.TemporaryDirectory(prefix="edgekit-guard-") as folder:
        path = Path(folder) / "opened.onnx"
        onnx.save(opened, path, save_as_external_data=opened.ByteSize() > 2**30, location="opened.data")
        return OrtRunner(path, optimization="none").run(feeds)
