"""The kit of targets."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import BadInput
from edgekit.testing.row import Row, fail, named, need, run_checks
from edgekit.testing.sample import sample_graph


def check_target(target: Any) -> list[Row]:
    """A target: capabilities for each board, export, a runner that agrees with ONNX, an audit, no torch."""
    return run_checks(
        [
            ("has a name and a docstring", lambda: named(type(target), target.name)),
            ("makes capabilities for each of its boards", lambda: _caps(target)),
            ("lints a sound graph without an error", lambda: _lints(target)),
            (
                "exports an artefact that its runner loads",
                lambda: str(_exported(target, lambda path, graph: path.name)),
            ),
            ("the runner agrees with the ONNX reference", lambda: _agrees(target)),
            ("the runner refuses a wrong shape in one line", lambda: _refuses_shape(target)),
            ("audits its own artefact", lambda: _audits(target)),
            ("the runner needs no torch", lambda: _without_torch(target)),
        ]
    )


def _caps(target: Any) -> str:
    names = [board.name for board in _boards(target)]
    need(bool(names), f"no board names the target '{target.name}'")
    for board in _boards(target):
        need(target.caps(board).channel_multiple >= 1, f"{board.name}: channel_multiple is below 1")
        json.dumps(target.caps(board).key())
    return ", ".join(names)


def _boards(target: Any) -> list[Any]:
    from edgekit.target import board_names, find_board

    return [board for board in map(find_board, board_names()) if board.target == target.name]


def _lints(target: Any) -> str:
    findings = target.lint(sample_graph(), target.caps(_boards(target)[0]))
    errors = [finding.what for finding in findings if finding.severity == "error"]
    need(not errors, "; ".join(errors))
    return f"{len(findings)} findings"


def _exported(target: Any, use: Callable[[Path, Any], Any]) -> Any:
    graph = sample_graph()
    with tempfile.TemporaryDirectory(prefix="edgekit-conformance-") as folder:
        artefact = target.export(graph, None, _boards(target)[0], Path(folder) / "model.onnx")
        target.runner(artefact.path)
        return use(artefact.path, graph)


def _agrees(target: Any) -> str:
    from onnx.reference import ReferenceEvaluator

    feeds = {"input": np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)}

    def gap(path: Path, graph: Any) -> float:
        got = next(iter(target.runner(path).run(feeds).values()))
        want: Any = ReferenceEvaluator(graph).run(None, feeds)
        return float(np.abs(got - want[0]).max())

    worst = _exported(target, gap)
    need(worst < 1e-3, f"outputs differ by {worst:.2g}")
    return f"largest difference {worst:.1g}"


def _refuses_shape(target: Any) -> str:
    def attempt(path: Path, graph: Any) -> str:
        try:
            target.runner(path).run({"input": np.zeros((1, 3, 16), np.float32)})
        except BadInput as error:
            return str(error)
        return fail("an input [1, 3, 16] was accepted")

    return str(_exported(target, attempt))


def _audits(target: Any) -> str:
    seen = _exported(target, lambda path, graph: target.audit(path))
    need(seen.float_compute_nodes + seen.integer_compute_nodes > 0, "no compute node was seen")
    return f"{seen.float_compute_nodes} float and {seen.integer_compute_nodes} integer compute nodes"


def _without_torch(target: Any) -> str:
    def attempt(path: Path, graph: Any) -> str:
        code = (
            "import sys; from edgekit.target import find_target; from pathlib import Path; "
            f"find_target({target.name!r}).runner(Path({str(path)!r})); sys.exit('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        need(done.returncode == 0, (done.stderr.strip().splitlines() or ["torch was imported"])[-1])
        return "loaded in a fresh process"

    return str(_exported(target, attempt))
