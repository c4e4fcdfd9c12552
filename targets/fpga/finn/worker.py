"""FINN's side: runs in FINN's own environment and imports nothing of edgekit.

`python worker.py TASK.json` runs FINN's steps. What FINN says goes to the file `log` of the task; standard
output carries one JSON object a line: `{"step", "number", "of"}` when a step starts, `{"seconds"}` when it is
done, at the end `{"done"}` or `{"failed": step, "layer", "reason"}`.
`python worker.py --check` imports the builder and prints the versions.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

LAYER = "edgekit.layer"  # metadata key: the layer of a node
VERIFY = "verify_streamlined"  # a step of ours: FINN's steps for residual nets do not check their result
FEEDERS = ("ConvolutionInputGenerator", "FMPadding")
COMPUTE = ("Conv", "MatMul", "Gemm", "MVAU", "VVAU", "XnorPopcountMatMul")
Tell = Callable[..., None]
Names = dict[str, str]


def main(task: dict[str, Any]) -> int:
    """Run the steps of a task; 0 where all ran."""
    events = _own_the_output(Path(task["log"]))

    def tell(**event: Any) -> None:
        print(json.dumps(event), file=events, flush=True)

    os.chdir(task["folder"])
    builder = _finn()
    from finn.builder.build_dataflow_config import DataflowBuildConfig

    config = DataflowBuildConfig.from_dict(task["config"])
    sources = _sources(task["source"])
    of = len(task["steps"])
    config.steps = [
        _watched(_step(name, builder, config), number, of, tell, sources)
        for number, name in enumerate(task["steps"], start=1)
    ]
    code = builder.build_dataflow_cfg(task["model"], config)
    if code == 0:
        tell(done=True)
    return 0 if code == 0 else 1


def check() -> None:
    """Import the builder; print Python's version and the packages' as one JSON line."""
    from importlib.metadata import distributions

    _finn()
    packages = sorted((item.metadata["Name"].lower(), item.version) for item in distributions())
    told = {"python": platform.python_version(), "packages": dict(packages)}
    print(json.dumps(told), file=sys.stdout)


def _own_the_output(log: Path) -> TextIO:
    """Standard output as it was; from here on what FINN prints goes to `log`."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    return events


def _finn() -> Any:
    """FINN's builder, importable without Vivado and without torch.

    It asks for Vivado's simulator when it is imported and for Vivado's version when it ends; an estimate uses
    neither. torch serves its LayerNorm alone.
    """
    import importlib.util

    absent = importlib.util.find_spec("torch") is None
    stand_ins = {name: types.ModuleType(name) for name in ("torch", "torch.nn", "torch.nn.functional")}
    stand_ins["torch"].Tensor = type("Tensor", (), {})  # type: ignore[attr-defined]
    stand_ins["torch.nn"].functional = stand_ins["torch.nn.functional"]  # type: ignore[attr-defined]
    if absent:
        sys.modules.update(stand_ins)
    import finn.xsi

    finn.xsi.SimEngine = object
    import finn.builder.build_dataflow as builder

    if absent:
        for name in stand_ins:
            del sys.modules[name]
    builder.get_vivado_root = lambda: "none"
    return builder


def _step(name: str, builder: Any, config: Any) -> Callable[..., Any]:
    if name == VERIFY:
        return verify_streamlined
    step: Callable[..., Any] = builder.resolve_build_steps(config, partial=False, list_as_input=[name])[0]
    return step


def verify_streamlined(model: Any, config: Any) -> Any:
    """Execute the streamlined network on the verification arrays, as FINN's own streamlining step does."""
    from finn.builder.build_dataflow_steps import verify_step

    if "streamlined_python" in [step.value for step in config.verify_steps or []]:
        verify_step(model, config, "streamlined_python", need_parent=False)
    return model


def _watched(
    step: Callable[..., Any], number: int, of: int, tell: Tell, sources: list[tuple[str, int]]
) -> Callable[..., Any]:
    """The step, telling when it starts and ends, and which layer stopped it."""

    def run(model: Any, config: Any) -> Any:
        tell(step=step.__name__, number=number, of=of)
        start = time.monotonic()
        try:
            made = step(model, config)
        except BaseException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            tell(failed=step.__name__, layer=_layer(model.graph, reason, sources), reason=reason)
            raise
        tell(seconds=round(time.monotonic() - start, 3))
        if number == of:
            names = json.dumps(_names(made.graph, sources), indent=2)
            Path(config.output_dir, "report", "layers.json").write_text(names, encoding="utf-8")
        return made

    run.__name__ = step.__name__
    return run


def _sources(path: str) -> list[tuple[str, int]]:
    """(layer, number of weights) of a file's nodes that hold weights; where no layer is noted, the node's name."""
    import onnx

    found = []
    for node, size in _compute(onnx.load(path).graph):
        layers = [item.value for item in node.metadata_props if item.key == LAYER]
        found.append((layers[0] if layers else node.name, size))
    return found


def _layer(graph: Any, reason: str, sources: list[tuple[str, int]]) -> str:
    """The node that FINN's sentence names, with its name in the file where it is known."""
    names = _names(graph, sources)
    nodes = {node.name for node in graph.node}
    for word in re.findall(r"\w+_\d+", reason):
        if word in nodes:
            return f"{word} ({names[word]})" if names.get(word) else word
    return ""


def _names(graph: Any, sources: list[tuple[str, int]]) -> Names:
    """FINN's nodes with the layer of the file they serve: their own, that which feeds them, or that they feed.

    FINN renames and replaces nodes, but those that hold as many weights stay in the file's order; where their
    number differs they are not named. Windows and paddings belong to the layer they feed.
    """
    names: Names = {}
    found = _compute(graph)
    for size in {size for _, size in sources}:
        here = [node.name for node, number in found if number == size]
        there = [layer for layer, number in sources if number == size]
        if len(here) == len(there):
            names |= dict(zip(here, there, strict=True))
    own = {node.name for node, _ in found}
    others = [node for node in graph.node if node.input and node.name not in own]
    makers = {tensor: node.name for node in graph.node for tensor in node.output}
    takers = {tensor: node.name for node in reversed(graph.node) for tensor in node.input}
    for node in others:
        if not node.op_type.startswith(FEEDERS):
            names[node.name] = names.get(makers.get(node.input[0], ""), "")
    for node in reversed(others):
        if not names.get(node.name):
            names[node.name] = names.get(takers.get(node.output[0], ""), "")
    return names


def _compute(graph: Any) -> list[tuple[Any, int]]:
    """(node, number of weights) of the nodes that hold weights, in order."""
    makers = {tensor: node for node in graph.node for tensor in node.output}
    sizes = {item.name: _size(item.dims) for item in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type.split("_")[0] in COMPUTE and len(node.input) > 1:
            tensor = node.input[1]
            while tensor in makers and makers[tensor].input:
                tensor = makers[tensor].input[0]
            if tensor in sizes:
                found.append((node, sizes[tensor]))
    return found


def _size(dims: Any) -> int:
    size = 1
    for dim in dims:
        size *= dim
    return size


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check()
    else:
        sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
