"""YAML that remembers its lines, so that an error can name the place: FILE:LINE, or the `--set` behind it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from edgekit.errors import BadInput

Path = tuple[Any, ...]


def yaml_text(path: pathlib.Path) -> str:
    """The text of a file; BadInput where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is no text in UTF-8. Save the file as UTF-8.") from error
    except OSError as error:
        raise BadInput(
            f"{path}: it cannot be read: {error.strerror}. Check the path and its rights."
        ) from error


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads `1e-3` as text; here it is the number that its writer meant."""


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would read as numbers."""


_EXPONENT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
for _kind in (_Loader, _Dumper):
    _kind.yaml_implicit_resolvers = {key: list(value) for key, value in _kind.yaml_implicit_resolvers.items()}
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


@dataclass
class Document:
    """A parsed file: plain values, and the place (`FILE:LINE`) of every path of keys and indices in them."""

    source: str
    value: Any = None
    places: dict[Path, str] = field(default_factory=dict)

    def where(self, path: Path = ()) -> str:
        """The place of the nearest known part of a path."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.source

    def line(self, path: Path) -> str:
        """The place in words that follow a name: `line 12`, or the override that wrote it."""
        place = self.where(path)
        return f"line {place.rpartition(':')[2]}" if place.startswith(self.source + ":") else place

    def error(self, path: Path, message: str) -> BadInput:
        """An error that begins with the place of a path."""
        return BadInput(f"{self.where(path)}: {message}")

    def mark(self, path: Path, place: str) -> None:
        """Say that everything under a path now comes from `place`."""
        for known in [known for known in self.places if known[: len(path)] == path]:
            del self.places[known]
        self.places[path] = place


def read_yaml(text: str, *, source: str) -> Document:
    """Parse one YAML document; BadInput for a syntax error, a duplicate key or a loop of aliases."""
    document = Document(source)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        document.value = None if node is None else _Builder(document, loader).build(node, ())
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(
            f"{source}{_line_of(error)}: this is not YAML: {_reason(error)}. Check the indentation, the "
            "colons and the brackets there."
        ) from error
    return document


def parse_value(text: str, *, source: str) -> Any:
    """The value of a piece of YAML, as on the command line."""
    return read_yaml(text, source=source).value


def write_yaml(value: Any) -> str:
    """Plain values as YAML that `read_yaml` reads back the same."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110))


class _Builder:
    """Turns nodes into plain values and notes where each came from."""

    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self.document, self.loader = document, loader
        self.open: list[yaml.Node] = []

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.document.places.setdefault(path, self._place(node))
        if any(node is other for other in self.open):
            raise self.document.error(path, "an alias contains itself. Write the values out.")
        self.open.append(node)
        try:
            return self._value(node, path)
        finally:
            self.open.pop()

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.loader.construct_object(node)

    def _items(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[Any, Any]]:
        seen: dict[Any, str] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in seen:
                raise BadInput(
                    f"{self._place(key_node)}: '{key}' is given twice (first at {seen[key]}). Keep one."
                )
            seen[key] = self._place(key_node)
            self.document.places[(*path, key)] = seen[key]
            yield key, self.build(value_node, (*path, key))

    def _key(self, node: yaml.Node) -> Any:
        key = self.loader.construct_object(node, deep=True)
        if not isinstance(key, Hashable):
            raise BadInput(f"{self._place(node)}: a key must be a name, not {type(key).__name__}.")
        return key

    def _place(self, node: yaml.Node) -> str:
        return f"{self.document.source}:{node.start_mark.line + 1}"


def _line_of(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark is not None else ""


def _reason(error: Exception) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
