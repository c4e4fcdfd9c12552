"""A study: the runs that one run file asks for, variants times swept values times seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from edgekit import registry, settings
from edgekit.errors import BadInput, did_you_mean
from edgekit.runs.run_file import NAMED, STUDY, RunFile, build_run, known_keys, parse_document, read_run
from edgekit.yaml_lines import Document

KINDS = {
    "algorithm": registry.algorithms,
    "topology": registry.topologies,
    "codec": registry.codecs,
    "optimizer": registry.optimizers,
}


@dataclass(frozen=True)
class Cell:
    """One setting of a study: its name, what tells it from the others, and its run."""

    name: str
    labels: Mapping[str, str]
    run: RunFile


@dataclass(frozen=True)
class Study:
    """All cells of a run file, run with each of the seeds.

    tune: {"lr": rates}: every cell takes the rate that is best on held-out training data; claim and source are what
    the report puts beside the figures.
    """

    title: str
    cells: tuple[Cell, ...]
    seed: int
    seeds: int
    document: Document
    claim: str = ""
    source: str = ""
    tune: Mapping[str, Any] | None = None

    @property
    def all_seeds(self) -> range:
        """The seeds of every cell."""
        return range(self.seed, self.seed + self.seeds)


def load_study(path: str | Path, *, overrides: Sequence[str] = ()) -> Study:
    """The study of a file; BadInput names FILE:LINE."""
    return _study(read_run(path, overrides=overrides))


def parse_study(text: str, *, source: str = "run.yaml", overrides: Sequence[str] = ()) -> Study:
    """The study of a text."""
    return _study(parse_document(text, source=source, overrides=overrides))


def _study(document: Document) -> Study:
    values: dict[str, Any] = document.value
    common = {key: value for key, value in values.items() if key not in STUDY}
    cells = []
    for name, changes in _variants(values.get("variants"), document):
        for labels, point in _points({**common, **changes}, document):
            full = ", ".join(filter(None, [name, *_words(labels)]))
            told = {"variant": name, **labels} if name else labels
            cells.append(Cell(full or "run", told, build_run(point, document)))
    repeated = [cell.name for cell in cells if sum(other.name == cell.name for other in cells) > 1]
    if repeated:
        raise document.error(
            (), f"two runs of this file are both called '{repeated[0]}'. Name them in variants."
        )
    text = lambda key: settings.fit(values.get(key, ""), str, document=document, path=(key,), name=key)  # noqa: E731
    return Study(
        text("title") or Path(document.source).stem,
        tuple(cells),
        _count(values, "seed", 0, document, least=0),
        _count(values, "seeds", 1, document, least=1),
        document,
        text("claim"),
        text("source"),
        _tuning(values.get("tune"), document),
    )


def _count(values: Mapping[str, Any], key: str, usual: int, document: Document, *, least: int) -> int:
    value = settings.fit(values.get(key, usual), int, document=document, path=(key,), name=key)
    if value < least:
        raise document.error((key,), f"{key} is {value}. Give at least {least}.")
    return int(value)


def _variants(value: Any, document: Document) -> list[tuple[str, dict[str, Any]]]:
    """(name, changed keys) of every variant; a single nameless one where the file has none."""
    if value is None:
        return [("", {})]
    if not isinstance(value, dict) or not value:
        raise document.error(("variants",), "variants is a mapping such as {NGC: {algorithm: ngc}}.")
    for name, changes in value.items():
        for key in changes or {}:
            if key in STUDY or key not in known_keys():
                known = [key for key in known_keys() if key not in STUDY]
                raise document.error(
                    ("variants", name, key),
                    f"a variant cannot change '{key}'. {did_you_mean(str(key), known)}",
                )
    return [(str(name), dict(changes or {})) for name, changes in value.items()]


def _points(values: dict[str, Any], document: Document) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Every combination of the values that are lists where one value belongs: ({what: which}, plain values)."""
    axes = list(_axes(values))
    for path, options in axes:
        if not options:
            raise document.error(path, f"{path[-1]} is an empty list, so there is nothing to run.")
    for chosen in itertools.product(*(options for _, options in axes)):
        point, labels = deepcopy(values), {}
        for (path, _), option in zip(axes, chosen, strict=True):
            _put(point, path, option)
            labels[str(path[-1])] = _label(option)
        yield labels, point


def _axes(values: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], list[Any]]]:
    hints = settings.field_types(RunFile)
    for key, value in values.items():
        if isinstance(value, list) and (key in NAMED or not _takes_list(hints.get(key))):
            yield (key,), value
        elif key in NAMED and isinstance(value, Mapping) and len(value) == 1:
            ((name, options),) = value.items()
            yield from _option_axes(key, str(name), options)


def _option_axes(key: str, name: str, options: Any) -> Iterator[tuple[tuple[Any, ...], list[Any]]]:
    """Swept settings of a named thing, such as {sgd: {lr: [0.1, 0.01]}}; of the partition of data, too."""
    if isinstance(options, list):
        yield (key, name), options
    if not isinstance(options, Mapping):
        return
    hints = _hints(key, name)
    for option, value in options.items():
        if isinstance(value, list) and not _takes_list(hints.get(option)):
            yield (key, name, option), value
        elif option == "partition" and isinstance(value, Mapping) and len(value) == 1:
            ((kind, inner),) = value.items()
            for path, found in _option_axes("partition", str(kind), inner):
                yield (key, name, *path), found


def _hints(key: str, name: str) -> dict[str, Any]:
    kinds = {**KINDS, "partition": registry.partitions}
    if key not in kinds:
        return {}
    try:
        return settings.field_types(kinds[key].get(name))
    except (BadInput, TypeError):
        return {}  # said when the run is built


def _takes_list(annotation: Any) -> bool:
    if annotation is Any:
        return True
    kinds = [annotation, *get_args(annotation)]
    return any((get_origin(kind) or kind) in (list, tuple, Sequence) for kind in kinds)


def _put(values: dict[str, Any], path: tuple[Any, ...], option: Any) -> None:
    holder: Any = values
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = option


def _words(labels: Mapping[str, str]) -> list[str]:
    """What tells a point from the others: the value alone where one thing is swept and its value is a name."""
    if len(labels) == 1 and not next(iter(labels.values()))[:1].isdigit():
        return list(labels.values())
    return [f"{key} {text}" for key, text in labels.items()]


def _label(option: Any) -> str:
    if isinstance(option, Mapping) and len(option) == 1:
        ((name, inner),) = option.items()
        if isinstance(inner, Mapping):
            inner = " ".join(f"{key} {_label(value)}" for key, value in inner.items())
        return f"{name} {inner}".strip() if inner is not None else str(name)
    return str(option)


def _tuning(value: Any, document: Document) -> Mapping[str, Any] | None:
    if value is None:
        return None
    rates = value.get("lr") if isinstance(value, dict) else None
    if not isinstance(rates, list) or not rates or set(value) - {"lr", "rounds"}:
        raise document.error(("tune",), "tune is {lr: [rates], rounds: N}; rounds may be left out.")
    return dict(value)
