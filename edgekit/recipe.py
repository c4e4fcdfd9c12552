"""The recipe: what to make of a model, for which boards, under which budget; YAML and dataclasses alike."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from edgekit import settings
from edgekit.errors import BadInput, did_you_mean
from edgekit.order import check_order
from edgekit.overrides import override
from edgekit.paths import absolute, relative
from edgekit.registry import transforms
from edgekit.transforms.base import Transform
from edgekit.yaml_lines import Document, read_yaml, write_yaml, yaml_text

__all__ = ["Budget", "Recipe", "check_order", "load_recipe", "parse_recipe", "step_name"]

_NAMED = ("model", "data")  # `model: resnet8`, or with options `model: {resnet8: {width: 64}}`


@dataclass(frozen=True)
class Budget:
    """What the result may cost: milliseconds a batch, bytes of the artefact, drop in the metric's unit.

    Of an FPGA: fps, frames a second at least, and lut, look-up tables at most.
    """

    latency_ms: float | None = None
    size_bytes: int | None = None
    max_drop: float | None = None
    fps: float | None = None
    lut: int | None = None

    def __post_init__(self) -> None:
        for name in ("latency_ms", "size_bytes", "fps", "lut"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(
                    f"budget: {name} is {value}, but nothing can cost that little. Give a value above 0."
                )
        if self.max_drop is not None and self.max_drop < 0:
            raise BadInput(
                f"budget: max_drop is {self.max_drop}, but a drop is counted from 0 upwards. Give 0 for no "
                "drop at all."
            )


@dataclass(frozen=True)
class Recipe:
    """Everything that one run of `compress` is asked to do.

    model, data, metric, loss and fit are names, `package.module:Name` or `./file.py:Name`; None leaves the
    choice to the data (metric, loss) or to edgekit (fit). `calibration` counts samples, `batch` samples a
    training step, `threads` those of the measured runtime. `folding` is a FINN folding file, for FPGAs.

    >>> Recipe(model="resnet8", data="fashion-mnist").objective
    'latency'
    """

    model: str
    model_options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    metric: str | None = None
    loss: str | None = None
    fit: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    amp: bool = False
    boards: tuple[str, ...] = ("this-machine",)
    budget: Budget = field(default_factory=Budget)
    objective: Literal["latency", "size", "energy"] = "latency"
    seed: int = 0
    batch: int = 128
    threads: int = 1
    calibration: int = 512
    folding: str | None = None
    steps: tuple[Transform, ...] = ()
    document: Document | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.boards or len(set(self.boards)) != len(self.boards):
            raise BadInput(
                f"boards: {list(self.boards)} must name at least one board, each once. See: edgekit boards."
            )
        for name in ("batch", "threads", "calibration"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)} is too small. Give at least 1.")
        if self.seed < 0:
            raise BadInput(f"seed: {self.seed} is negative. Give 0 or a positive number.")

    @property
    def is_onnx(self) -> bool:
        """Whether the model is an ONNX file."""
        return self.model.lower().endswith(".onnx")

    @property
    def folder(self) -> Path:
        """The folder that the recipe's relative paths start from."""
        return Path(self.document.source).resolve().parent if self.document else Path.cwd()

    def where(self, *path: Any) -> str:
        """`line 12` of a part of the recipe, or "" where it was not written in a file."""
        return self.document.line(path) if self.document else ""

    def to_yaml(self, *, folder: Path | None = None) -> str:
        """As YAML that `load_recipe` reads back; paths are relative to `folder` where one is given."""
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "document"}
        for name in _NAMED:
            options = plain.pop(f"{name}_options")
            plain[name] = {plain[name]: dict(options)} if options else plain[name]
        plain["budget"] = {
            item.name: getattr(self.budget, item.name)
            for item in fields(self.budget)
            if getattr(self.budget, item.name) is not None
        }
        plain["steps"] = [{step_name(step): _plain(step.settings())} for step in self.steps]
        kept = {key: _plain(value) for key, value in plain.items() if value not in (None, {}, ())}
        kept = relative(kept, folder) if folder is not None else kept
        return write_yaml(kept)


def load_recipe(path: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file; `overrides` are `steps.prune.ratio=0.3`. BadInput names FILE:LINE."""
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.yaml"
    if not path.is_file():
        raise BadInput(
            f"recipe: there is no file '{path}' (looked in {Path.cwd()}). Check the path, or write one "
            "with: edgekit init"
        )
    return parse_recipe(yaml_text(path), source=str(path), overrides=overrides)


def parse_recipe(text: str, *, source: str = "recipe.yaml", overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from text; relative paths start from the folder of `source`."""
    document = read_yaml(text, source=source)
    if not isinstance(document.value, dict):
        raise document.error(
            (), "a recipe is a mapping that names at least a model, such as 'model: resnet8'."
        )
    for item in overrides:
        override(document, item)
    folder = Path(source).resolve().parent
    document.value = absolute(document.value, folder)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return _recipe(document)


def step_name(step: Transform) -> str:
    """What a recipe calls a transform: its registered name, or the place of its class."""
    kind = type(step)
    if kind.name in transforms.names() and transforms.get(kind.name) is kind:
        return str(kind.name)
    module = sys.modules[kind.__module__]
    place = module.__file__ if kind.__module__.startswith("edgekit_user_") else kind.__module__
    return f"{place}:{kind.__qualname__}"


def _recipe(document: Document) -> Recipe:
    values = dict(document.value)
    hints = settings.field_types(Recipe)
    known = [name for name in hints if name != "document"]
    for key in values:
        if key not in known:
            raise document.error((key,), f"'{key}' is no part of a recipe. {did_you_mean(str(key), known)}")
    if values.get("model") is None:
        raise document.error(
            (),
            "the recipe names no model. Add a line such as 'model: resnet8', 'model: ./net.py:Net' or "
            "'model: net.onnx'.",
        )
    for name in _NAMED:
        values.update(_named(document, name, values))
    _refuse_absent_files(document, values)
    budget = _budget(document, values.pop("budget", None))
    steps = _steps(document, values.pop("steps", None))
    fitted = {
        key: settings.fit(value, hints[key], document=document, path=(key,), name=key)
        for key, value in values.items()
    }
    try:
        return Recipe(**fitted, budget=budget, steps=steps, document=document)
    except BadInput as error:
        raise document.error((str(error).partition(":")[0],), str(error)) from error


def _named(document: Document, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`name: x` or `name: {x: {options}}` as the two fields of a recipe."""
    value, options = values.get(name), values.get(f"{name}_options")
    if not isinstance(value, dict):
        return {} if value is None or options is not None else {name: value, f"{name}_options": {}}
    if len(value) != 1 or options is not None:
        sample = "{resnet8: {width: 64}}" if name == "model" else "{npz: {root: ./x.npz}}"
        raise document.error((name,), f"{name} is one name, or one name with its options such as {sample}.")
    ((reference, inner),) = value.items()
    return {name: reference, f"{name}_options": {} if inner is None else inner}


def _refuse_absent_files(document: Document, values: Mapping[str, Any]) -> None:
    files = [
        (key, value)
        for key in ("model", "weights", "data", "metric", "loss", "fit")
        if isinstance(value := values.get(key), str)
    ]
    for key, value in files:
        place = value.rpartition(":")[0] if ".py:" in value else value
        if (key == "weights" or place.endswith((".onnx", ".py"))) and not Path(place).is_file():
            raise document.error(
                (key,),
                f"{key}: there is no file '{place}' (relative paths start from the recipe's folder). Check "
                "the path.",
            )


def _budget(document: Document, value: Any) -> Budget:
    if isinstance(value, dict) and any(str(key).startswith(("energy", "joule")) for key in value):
        raise document.error(
            ("budget",),
            "budget: energy is no budget, because few boards can measure it. Choose objective: energy, or use "
            "latency_ms, size_bytes, size_kib or max_drop.",
        )
    if isinstance(value, dict) and "size_kib" in value:
        if "size_bytes" in value:
            raise document.error(
                ("budget", "size_kib"), "budget: size_kib and size_bytes say the same. Keep one."
            )
        kib = settings.fit(
            value["size_kib"], float, document=document, path=("budget", "size_kib"), name="budget.size_kib"
        )
        rest = {key: item for key, item in value.items() if key != "size_kib"}
        value = {**rest, "size_bytes": int(kib * 1024)}
    return settings.build(Budget, value, document=document, path=("budget",), name="budget")


def _steps(document: Document, value: Any) -> tuple[Transform, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise document.error(
            ("steps",),
            "steps is a list; write each step on a line that begins with '- ', such as '- quantize: "
            "{weights: 8}'.",
        )
    return tuple(_step(document, item, ("steps", index)) for index, item in enumerate(value))


def _step(document: Document, value: Any, path: tuple[Any, ...]) -> Transform:
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value)), str):
        raise document.error(
            path,
            f"step {path[1] + 1} is {settings.show(value)}, but a step is one name with its settings, such "
            "as '- prune: {ratio: 0.4}', or with the settings indented below it.",
        )
    ((name, given),) = value.items()
    try:
        cls = transforms.get(name)
    except BadInput as error:
        raise document.error((*path, name), f"steps: {str(error).removeprefix('transform: ')}") from error
    if not (isinstance(cls, type) and issubclass(cls, Transform)):
        raise document.error(
            (*path, name),
            f"steps: '{name}' is no transform. Derive its class from edgekit.transforms.base.Transform.",
        )
    short = name.rpartition(":")[2]
    return settings.build(cls, given, document=document, path=(*path, name), name=f"steps.{short}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
