"""Overrides from the command line: `--set steps.prune.ratio=0.3` changes one value of a parsed file."""

from __future__ import annotations

from typing import Any

from edgekit.errors import BadInput, did_you_mean
from edgekit.yaml_lines import Document, parse_value


def override(document: Document, text: str) -> None:
    """Set one dotted key, its value read as YAML.

    A list is indexed by number, or by the name of its one-key items. Raises BadInput that names the override.
    """
    key, sign, value_text = text.partition("=")
    place = f"--set {text}"
    if not sign or not key.strip():
        raise BadInput(f"{place}: this sets nothing. Write KEY=VALUE, such as --set steps.prune.ratio=0.3.")
    parts = key.strip().split(".")
    path = _set(document.value, parts, parse_value(value_text, source=place), place)
    document.mark(path, place)


def _set(container: Any, parts: list[str], value: Any, place: str) -> tuple[Any, ...]:
    here = _resolve(container, parts[0], place)
    if len(parts) == 1:
        container[here[0]] = value
        return here[:1]
    if isinstance(container, list) and len(here) == 2:
        item = _as_mapping(container, here[0], here[1])
        return (here[0], *_set(item, [here[1], *parts[1:]], value, place))
    _as_container(container, here[0], parts[1], place)
    return (here[0], *_set(container[here[0]], parts[1:], value, place))


def _resolve(container: Any, part: str, place: str) -> tuple[Any, ...]:
    """The key or index that a word means here; for a list item found by its name, (index, name)."""
    if isinstance(container, dict):
        return (part,)
    if part.isdigit() and int(part) < len(container):
        return (int(part),)
    names = [item if isinstance(item, str) else next(iter(item), "") if isinstance(item, dict) else ""
             for item in container]
    matches = [index for index, name in enumerate(names) if name == part]
    if not matches:
        raise BadInput(f"{place}: there is no '{part}' to set. "
                       f"{did_you_mean(part, [str(n) for n in names if n])}")
    if len(matches) > 1:
        raise BadInput(f"{place}: '{part}' occurs {len(matches)} times. Name one by its number: "
                       f"{', '.join(str(index) for index in matches)}.")
    return (matches[0], part)


def _as_mapping(container: list[Any], index: int, name: str) -> Any:
    """A list item written as a bare name, opened so that it can take settings."""
    if isinstance(container[index], str):
        container[index] = {name: {}}
    if container[index][name] is None:
        container[index][name] = {}
    return container[index]


def _as_container(container: Any, key: Any, inner: str, place: str) -> None:
    """Make `container[key]` able to hold `inner`: nothing becomes a mapping, a bare name `inner` opens."""
    present = container.get(key) if isinstance(container, dict) else container[key]
    if present is None or present == inner:
        container[key] = {} if present is None else {inner: {}}
    elif not isinstance(present, (dict, list)):
        raise BadInput(f"{place}: '{key}' holds {present!r}, which has no '{inner}'. Set '{key}' itself.")
