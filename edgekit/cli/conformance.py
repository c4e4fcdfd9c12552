"""`edgekit conformance NAME`: run the kit that fits, print a table."""

from __future__ import annotations

import argparse
import inspect
import json
from typing import Any

from edgekit.cli.check import shape
from edgekit.cli.console import say, say_json, table
from edgekit.errors import BadInput, did_you_mean
from edgekit.profile.metrics import Slot
from edgekit.registry import (
    Registry,
    algorithms,
    codecs,
    datasets,
    load_object,
    models,
    partitions,
    slots,
    targets,
    topologies,
    transforms,
)

EXAMPLE = "edgekit conformance ./my_algorithm.py:MyAlgorithm --settings '{gamma: 0.5}'"
_KINDS = (transforms, targets, models, datasets, algorithms, topologies, codecs, partitions, slots)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("name", help="a registered name, package.module:Name, or ./file.py:Name")
    parser.add_argument(
        "--settings",
        default="{}",
        metavar="YAML",
        help="settings or options of what is checked, such as '{ratio: 0.5}'",
    )
    parser.add_argument("--input", type=shape, metavar="C,H,W", help="one sample of a model's input")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """0 where every check holds, else 1."""
    kind, rows = _rows(options)
    if options.json:
        say_json([row._asdict() for row in rows])
    else:
        table(
            ["check", "holds", "detail"],
            [(row.check, "yes" if row.ok else "NO", row.detail) for row in rows],
            title=f"{options.name} ({kind})",
        )
        say(f"{sum(row.ok for row in rows)} of {len(rows)} checks hold")
    return 0 if all(row.ok for row in rows) else 1


def _rows(options: argparse.Namespace) -> tuple[str, list[Any]]:
    from edgekit import subject, testing

    value = _find(options.name)
    settings = _settings(options.settings)
    if options.name in slots.names() or isinstance(value, Slot):
        return slots.kind, testing.check_slot(value)
    if _is_transform(value):
        return "transform", testing.check_transform(_step(value, options.name, settings))
    trained = _of_a_run(value, options.name, settings)
    if trained is not None:
        return trained
    if all(hasattr(value, method) for method in ("caps", "lint", "export", "audit", "runner")):
        return "target", testing.check_target(value() if isinstance(value, type) else value)
    if options.name in datasets.names() or _makes_data(value):
        return "data set", testing.check_dataset(value(**settings) if callable(value) else value)
    example = subject.example_for(options.name, settings, shape=options.input)
    made = lambda: subject.make_model(options.name, settings)  # noqa: E731
    made.__doc__ = value.__doc__
    return "model", testing.check_model(made, example=example)


def _find(name: str) -> Any:
    kinds: list[Registry] = [kind for kind in _KINDS if name in kind.names()]
    if kinds:
        return kinds[0].get(name)
    if ":" in name:
        return load_object(name, kind="conformance")
    known = [known for kind in _KINDS for known in kind.names()]
    raise BadInput(f"conformance: '{name}' is unknown. {did_you_mean(name, known)}")


def _settings(text: str) -> dict[str, Any]:
    from edgekit.yaml_lines import parse_value

    value = parse_value(text, source="--settings")
    if not isinstance(value, dict):
        raise BadInput(f"--settings: '{text}' is no mapping. Write {{name: value}}.")
    return value


def _step(value: Any, name: str, given: dict[str, Any]) -> Any:
    """The transform with the given settings; where none are, with small ones that do something."""
    from edgekit.recipe import parse_recipe

    usual = {"prune": {"ratio": 0.5}, "finetune": {"epochs": 1}, "distil": {"epochs": 1}}
    chosen = given or usual.get(name, {})
    return parse_recipe(
        f"model: resnet8\nsteps: [{{{json.dumps(name)}: {json.dumps(chosen)}}}]", source="--settings"
    ).steps[0]


def _of_a_run(value: Any, name: str, given: dict[str, Any]) -> tuple[str, list[Any]] | None:
    """The kit of an algorithm, a topology, a codec or a partition; None for anything else."""
    from edgekit import testing
    from edgekit.codecs.codec import Codec
    from edgekit.decentralized.algorithm import Declared
    from edgekit.decentralized.partition.partition import Partition
    from edgekit.decentralized.topology import Topology
    from edgekit.runs.named import make
    from edgekit.yaml_lines import Document

    kinds: tuple[tuple[Registry, type, Any], ...] = (
        (algorithms, Declared, testing.check_algorithm),
        (topologies, Topology, testing.check_topology),
        (codecs, Codec, testing.check_codec),
        (partitions, Partition, testing.check_partition),
    )
    for kind, base, check in kinds:
        if isinstance(value, type) and issubclass(value, base):
            place = (kind.kind,)
            made = make(kind, {name: given}, document=Document("--settings"), path=place, base=base)
            return kind.kind, check(made)
    return None


def _is_transform(value: Any) -> bool:
    from edgekit.transforms.base import Transform

    return isinstance(value, type) and issubclass(value, Transform)


def _makes_data(value: Any) -> bool:
    from edgekit.job import Data

    if isinstance(value, Data) or hasattr(value, "loaders"):
        return True
    if not inspect.isroutine(value):
        return False
    returns = str(inspect.signature(value).return_annotation)
    return returns.rpartition(".")[2].strip("'>") in ("Data", "Dataset")
