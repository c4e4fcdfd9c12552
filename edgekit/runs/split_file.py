"""The run file of split learning: a model, data, an optimizer, and who holds which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgekit import registry, settings
from edgekit.codecs.codec import Codec
from edgekit.errors import BadInput, did_you_mean
from edgekit.runs.named import make, split_name
from edgekit.runs.plain import parse_plain
from edgekit.split.build import CLIENT
from edgekit.split.placement import Slice
from edgekit.split.simulate import Wires
from edgekit.yaml_lines import Document, yaml_text


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent."""

    lr: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def make(self, parameters: Any) -> Any:
        """Torch's own."""
        import torch

        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma, Ba, 2015)."""

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0

    def make(self, parameters: Any) -> Any:
        """Torch's own."""
        import torch

        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(parameters, lr=self.lr, betas=betas, weight_decay=self.weight_decay)


OPTIMIZERS: Mapping[str, type[Sgd] | type[Adam]] = {"sgd": Sgd, "adam": Adam}


@dataclass(frozen=True)
class Parts:
    """Who holds what; see `Placement` and `Split`.

    cuts: names after which the model is cut (edgekit split plan MODEL lists them); segments: the agent of each, or
    {module: agent} in place of cuts; inputs, labels: who holds them. Where several hold features of the same samples,
    inputs is {input of the model: {holder: AGENT, features: [start, stop]}}, along this axis of a sample.

    clients: where several hold samples, `client` in the others stands for each; every: steps between two averages or
    turns. Beside these, values and gradients name the codecs of what crosses.
    """

    segments: tuple[str, ...] | Mapping[str, str]
    inputs: str | Mapping[str, Slice]
    labels: str
    cuts: tuple[str, ...] = ()
    axis: int = -1
    labels_leave: bool = False
    inputs_leave: bool = False
    clients: tuple[str, ...] = ()
    mode: Literal["sequential", "splitfed-v1", "splitfed-v2"] = "sequential"
    averager: str | None = None
    every: int = 1
    micro_batches: int = 1
    spares: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("every", "micro_batches"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)} is too small. Give at least 1.")
        if self.cuts and isinstance(self.segments, Mapping):
            raise BadInput("cuts: segments are named by their modules, so nothing is cut beside. Drop cuts.")
        if isinstance(self.inputs, str):
            if self.axis != -1:
                raise BadInput("axis: one agent holds the inputs whole, so nothing is divided. Drop axis.")
        elif self.clients or CLIENT in (*self.holders, *self.on, self.labels):
            raise BadInput(
                "inputs: divided by features they make one chain, in which 'client' and clients have no place. Name "
                "the agents, and drop clients."
            )

    @property
    def on(self) -> tuple[str, ...]:
        """The agent of each segment."""
        return tuple(self.segments.values() if isinstance(self.segments, Mapping) else self.segments)

    @property
    def holders(self) -> tuple[str, ...]:
        """Who holds inputs, as they are named."""
        if isinstance(self.inputs, str):
            return (self.inputs,)
        return tuple(part.holder for part in self.inputs.values())


@dataclass(frozen=True)
class Privacy:
    """Against what an activation tells of its input.

    noise: standard deviation of what is added to what the data's holder sends, relative to its own; nopeek: weight of
    the distance correlation between input and activation in the loss (Vepakomma et al., 2020).
    """

    noise: float = 0.0
    nopeek: float = 0.0

    def __post_init__(self) -> None:
        if self.noise < 0 or self.nopeek < 0:
            raise BadInput("privacy: noise and nopeek are 0 or more.")


@dataclass(frozen=True)
class SplitFile:
    """One run of split learning.

    input: the shape of a sample, with which agents that hold no data need not have it.
    """

    model: str
    model_options: Mapping[str, Any]
    data: str
    data_options: Mapping[str, Any]
    partition: Any
    optimizer: Sgd | Adam
    split: Parts
    values: Codec
    gradients: Codec
    title: str = "split"
    seed: int = 0
    steps: int = 100
    batch: int = 32
    evaluate_every: int = 50
    test_samples: int | None = None
    loss: str | None = None
    metric: str | None = None
    initial_weights: str | None = None
    input: tuple[int, ...] | None = None
    links: Wires | None = None
    privacy: Privacy = field(default_factory=Privacy)
    plain: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    document: Document = field(default_factory=lambda: Document("split"), compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "evaluate_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)} is too small. Give at least 1.")
        if self.batch < self.split.micro_batches:
            raise BadInput(
                f"micro_batches: {self.split.micro_batches} of a batch of {self.batch} would be empty. Give at most as "
                "many."
            )


KEYS = (
    "model",
    "data",
    "optimizer",
    "split",
    "title",
    "seed",
    "steps",
    "batch",
    "evaluate_every",
    "test_samples",
    "loss",
    "metric",
    "initial_weights",
    "input",
    "links",
    "privacy",
)
SAMPLE = {
    "model": "resnet8",
    "data": "fashion-mnist",
    "split": "{cuts: [stages.0], segments: [cam, edge], ...}",
}


def read_split(path: str | Path, *, overrides: Sequence[str] = ()) -> tuple[SplitFile, Document]:
    """The run of a file; BadInput names FILE:LINE."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"split: there is no file '{path}' (looked in {Path.cwd()}). Check the path.")
    return parse_split(yaml_text(path), source=str(path), overrides=overrides)


def parse_split(
    text: str, *, source: str = "split.yaml", overrides: Sequence[str] = ()
) -> tuple[SplitFile, Document]:
    """As `read_split`, from text; relative paths start from the folder of `source`."""
    document = parse_plain(
        text, source=source, overrides=overrides, keys=KEYS, kind="split run", sample="model: resnet8"
    )
    return build_split(document.value, document), document


def build_split(values: Mapping[str, Any], document: Document) -> SplitFile:
    """A run from plain values."""
    from edgekit.decentralized.partition.partition import Partition

    for key in ("model", "data", "split"):
        if values.get(key) is None:
            raise document.error((), f"the run names no {key}. Add a line such as '{key}: {SAMPLE[key]}'.")
    made: dict[str, Any] = {}
    made["model"], options = split_name(values["model"], document=document, path=("model",))
    made["model_options"] = dict(options)
    made["data"], options = split_name(values["data"], document=document, path=("data",))
    rest = dict(options)
    place = ("data", made["data"], "partition")
    made["partition"] = make(
        registry.partitions, rest.pop("partition", "iid"), document=document, path=place, base=Partition
    )
    made["data_options"] = rest
    made["optimizer"] = _optimizer(values.get("optimizer", "sgd"), document)
    parts = dict(values["split"]) if isinstance(values["split"], Mapping) else values["split"]
    for name in ("values", "gradients"):
        given = parts.pop(name, "raw") if isinstance(parts, dict) else "raw"
        made[name] = make(registry.codecs, given, document=document, path=("split", name), base=Codec)
    if isinstance(parts, dict) and isinstance(parts.get("inputs"), Mapping):
        parts["inputs"] = _inputs(parts["inputs"], document)
    made["split"] = settings.build(Parts, parts, document=document, path=("split",), name="split")
    for name, cls in (("links", Wires), ("privacy", Privacy)):
        if values.get(name) is not None:
            made[name] = settings.build(cls, values[name], document=document, path=(name,), name=name)
    hints = settings.field_types(SplitFile)
    for key, value in values.items():
        if key not in made:
            made[key] = settings.fit(value, hints[key], document=document, path=(key,), name=key)
    try:
        return SplitFile(**made, plain=dict(values), document=document)
    except BadInput as error:
        raise document.error((str(error).partition(":")[0],), str(error)) from error


def _inputs(values: Mapping[Any, Any], document: Document) -> dict[str, Slice]:
    """Who holds which features; BadInput where two have the same."""
    found: dict[str, Slice] = {}
    for name, given in values.items():
        place = ("split", "inputs", name)
        part = settings.build(Slice, given, document=document, path=place, name=f"inputs.{name}")
        for other, known in found.items():
            first, end = max(part.features[0], known.features[0]), min(part.features[1], known.features[1])
            if first < end:
                raise document.error(
                    place,
                    f"inputs: '{name}' and '{other}' both have the features [{first}, {end}]. Give each to one.",
                )
        found[name] = part
    return found


def _optimizer(value: Any, document: Document) -> Sgd | Adam:
    name, options = split_name(value, document=document, path=("optimizer",))
    cls = OPTIMIZERS.get(name)
    if cls is None:
        raise document.error(
            ("optimizer",), f"optimizer: '{name}' is unknown. {did_you_mean(name, OPTIMIZERS)}"
        )
    made: Sgd | Adam = settings.build(
        cls, options, document=document, path=("optimizer", name), name=f"optimizer.{name}"
    )
    return made
