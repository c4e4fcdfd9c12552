"""Running a file where TensorRT and a GPU are: its engine, built once and kept in engines/ beside the file.

All that touches TensorRT and CUDA is board/measure.py's, which a board without edgekit runs too.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.profile.latency import batch_of
from edgekit.profile.operators import OperatorTime, operator_times
from edgekit.signature import Signature, TensorSpec
from edgekit.target import Board
from targets.cpu.runtime import source_layers
from targets.jetson.board import measure
from targets.jetson.caps import PRECISION_KEY, release_of

METADATA = 14  # the field of an ONNX file


@dataclass(frozen=True)
class Here:
    """TensorRT and the GPU of this machine; `device` holds the model, the GPU's name and its compute capability."""

    tool: measure.Tensorrt
    device: Mapping[str, Any]

    def is_board(self, board: Board) -> bool:
        """Whether this machine is that board: by its GPU, the model in its device tree, and TensorRT's generation."""
        module = board.title.partition(",")[0].removeprefix("NVIDIA Jetson ").lower()
        model = str(self.device["model"] or "").lower().replace("-", " ")
        return (
            module in model
            and board.facts.get("compute_capability") == self.device["compute_capability"]
            and release_of(board)[0] == int(self.tool.version.partition(".")[0])
        )


@cache
def here(root: Path = Path("/")) -> Here | str:
    """What can build and run engines here, or why nothing can; one a process, as TensorRT keeps its first logger."""
    module, why = measure.import_tensorrt()
    if module is None:
        return why
    try:
        cuda = measure.load_cuda()
        return Here(
            measure.Tensorrt(module, cuda), {**measure.board_facts(root), **measure.gpu_facts(cuda, root)}
        )
    except measure.Stop as stop:
        return str(stop)


class EngineRunner:
    """A file's engine in the TensorRT that is here; it runs a sample at a time where the file leaves the batch free.

    `load_seconds` is how long loading took, a build not counted. BadInput where there is no TensorRT or no GPU, where
    it refuses the file, or where folder and memory do not do.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        self.path, found = Path(path), here()
        if isinstance(found, str):
            raise BadInput(f"{path}: no engine can be built here: {found}.")
        if not self.path.is_file():
            raise BadInput(f"{path}: there is no such file. Check the path.")
        self._here, self.of = found, f"artefact in TensorRT {found.tool.version} on this machine"
        self._plan = measure.Plan(precision_of(self.path), self.path, measure.sha256_of(self.path))
        self._sessions: dict[int, measure.Session] = {}
        weakref.finalize(self, _close, self._sessions)
        self._session(1)

    @cached_property
    def signature(self) -> Signature:
        """The inputs and outputs that the file declares."""
        with _told():
            io = measure.read_onnx_io(self.path)
        return Signature(tuple(map(_spec, io["inputs"])), tuple(map(_spec, io["outputs"])))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; BadInput naming the input that does not fit."""
        self.signature.check(feeds)
        session, count = self._session(1), batch_of(feeds)
        with _told():
            parts = [self._part(session, feeds, start, count) for start in range(0, count, session.batch)]
        return {
            spec.name: np.concatenate([part[spec.name] for part in parts])[:count].astype(spec.dtype)
            for spec in self.signature.outputs
        }

    def prepare(self, feeds: Mapping[str, np.ndarray]) -> Callable[[], object]:
        """A call that copies `feeds` in, computes and copies out, bound beforehand."""
        self.signature.check(feeds)
        session = self._session(self._batch(feeds))
        with _told():
            self._part(session, feeds, 0, session.batch)
        return partial(self._once, session)  # bound to the runner, whose end closes the session

    def _once(self, session: measure.Session) -> None:
        with _told():
            session.once()

    def operator_times(self, feeds: Mapping[str, np.ndarray], repeats: int = 20) -> list[OperatorTime]:
        """Microseconds of each layer of the engine, the mean of `repeats` runs, by TensorRT's own profiler."""
        self.signature.check(feeds)
        with _told():
            session = self._load(self._batch(feeds))  # of its own: a profiler slows every run after it
            try:
                self._fill(session, feeds, 0, session.batch)
                rows = measure.layer_rows(session.information(), session.layer_times(repeats))
            finally:
                session.close()
        layers = source_layers(self.path, [node for row in rows for node in row["nodes"]])
        return operator_times(
            (row["name"], _layer(row, layers), row["type"] or "", 1e3 * row["ms"])
            for row in rows
            if row["ms"] is not None
        )

    def _part(
        self, session: measure.Session, feeds: Mapping[str, np.ndarray], start: int, count: int
    ) -> dict[str, np.ndarray]:
        """The outputs of one run, of the samples from `start` on."""
        self._fill(session, feeds, start, count)
        session.once()
        return {tensor.name: _read(tensor) for tensor in session.tensors if not tensor.is_input}

    def _fill(
        self, session: measure.Session, feeds: Mapping[str, np.ndarray], start: int, count: int
    ) -> None:
        # past the end the last sample again
        rows = np.minimum(np.arange(start, start + session.batch), count - 1)
        for tensor in session.tensors:
            if tensor.is_input:
                value = feeds[tensor.name]
                value = value if count == session.batch else value[rows]
                session.fill(tensor, np.ascontiguousarray(value, tensor.code).tobytes())

    def _batch(self, feeds: Mapping[str, np.ndarray]) -> int:
        """How many samples a run has; 1 stands for what a file fixes."""
        first = self.signature.inputs[0].shape
        return batch_of(feeds) if first and isinstance(first[0], str) else 1

    def _session(self, batch: int) -> measure.Session:
        """The engine for a batch size, with its buffers."""
        if batch not in self._sessions:
            with _told():
                self._sessions[batch] = self._load(batch)
        return self._sessions[batch]

    def _load(self, batch: int) -> measure.Session:
        """Build the engine if it is not there, and load it; one that cannot be loaded is built once more."""
        tool, device = self._here.tool, self._here.device
        options = measure.arguments(["--batch", str(batch)])
        store = measure.Store(self.path.parent, _prefix(self.path, batch))
        bench = measure.Bench(tool, store, {}, device, options)
        engine = store.engine(self._plan.precision)
        with contextlib.redirect_stdout(sys.stderr):  # a command's own output may be JSON
            bench.obtain(self._plan)
            start = time.perf_counter()
            try:
                session = tool.load(engine, options)
            except measure.Unloadable as error:
                bench.obtain(self._plan, anew=f"it could not be loaded: {error}")
                session = tool.load(engine, options)
        self.load_seconds = time.perf_counter() - start
        return session


def precision_of(path: Path) -> str:
    """What an engine of a file is built for: int8 where it has Q/DQ pairs, else what its export noted, else fp32."""
    if measure.has_pairs(path):
        return "int8"
    parts = [part for field, part in measure.fields(path.read_bytes()) if field == METADATA]
    noted = {measure.word(part, 1): measure.word(part, 2) for part in parts}
    return "fp16" if noted.get(PRECISION_KEY) == "fp16" else "fp32"


def _prefix(path: Path, batch: int) -> str:
    """Before an engine's name, so that files of a folder do not share one; model.onnx has what measure.py calls it."""
    parts = [] if path.name == "model.onnx" else [path.stem]
    return "".join(f"{part}-" for part in [*parts, *([] if batch == 1 else [f"batch{batch}"])])


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What measure.py stops for, as BadInput."""
    try:
        yield
    except measure.Stop as stop:
        raise BadInput(str(stop)) from stop


def _close(sessions: dict[int, measure.Session]) -> None:
    for session in sessions.values():
        session.close()


def _read(tensor: measure.Tensor) -> np.ndarray:
    data = ctypes.string_at(tensor.host, tensor.nbytes)
    return np.frombuffer(data, tensor.code).reshape(tensor.shape)


def _spec(item: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(item["name"], item["dtype"], tuple(item["shape"]))


def _layer(row: Mapping[str, Any], layers: Mapping[str, str]) -> str:
    """The source layer of the first node that has one."""
    return next((layers[node] for node in row["nodes"] if layers.get(node)), "")
