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
    if isinstance(container, list):
        index, name = _find(container, parts[0], place)
        if len(parts) == 1:
            container[index] = value
            return (index,)
        rest = parts[1:] if name in ("", parts[1]) else [name, *parts[1:]]
        return (index, *_set(_opened(container, index, name), rest, value, place))
    if len(parts) == 1:
        container[parts[0]] = value
        return (parts[0],)
    _make_room(container, parts[0], parts[1], place)
    return (parts[0], *_set(container[parts[0]], parts[1:], value, place))


def _find(items: list[Any], part: str, place: str) -> tuple[int, str]:
    """(index, name) of the list item that a word means: by number, or by the name of a one-key item."""
    names = [_name(item) for item in items]
    if part.isdecimal() and int(part) < len(items):
        return int(part), names[int(part)]
    matches = [index for index, name in enumerate(names) if name == part]
    if not matches:
        known = [name for name in names if name]
        raise BadInput(f"{place}: there is no '{part}' to set. {did_you_mean(part, known)}")
    if len(matches) > 1:
        raise BadInput(
            f"{place}: '{part}' occurs {len(matches)} times. Name one by its number: "
            f"{', '.join(str(index) for index in matches)}."
        )
    return matches[0], part


def _name(item: Any) -> str:
    if isinstance(item, dict) and len(item) == 1:
        return str(next(iter(item)))
    return item if isinstance(item, str) else ""


def _opened(items: list[Any], index: int, name: str) -> Any:
    """A list item; one written as a bare name is opened, so that it can take settings."""
    if isinstance(items[index], str):
        items[index] = {name: {}}
    return items[index]


def _make_room(container: dict[Any, Any], key: str, inner: str, place: str) -> None:
    """Make `container[key]` able to hold `inner`: nothing becomes a mapping, a bare name `inner` opens."""
    present = container.get(key)
    if present is None or present == inner:
        container[key] = {} if present is None else {inner: {}}
    elif not isinstance(present, (dict, list)):
        raise BadInput(f"{place}: '{key}' holds {present!r}, which has no '{inner}'. Set '{key}' itself.")
