"""A first recipe for a model: what was found in it, and steps that run as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any

from edgekit import subject
from edgekit.errors import BadInput
from edgekit.inspection import Check, as_onnx, check
from edgekit.paths import absolute, relative
from edgekit.subject import Samples
from edgekit.target import Caps, find_board, target_of


@dataclass(frozen=True)
class Found:
    """What tracing a model on its data found."""

    model: str
    data: str
    boards: tuple[str, ...]
    check: Check
    input_shape: tuple[int | str, ...]
    classes: int
    labelled: bool
    is_file: bool


def trace(model: str, *, data: str, boards: Sequence[str]) -> Found:
    """Make the model for the data, run one sample through it, export it and look at every board."""
    samples = subject.find_samples(data)
    if subject.is_onnx(model):
        graph = as_onnx(model)
        _refuse_misfit(graph, model, samples)
    else:
        graph = as_onnx(_model_that_fits(model, samples), subject.example_for(model, samples=samples))

    from edgekit.export.to_onnx import signature_of

    return Found(
        model,
        data,
        tuple(dict.fromkeys(boards)),
        check(graph, boards=list(dict.fromkeys(boards))),
        signature_of(graph).inputs[0].shape,
        samples.classes,
        samples.labelled,
        subject.is_onnx(model),
    )


def recipe_text(found: Found, *, weights: Path | None, out: Path) -> str:
    """The recipe as commented YAML; paths are relative to the folder of `out`."""
    folder = out.resolve().parent
    near = partial(_near, folder=folder)
    lines = [*_facts(found), "", f"model: {near(found.model)}"]
    if weights is not None:
        lines.append(f"weights: {near(str(weights.resolve()))}")
    elif not found.is_file:
        lines.append("# weights: ./net.safetensors        # trained weights: a state dict, or safetensors")
    lines += [
        f"data: {near(found.data)}",
        f"boards: [{', '.join(found.boards)}]",
        "# budget: {latency_ms: 1.0, max_drop: 0.01}      # a miss is reported, and exits with 1",
        "objective: latency                 # or size, or energy where a power sensor is",
        "seed: 0",
        "",
        "steps:",
    ]
    return "\n".join([*lines, *_steps(found, trained=weights is not None)]) + "\n"


def _near(text: str, *, folder: Path) -> str:
    return str(relative(absolute(text, Path.cwd()), folder))


def _refuse_misfit(graph: Any, model: str, samples: Samples) -> None:
    from edgekit.export.to_onnx import signature_of

    spec = signature_of(graph).inputs[0]
    sample = tuple(samples.first().shape)
    if not spec.fits(sample):
        raise BadInput(
            f"init: '{model}' takes {spec.name} {list(spec.shape)}, but a sample of '{samples.name}' is "
            f"{list(sample)}. Give other --data."
        )


def _model_that_fits(model: str, samples: Samples) -> Any:
    import torch

    made = subject.make_model(model, samples=samples).eval()
    sample = samples.first()
    try:
        with torch.no_grad():
            made(sample)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"init: '{model}' does not take a sample {list(sample.shape)} of '{samples.name}': {reason}. "
            "Give other --data, or the model's options in the recipe."
        ) from error
    return made


def _facts(found: Found) -> list[str]:
    seen = found.check
    kinds = ", ".join(f"{count} {name}" for name, count in list(seen.operators.items())[:6])
    lines = [
        f"# {found.model} on {found.data}: input {list(found.input_shape)}"
        + (f", {found.classes} classes" if found.classes else ""),
        f"# {sum(seen.operators.values())} operators ({kinds})",
        f"# {seen.params:,} parameters, {seen.macs:,} MACs a sample, {seen.bytes / 1024:,.0f} KiB of float "
        f"weights, {seen.peak_activation_bytes / 1024:,.0f} KiB of activations at the peak",
    ]
    for item in seen.boards:
        lines += wrap(
            f"{item.board} ({item.title}): {item.expects}", 108, initial_indent="# ", subsequent_indent="#   "
        )
        lines += [
            f"#   {finding.severity}: {finding.layer or finding.node or 'model'}: {finding.what}. "
            f"{finding.remedy}"
            for finding in item.findings
        ]
    return lines


def _steps(found: Found, *, trained: bool) -> list[str]:
    caps = [_caps(board) for board in found.boards]
    multiple = max(item.channel_multiple for item in caps)
    exclude = '      # exclude: ["head.*"] keeps layers in float'
    if found.is_file or not found.labelled:
        return [f"  - quantize: {_grid(caps)}{exclude}"]
    prune = [
        f"  # - prune: {{ratio: 0.3, by: l2}}      # widths stay multiples of {multiple} on this board",
        "  # - finetune: {epochs: 3, teacher: original}",
    ]
    if trained:
        return [*prune, f"  - quantize: {_grid(caps)}{exclude}"]
    return [
        "  - finetune: {epochs: 3}      # no trained weights were given: this trains the network",
        *prune,
        f"  - quantize: {_grid(caps)}{exclude}",
    ]


def _grid(caps: Sequence[Caps]) -> str:
    return "{precision: int8}" if all("int8" in item.precisions for item in caps) else "{precision: fp16}"


def _caps(name: str) -> Caps:
    board = find_board(name)
    return target_of(board).caps(board)
