"""What a verb was pointed at: an ONNX file, or the output folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

from edgekit.errors import BadInput


def artefact(path: Path, *, verb: str) -> tuple[Path, str]:
    """The file and its target, of a file or an output folder; BadInput where there is none, or several."""
    if path.is_file():
        return path, "cpu"
    if not path.exists():
        raise BadInput(f"{verb}: there is no '{path}'. Name an ONNX file or the output folder of a run.")
    report = path / "report.json"
    if report.is_file():
        return _of_report(report, verb)
    if (path / "model.onnx").is_file():
        return path / "model.onnx", "cpu"
    boards = sorted(item.parent.name for item in path.glob("*/report.json"))
    if boards:
        raise BadInput(
            f"{verb}: '{path}' holds several boards. Name one: "
            f"{', '.join(str(path / board) for board in boards)}."
        )
    raise BadInput(
        f"{verb}: '{path}' holds neither report.json nor model.onnx, so it is no finished run. Finish the "
        "run, or name an ONNX file."
    )


def _of_report(report: Path, verb: str) -> tuple[Path, str]:
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        name, target = content["result"]["artefact"], content["target"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{verb}: '{report}' is no report of edgekit ({type(error).__name__}: {error}). Run edgekit "
            "compress again."
        ) from error
    file = report.parent / str(name)
    if not file.is_file() or not file.resolve().is_relative_to(report.parent.resolve()):
        raise BadInput(
            f"{verb}: the artefact '{name}' that '{report}' names is not in its folder. Run edgekit "
            "compress again."
        )
    return file, str(target)
