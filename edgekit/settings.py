"""Plain values to the fields of a dataclass: every key known, every type as declared, nothing corrected."""

from __future__ import annotations

import inspect
import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from edgekit.errors import BadInput, did_you_mean
from edgekit.yaml_lines import Document

T = TypeVar("T")
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    Mapping: "a mapping",
    Path: "a path",
}


class _MismatchError(Exception):
    """A value that does not fit its annotation: where under it, what it must be."""

    def __init__(self, path: tuple[Any, ...], value: Any, wanted: str) -> None:
        super().__init__(wanted)
        self.path, self.value, self.wanted = path, value, wanted


def build(cls: type[T], values: Any, *, document: Document, path: tuple[Any, ...], name: str) -> T:
    """An instance of a dataclass from a mapping of its fields; BadInput places what does not fit."""
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise document.error(
            path, f"{name} is {show(values)}, but its settings must be a mapping such as {{{_sample(cls)}}}."
        )
    hints = field_types(cls)
    for key in values:
        if key not in hints:
            raise document.error(
                (*path, key), f"{name} has no setting '{key}'. {did_you_mean(str(key), hints)}"
            )
    known = {
        key: fit(value, hints[key], document=document, path=(*path, key), name=f"{name}.{key}")
        for key, value in values.items()
    }
    _refuse_missing(cls, known, document, path, name)
    try:
        return cls(**known)
    except (BadInput, ValueError, TypeError) as error:
        message = f"{name}: {_unprefixed(str(error), name)}"
        raise document.error(_blamed(error, known, path), message) from error


def fit(value: Any, annotation: Any, *, document: Document, path: tuple[Any, ...], name: str) -> Any:
    """A value as its annotation says: lists become tuples, integers floats; BadInput for another type."""
    try:
        return _convert(value, annotation, ())
    except _MismatchError as error:
        inner = "".join(f".{part}" for part in error.path)
        raise document.error(
            (*path, *error.path), f"{name}{inner} is {show(error.value)}, but must be {error.wanted}."
        ) from error


def field_types(cls: Any) -> dict[str, Any]:
    """Field name -> annotation; `Any` where the annotation names what is imported for type checkers only."""
    return {item.name: _evaluate(item.type, cls) for item in fields(cls) if item.init}


def describe(annotation: Any) -> str:
    """An annotation in the words of a recipe."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return "anything"
    if origin is Literal:
        return "one of " + ", ".join(str(item) for item in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(item) for item in arguments)
    if origin in (tuple, list, Sequence):
        return f"a list of {describe(arguments[0])}" if arguments else "a list"
    return _WORDS.get(origin or annotation, getattr(annotation, "__name__", str(annotation)))


def summary(value: Any) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    return text or "(no description)"


def show(value: Any) -> str:
    """A value as an error message quotes it."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _convert(value: Any, annotation: Any, path: tuple[Any, ...]) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(value, annotation, path)
    if origin is Literal:
        return _convert_literal(value, arguments, path)
    if (origin or annotation) in (tuple, list, Sequence):
        return _convert_list(value, annotation, path)
    if (origin or annotation) in (dict, Mapping):
        return _convert_mapping(value, arguments, path)
    return _convert_scalar(value, annotation, path)


def _convert_scalar(value: Any, annotation: Any, path: tuple[Any, ...]) -> Any:
    if annotation is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if annotation in (bool, int, str, type(None)) and type(value) is annotation:
        return value
    if annotation is None and value is None:
        return None
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if (
        annotation not in _WORDS
        and annotation is not None
        and isinstance(annotation, type)
        and isinstance(value, annotation)
    ):
        return value
    raise _MismatchError(path, value, describe(annotation))


def _convert_union(value: Any, annotation: Any, path: tuple[Any, ...]) -> Any:
    deepest = _MismatchError(path, value, describe(annotation))
    for option in get_args(annotation):
        try:
            return _convert(value, option, path)
        except _MismatchError as error:
            if len(error.path) > len(deepest.path):
                deepest = error
    raise deepest


def _convert_literal(value: Any, options: tuple[Any, ...], path: tuple[Any, ...]) -> Any:
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    words = [str(option) for option in options]
    near = did_you_mean(str(value), words) if isinstance(value, str) else ""
    hint = f" ({near[:-1]}?)".replace("??", "?") if near.startswith("Did") else ""
    raise _MismatchError(path, value, f"one of {', '.join(words)}{hint}")


def _convert_list(value: Any, annotation: Any, path: tuple[Any, ...]) -> Any:
    arguments = get_args(annotation)
    if not isinstance(value, (list, tuple)):
        raise _MismatchError(path, value, f"{describe(annotation)}, written [...]")
    if (get_origin(annotation) or annotation) is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise _MismatchError(path, value, f"a list of {len(arguments)} values")
        return tuple(
            _convert(item, kind, (*path, index))
            for index, (item, kind) in enumerate(zip(value, arguments, strict=True))
        )
    kind = arguments[0] if arguments else Any
    items = tuple(_convert(item, kind, (*path, index)) for index, item in enumerate(value))
    return list(items) if (get_origin(annotation) or annotation) is list else items


def _convert_mapping(value: Any, arguments: tuple[Any, ...], path: tuple[Any, ...]) -> Any:
    if not isinstance(value, Mapping):
        raise _MismatchError(path, value, "a mapping, written {name: value}")
    key_type, value_type = arguments or (Any, Any)
    return {
        _convert(key, key_type, (*path, key)): _convert(item, value_type, (*path, key))
        for key, item in value.items()
    }


def _evaluate(annotation: Any, cls: type) -> Any:
    if not isinstance(annotation, str):
        return annotation
    for owner in cls.__mro__:
        holder = type("Holder", (), {"__annotations__": {"field": annotation}})
        try:
            return get_type_hints(holder, vars(sys.modules[owner.__module__]))["field"]
        except (NameError, AttributeError, TypeError):
            continue
    return Any


def _refuse_missing(
    cls: Any, known: Mapping[str, Any], document: Document, path: tuple[Any, ...], name: str
) -> None:
    for item in fields(cls):
        required = item.init and item.default is MISSING and item.default_factory is MISSING
        if required and item.name not in known:
            raise document.error(
                path,
                f"{name} needs the setting '{item.name}'. Add {item.name}: "
                f"{describe(field_types(cls)[item.name])}.",
            )


def _sample(cls: type) -> str:
    return ", ".join(f"{name}: ..." for name in list(field_types(cls))[:2]) if is_dataclass(cls) else ""


def _blamed(error: Exception, known: Mapping[str, Any], path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The setting that a refusal names, and what it names inside of it, so that the line is its own."""
    words = str(error).replace(":", " ").replace("=", " ").replace("'", " ").replace(".", " ").split()
    level: Any = known
    for word in words:
        if isinstance(level, Mapping) and word in level:
            path, level = (*path, word), level[word]
    return path


def _unprefixed(message: str, name: str) -> str:
    short = name.rpartition(".")[2]
    for prefix in (f"{name}: ", f"{short}: "):
        message = message.removeprefix(prefix)
    return message
