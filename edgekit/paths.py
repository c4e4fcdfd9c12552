"""Paths inside a file: relative to that file where they are written, absolute where they are used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PLACES = frozenset({"root", "path", "folder", "file"})  # keys whose value is a path even as a bare word


def absolute(value: Any, folder: Path) -> Any:
    """Every path in a tree of plain values made absolute, keys included.

    A text is a path when it begins with ./, ../ or ~/, or when something of that name lies in `folder` and
    the name has a / or a suffix, or its key is root, path, folder or file. `FILE.py:Name` keeps its `:Name`.
    """
    return _each(value, lambda text, key: _absolute(text, folder, key))


def relative(value: Any, folder: Path) -> Any:
    """The inverse of `absolute`: every absolute path written from `folder`, with ./ or ../ in front."""
    return _each(value, lambda text, key: _relative(text, folder))


def _each(value: Any, change: Callable[[str, str], str], key: str = "") -> Any:
    if isinstance(value, dict):
        return {
            change(name, "") if isinstance(name, str) else name: _each(item, change, str(name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_each(item, change) for item in value]
    return change(value, key) if isinstance(value, str) else value


def _absolute(text: str, folder: Path, key: str) -> str:
    place, name = _split(text)
    if place.startswith(("./", "../")):
        return os.path.normpath(folder / place) + name
    if place.startswith("~/"):
        return str(Path(place).expanduser()) + name
    written_as_path = "/" in place or Path(place).suffix or key in _PLACES
    if place and written_as_path and not os.path.isabs(place) and _exists(folder / place):
        return os.path.normpath(folder / place) + name
    return text


def _relative(text: str, folder: Path) -> str:
    place, name = _split(text)
    if not os.path.isabs(place):
        return text
    short = os.path.relpath(place, folder)
    return (short if short.startswith("..") else f"./{short}") + name


def _split(text: str) -> tuple[str, str]:
    place, colon, name = text.rpartition(":")
    return (place, colon + name) if place.endswith(".py") else (text, "")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
