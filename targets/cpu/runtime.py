"""Running an ONNX file with onnxruntime on the CPU; needs neither torch nor onnx.

The options are those of a quiet measurement and of a shared board: threads do not spin while they wait, and
the whole optimizer is on. Denormals are left as onnxruntime leaves them (`flush_to_zero=False`), so that a
figure is what the file gives in plain onnxruntime; `targets.cpu.guard` looks for files where that matters.
The options session.qdqisint8allowed and session.x64quantprecision are never set: on x86 with VNNI they
choose kernels that are two to ten times slower.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput, MissingDependency
from edgekit.profile import clock as clocks
from edgekit.profile.executed import without_profiler
from edgekit.profile.operators import OperatorTime, operator_times
from edgekit.signature import Signature, TensorSpec

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
OPTIMIZATIONS = ("all", "basic", "none")
SKIPPED = 3  # runs before the operators are timed


class OrtRunner:
    """An ONNX file in onnxruntime's CPU provider.

    `optimized_path` saves the graph that onnxruntime really runs; `optimization` is all, basic or none, and
    `without` names passes of its optimizer that are left out.
    `flush_to_zero` treats denormals as zero; onnxruntime applies it to the calling thread for the first
    session of a process only, so a process must not mix both. `load_seconds` is how long loading took.
    BadInput where the file is broken or an operator has no kernel.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimized_path: Path | None = None,
        profile: bool = False,
        optimization: str = "all",
        flush_to_zero: bool = False,
        without: tuple[str, ...] = (),
    ) -> None:
        self.path, self.threads = Path(path), threads
        self._folder = tempfile.TemporaryDirectory(prefix="edgekit-profile-") if profile else None
        options = _options(threads, optimization, flush_to_zero)
        if without:
            options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(without))
        if optimized_path is not None:
            options.optimized_model_filepath = str(optimized_path)
        if self._folder is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(self._folder.name) / "run")
        start = time.perf_counter()
        self._session = _session(self.path, options)
        self.load_seconds = time.perf_counter() - start
        self._outputs = [node.name for node in self._session.get_outputs()]

    @property
    def signature(self) -> Signature:
        """The inputs and outputs that the file declares."""
        return Signature(
            tuple(_spec(node) for node in self._session.get_inputs()),
            tuple(_spec(node) for node in self._session.get_outputs()),
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; BadInput naming the input that does not fit."""
        try:
            values = self._session.run(self._outputs, feeds)
        except Exception as error:
            self.signature.check(feeds)
            raise BadInput(
                f"{self.path}: running failed: {_first_line(error)}. Check the input values and shapes."
            ) from error
        return dict(zip(self._outputs, values, strict=True))

    def prepare(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """A call that runs `feeds`, checked and bound beforehand, so that timings hold the network alone."""
        self.run(feeds)
        binding = self._session.io_binding()
        for name, value in feeds.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name in self._outputs:
            binding.bind_output(name, "cpu")
        run = self._session.run_with_iobinding
        return lambda: run(binding)

    def operator_times(self, feeds: Mapping[str, np.ndarray], repeats: int = 20) -> list[OperatorTime]:
        """Microseconds of each node, the mean of the middle half of `repeats` runs, in the order they run.

        Times come from onnxruntime's own profiler, in a session of its own, because profiling slows a run; what it
        adds to each node is taken off, by runs without it in between.
        """
        profiled = OrtRunner(self.path, threads=self.threads, profile=True)
        bare, totals = self.prepare(feeds), []
        for _ in range(repeats + SKIPPED):
            profiled.run(feeds)
            totals.append(clocks.timed(bare) / 1e3)
        rows = _node_times(profiled._trace(), skip=SKIPPED)
        total = float(np.mean(_middle(totals[SKIPPED:])))
        times = without_profiler([time for _, _, time in rows], total).microseconds
        layers = source_layers(self.path, [name for name, _, _ in rows])
        return operator_times(
            (name, layers.get(name, ""), operator, time)
            for (name, operator, _), time in zip(rows, times, strict=True)
        )

    def _trace(self) -> list[dict[str, Any]]:
        path = Path(self._session.end_profiling())
        try:
            events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
            return events
        finally:
            path.unlink()
            if self._folder is not None:
                self._folder.cleanup()


def _options(threads: int, optimization: str, flush_to_zero: bool) -> Any:
    ort = _onnxruntime()
    if optimization not in OPTIMIZATIONS:
        raise BadInput(
            f"cpu: the optimization '{optimization}' is unknown. Known: {', '.join(OPTIMIZATIONS)}."
        )
    level = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = {
        "all": level.ORT_ENABLE_ALL,
        "basic": level.ORT_ENABLE_BASIC,
        "none": level.ORT_DISABLE_ALL,
    }[optimization]
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if flush_to_zero:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _session(path: Path, options: Any) -> Any:
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file. Check the path.")
    try:
        return _onnxruntime().InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BadInput(_why_not_loaded(path, error)) from error


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("onnxruntime", "cpu", "running an ONNX file") from error
    return onnxruntime


def _why_not_loaded(path: Path, error: Exception) -> str:
    text = _first_line(error)
    missing = re.search(r"Could not find an implementation for (\S+) node with name '([^']*)'", text)
    if missing:
        return (
            f"{path}: onnxruntime has no CPU kernel for {missing.group(1)} at node '{missing.group(2)}'. "
            "Replace the operation, or keep that layer out of the precision that needs it."
        )
    unknown = re.search(
        r'In Node, \("([^"]*)", (\w+), "([^"]*)".* Error No (?:Op registered|opset import)', text
    )
    if unknown:
        node, operator, domain = unknown.groups()
        return (
            f"{path}: onnxruntime does not know the operator {domain + ':' if domain else ''}{operator} at "
            f"node '{node}', in this opset. Export with standard ONNX operators."
        )
    if type(error).__name__ == "InvalidProtobuf":
        return f"{path}: this is not an ONNX file, or it is cut off. Export it again."
    return (
        f"{path}: onnxruntime cannot load it: {text}. Check the file with onnx.checker, or export it again."
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(
        r"^(\[ONNXRuntimeError\] : \d+ : \w+ : )?(Load model from \S+ failed: ?)?", "", lines[0]
    ).rstrip(". ")


def _spec(node: Any) -> TensorSpec:
    shape = tuple(
        size if isinstance(size, (int, str)) else f"{node.name}_{axis}"
        for axis, size in enumerate(node.shape)
    )
    return TensorSpec(node.name, DTYPES.get(node.type, node.type), shape)


def _node_times(trace: list[dict[str, Any]], *, skip: int) -> list[tuple[str, str, float]]:
    """(node, operator, microseconds) of each node, without its first `skip` runs."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in trace:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]].append(event["dur"])
    return [
        (name, operator, float(np.mean(_middle(values[skip:])))) for (name, operator), values in times.items()
    ]


def _middle(values: list[float]) -> list[float]:
    """The middle half: the profiler counts whole microseconds, so a mean says more than a median."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    return ordered[quarter : len(ordered) - quarter]


def source_layers(path: Path, nodes: list[str]) -> dict[str, str]:
    """The source layer of each node, where the package onnx is there (a board does not need it)."""
    try:
        from targets.cpu.nodes import layers_of
    except ImportError:
        return {}
    return layers_of(path, nodes)
