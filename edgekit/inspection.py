"""Looking without changing: what a runtime makes of a file, and what boards will make of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import BadInput
from edgekit.target import NO_TARGET, UNSERVED, Finding, find_board, find_target, target_of

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

    from edgekit.target import Audit


@dataclass(frozen=True)
class BoardCheck:
    """What one board makes of a model: findings, and the sentence about the gain to expect there."""

    board: str
    title: str
    expects: str
    findings: tuple[Finding, ...]

    @property
    def runs(self) -> bool:
        """Whether nothing was found that the board cannot run."""
        return all(finding.severity != "error" for finding in self.findings)


@dataclass(frozen=True)
class Check:
    """Operators by name, parameters, MACs of one sample, bytes of weights and activations, every board."""

    operators: dict[str, int]
    params: int
    macs: int
    bytes: int
    peak_activation_bytes: int
    boards: tuple[BoardCheck, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)


def audit(path: str | Path, *, target: str = "cpu") -> Audit:
    """What of a file the target's runtime really runs in integers, what not, why, and the remedy.

    Works on any tool's file. Raises BadInput where it cannot be read or loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"audit: there is no file '{path}'. Name an ONNX file.")
    return find_target(target).audit(path)


def check(
    model: nn.Module | onnx.ModelProto | str | Path,
    *,
    boards: Sequence[str] = ("this-machine",),
    example: Mapping[str, torch.Tensor] | None = None,
) -> Check:
    """What a model costs and what of it each board cannot run, or runs badly; nothing is trained.

    model: a module with `example` {input name: tensor [1, ...]}, an onnx.ModelProto, a file, or a name.
    """
    from edgekit.analysis.graph_cost import graph_cost, peak_activation_bytes

    graph = as_onnx(model, example)
    cost = graph_cost(graph)
    return Check(
        operators=dict(Counter(node.op_type for node in graph.graph.node).most_common()),
        params=cost.params,
        macs=cost.macs,
        bytes=cost.bytes,
        peak_activation_bytes=peak_activation_bytes(graph),
        boards=tuple(_on_board(graph, name) for name in boards),
    )


def as_onnx(model: Any, example: Mapping[str, torch.Tensor] | None = None) -> Any:
    """A fused fp32 onnx.ModelProto of a module, a name, or an ONNX file."""
    from edgekit import subject
    from edgekit.export.to_onnx import load_onnx, to_onnx

    if hasattr(model, "opset_import"):
        return model
    if isinstance(model, (str, Path)):
        if subject.is_onnx(str(model)):
            return load_onnx(Path(model))
        example = example or subject.example_for(str(model))
        model = subject.make_model(str(model))
    if example is None:
        raise BadInput("check: a module needs an example input. Give example={'input': tensor [1, ...]}.")
    return to_onnx(model, dict(example))


def _on_board(graph: onnx.ModelProto, name: str) -> BoardCheck:
    board = find_board(name)
    if board.target == NO_TARGET:
        unserved = Finding("error", "", "", UNSERVED, str(board.facts.get("instead", "")))
        return BoardCheck(board.name, board.title, "", (unserved,))
    target = target_of(board)
    caps = target.caps(board)
    return BoardCheck(board.name, board.title, caps.expects, tuple(target.lint(graph, caps)))
