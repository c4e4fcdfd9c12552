"""`edgekit targets|transforms|models|datasets|codecs|...`: what a recipe or a run file can name."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from edgekit import registry, settings
from edgekit.cli.console import say_json, table
from edgekit.errors import EdgekitError

_KINDS = {
    "targets": registry.targets,
    "transforms": registry.transforms,
    "models": registry.models,
    "datasets": registry.datasets,
    "codecs": registry.codecs,
    "partitions": registry.partitions,
    "optimizers": registry.optimizers,
}
EXAMPLE = {verb: f"edgekit {verb} --json" for verb in _KINDS}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words that the verb takes."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print one row a name."""
    rows = list(entries(_KINDS[options.verb]))
    if options.json:
        say_json(rows)
        return 0
    table(
        [options.verb[:-1], "what it is", "settings"],
        [(row["name"], row["summary"], _joined(row["settings"]) or "-") for row in rows],
    )
    return 0


def entries(kind: registry.Registry) -> Iterator[dict[str, Any]]:
    """Name, one-line summary and settings of everything a registry knows; why, where it cannot be loaded."""
    for name in kind.names():
        try:
            value = kind.get(name)
        except (EdgekitError, ImportError) as error:
            yield {"name": name, "summary": f"cannot be loaded: {error}", "settings": {}}
        else:
            yield {"name": name, "summary": settings.summary(value), "settings": _settings(value)}


def _joined(pairs: dict[str, str]) -> str:
    return ", ".join(f"{key}: {text}" for key, text in pairs.items())


def _settings(value: Any) -> dict[str, str]:
    if is_dataclass(value) and isinstance(value, type):
        hints = settings.field_types(value)
        return {item.name: _setting(hints[item.name], _default(item)) for item in fields(value) if item.init}
    if not inspect.isroutine(value):
        return {}
    return {
        name: settings.show(item.default) if item.default is not item.empty else "required"
        for name, item in inspect.signature(value).parameters.items()
        if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
    }


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _setting(annotation: Any, default: Any) -> str:
    words = settings.describe(annotation)
    return f"{words} (required)" if default is MISSING else f"{words} ({settings.show(default)})"
