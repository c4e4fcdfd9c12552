"""Named things of a run file: `ring`, `{ngc: {alpha: 1}}`, `{dirichlet: 0.1}` or `./file.py:Name` -> an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from edgekit import registry, settings
from edgekit.errors import BadInput
from edgekit.registry import Registry
from edgekit.yaml_lines import Document

Path = tuple[Any, ...]


def split_name(value: Any, *, document: Document, path: Path) -> tuple[str, Any]:
    """(name, options) of `name` or `{name: options}`; BadInput for anything else."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value)), str):
        ((name, options),) = value.items()
        return name, {} if options is None else options
    raise document.error(
        path, f"{path[-1]} is {settings.show(value)}, but must be one name, or one name with its settings."
    )


def make(kind: Registry, value: Any, *, document: Document, path: Path, base: type) -> Any:
    """The object that a name and its settings stand for; a lone scalar or list sets the first field.

    BadInput for an unknown name, for what is no `base`, and for settings that do not fit.
    """
    name, options = split_name(value, document=document, path=path)
    try:
        cls = kind.get(name)
    except BadInput as error:
        raise document.error((*path, name), str(error)) from error
    if not (isinstance(cls, type) and issubclass(cls, base) and is_dataclass(cls)):
        raise document.error(
            (*path, name),
            f"{path[-1]}: '{name}' is no {kind.kind}. Derive a frozen dataclass from {base.__module__}."
            f"{base.__name__}.",
        )
    if not isinstance(options, Mapping) or _is_first_field(cls, options):
        options = _first_field(cls, options, document, (*path, name))
    options = _nested(cls, options, document, (*path, name))
    short = name.rpartition(":")[2]
    return settings.build(cls, options, document=document, path=(*path, name), name=f"{path[-1]}.{short}")


def _first_field(cls: type, value: Any, document: Document, path: Path) -> dict[str, Any]:
    own = [item.name for item in fields(cls) if item.init]  # type: ignore[arg-type]
    if not own:
        raise document.error(path, f"{path[-1]} has no settings, but was given {settings.show(value)}.")
    return {own[0]: value}


def _is_first_field(cls: type, options: Mapping[str, Any]) -> bool:
    """Whether a mapping is itself a named thing for the first field: {error-feedback: {top-k: 0.01}}."""
    hints = settings.field_types(cls)
    first = next(iter(hints.values()), None)
    takes_named = any(first is base for _, base in _bases())
    return takes_named and bool(options) and not set(options) & set(hints)


def _nested(cls: type, options: Mapping[str, Any], document: Document, path: Path) -> dict[str, Any]:
    """Settings that are themselves named things (the codec inside error feedback) made into objects."""
    hints, made = settings.field_types(cls), dict(options)
    for key, value in options.items():
        for kind, base in _bases():
            if hints.get(key) is base and not isinstance(value, base):
                made[key] = make(kind, value, document=document, path=(*path, key), base=base)
    return made


def _bases() -> list[tuple[Registry, type]]:
    from edgekit.codecs.codec import Codec
    from edgekit.decentralized.topology import Topology

    return [(registry.codecs, Codec), (registry.topologies, Topology)]
