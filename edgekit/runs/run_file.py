"""The run file: what is trained, by whom, how, and what is asked of it; the same for the simulator and for devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgekit import registry, settings
from edgekit.errors import BadInput
from edgekit.paths import relative
from edgekit.runs.named import make, split_name
from edgekit.runs.plain import parse_plain
from edgekit.yaml_lines import Document, write_yaml, yaml_text

if TYPE_CHECKING:
    from edgekit.codecs.codec import Codec
    from edgekit.decentralized.algorithm import Algorithm, AsyncAlgorithm
    from edgekit.decentralized.links import Links
    from edgekit.decentralized.optimizers import Optimizer
    from edgekit.decentralized.partition.partition import Partition
    from edgekit.decentralized.schedule import Schedule
    from edgekit.decentralized.settings import Absence
    from edgekit.decentralized.topology import Topology


@dataclass(frozen=True)
class Evaluation:
    """Who is evaluated on what: so many agents (all where None) on so many test samples (all where None)."""

    agents: int | None = 100
    samples: int | None = None

    def __post_init__(self) -> None:
        for name in ("agents", "samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"evaluate: {name} is {value}. Give at least 1, or null for all.")


@dataclass(frozen=True)
class Membership:
    """From a round on, some agents leave, or join (again)."""

    round: int
    leave: tuple[int, ...] = ()
    join: tuple[int, ...] = ()


@dataclass(frozen=True)
class RunFile:
    """One run, apart from its seed. Values that are names have become objects.

    batch: samples of a gradient; accumulate: gradients of a step; local_steps: steps between two exchanges; rounds;
    weights: the rule of the mixing matrix, the topology's own where None; buffers: what becomes of running statistics;
    plain: the values it was made from, for writing it again.
    """

    algorithm: Algorithm | AsyncAlgorithm
    topology: Topology
    codec: Codec
    optimizer: Optimizer
    schedule: Schedule
    partition: Partition
    model: str
    model_options: Mapping[str, Any]
    data: str
    data_options: Mapping[str, Any]
    agents: int = 8
    rounds: int = 100
    batch: int = 32
    accumulate: int = 1
    local_steps: int = 1
    evaluate_every: int = 10
    evaluate: Evaluation = field(default_factory=Evaluation)
    weights: str | None = None
    metric: str | None = None
    loss: str | None = None
    initial: Literal["same", "different"] = "same"
    initial_weights: str | None = None
    buffers: Literal["mix", "local"] = "mix"
    links: Links | None = None
    absence: Absence | None = None
    membership: tuple[Membership, ...] = ()
    gradients: Literal["auto", "loop", "vmap", "stacked"] = "auto"
    linear_scaling: int | None = None  # the batch that lr was chosen for
    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    strict: bool = False
    observe: bool = (
        False  # over a broker: send all models to whoever watches, for what needs them in one place
    )
    plain: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    document: Document | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("agents", "rounds", "batch", "accumulate", "local_steps", "evaluate_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)} is too small. Give at least 1.")


NAMED = ("algorithm", "topology", "codec", "optimizer", "model", "data")
STUDY = (
    "title",
    "claim",
    "source",
    "seed",
    "seeds",
    "variants",
    "tune",
)  # what is said of all runs of a file
REQUIRED = ("algorithm", "topology", "model", "data")


def known_keys() -> list[str]:
    """Every key that a run file may have."""
    hidden = ("partition", "plain", "document", "model_options", "data_options")
    return [*STUDY, *(item.name for item in fields(RunFile) if item.name not in hidden)]


def read_run(path: str | Path, *, overrides: Sequence[str] = ()) -> Document:
    """The parsed file with absolute paths, overrides set and every key known. BadInput names FILE:LINE."""
    path = Path(path)
    if path.is_dir():
        path = path / "run.yaml"
    if not path.is_file():
        raise BadInput(
            f"run: there is no file '{path}' (looked in {Path.cwd()}). Check the path, or write one with: "
            "edgekit init run"
        )
    return parse_document(yaml_text(path), source=str(path), overrides=overrides)


def parse_document(text: str, *, source: str = "run.yaml", overrides: Sequence[str] = ()) -> Document:
    """As `read_run`, from text; relative paths start from the folder of `source`."""
    return parse_plain(
        text,
        source=source,
        overrides=overrides,
        keys=known_keys(),
        kind="run file",
        sample="algorithm: d-psgd",
    )


def build_run(values: Mapping[str, Any], document: Document) -> RunFile:
    """A run from plain values without sweeps; BadInput names FILE:LINE."""
    from edgekit.codecs.codec import Codec
    from edgekit.decentralized.algorithm import Declared
    from edgekit.decentralized.links import Links
    from edgekit.decentralized.optimizers import Optimizer
    from edgekit.decentralized.partition.partition import Partition
    from edgekit.decentralized.schedule import Schedule
    from edgekit.decentralized.settings import Absence
    from edgekit.decentralized.topology import Topology

    for key in REQUIRED:
        if values.get(key) is None:
            raise document.error((), f"the run names no {key}. Add a line such as '{key}: {_SAMPLE[key]}'.")
    made: dict[str, Any] = {}
    for key, kind, base, usual in (
        ("topology", registry.topologies, Topology, None),
        ("codec", registry.codecs, Codec, "raw"),
        ("optimizer", registry.optimizers, Optimizer, "sgd"),
    ):
        made[key] = make(kind, values.get(key, usual), document=document, path=(key,), base=base)
    made["algorithm"] = make(
        registry.algorithms,
        values["algorithm"],
        document=document,
        path=("algorithm",),
        base=Declared,
    )
    made["model"], options = split_name(values["model"], document=document, path=("model",))
    made["model_options"] = _mapping(options, document, ("model", made["model"]))
    made["data"], options = split_name(values["data"], document=document, path=("data",))
    options = dict(_mapping(options, document, ("data", made["data"])))
    place = ("data", made["data"], "partition")
    share = options.pop("partition", "iid")
    made["partition"] = make(registry.partitions, share, document=document, path=place, base=Partition)
    made["data_options"] = options
    for key, cls in (
        ("schedule", Schedule),
        ("evaluate", Evaluation),
        ("links", Links),
        ("absence", Absence),
    ):
        if values.get(key) is not None or key in ("schedule", "evaluate"):
            made[key] = settings.build(cls, values.get(key), document=document, path=(key,), name=key)
    made["membership"] = _memberships(values.get("membership"), document)
    simple = {key: value for key, value in values.items() if key not in made and key not in STUDY}
    hints = settings.field_types(RunFile)
    for key, value in simple.items():
        made[key] = settings.fit(value, hints[key], document=document, path=(key,), name=key)
    try:
        return RunFile(**made, plain=dict(values), document=document)
    except BadInput as error:
        raise document.error((str(error).partition(":")[0],), str(error)) from error


def to_yaml(values: Mapping[str, Any], *, folder: Path | None = None) -> str:
    """Plain values as a run file; paths are relative to `folder` where one is given."""
    kept = {key: value for key, value in values.items() if value is not None}
    return write_yaml(relative(kept, folder.resolve()) if folder is not None else kept)


def _mapping(value: Any, document: Document, path: tuple[Any, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise document.error(
            path, f"{path[-1]}: its options are {settings.show(value)}. Write {{option: value}}."
        )
    return value


def _memberships(value: Any, document: Document) -> tuple[Membership, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise document.error(("membership",), "membership is a list such as [{round: 100, leave: [3]}].")
    return tuple(
        settings.build(Membership, item, document=document, path=("membership", index), name="membership")
        for index, item in enumerate(value)
    )


_SAMPLE = {"algorithm": "d-psgd", "topology": "ring", "model": "mlp", "data": "fashion-mnist"}
