"""Which code a run document may name: what edgekit brings, and what this machine's owner allows, as it was hashed.

A name with a colon is code: `package.module:Name` or `/folder/file.py:Name`. It is found and hashed without being
imported, and refused unless a prefix that the owner allows covers it and the file here is the one that was meant. Names
without a colon are those that edgekit, or a package installed here, has registered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput


def references(values: Mapping[str, Any]) -> list[str]:
    """Every name of code in the values of a run, and the file of its first weights, sorted."""
    found = {text for text in _texts(values) if _is_code(text)}
    if values.get("initial_weights"):
        found.add(str(values["initial_weights"]))
    return sorted(found)


def source_of(reference: str) -> Path | None:
    """The file that a reference stands for, found without importing anything; None where there is none."""
    if not _is_code(reference):
        return Path(reference) if Path(reference).is_file() else None
    place = reference.rpartition(":")[0]
    if place.endswith(".py"):
        path = Path(place).expanduser()
        return path if path.is_file() else None
    return _module_file(place)


def hash_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hashes(values: Mapping[str, Any]) -> dict[str, str]:
    """{reference: SHA-256} of all code and files that a run names; BadInput where one is not there."""
    found = {}
    for reference in references(values):
        path = source_of(reference)
        if path is None:
            raise BadInput(f"'{reference}': there is no such file or module here. Check the name.")
        found[reference] = hash_of(path)
    return found


def check_names(values: Mapping[str, Any], sources: Mapping[str, str], allow: Sequence[str]) -> None:
    """BadInput where a run names code that is not allowed here, not here, or not the same here."""
    for reference in references(values):
        if _is_code(reference) and not _allowed(reference, allow):
            place = reference.rpartition(":")[0]
            raise BadInput(
                f"the run names '{reference}', code that this agent does not allow. If you trust it, add '{place}' to "
                "`allow` in agent.yaml, or start the agent with --allow."
            )
        path = source_of(reference)
        if path is None:
            raise BadInput(
                f"the run names '{reference}', which is not on this machine. Copy or install it here under the same "
                "name."
            )
        if hash_of(path) != sources.get(reference):
            raise BadInput(
                f"the run names '{reference}', but {path} here is another version than the starter's. Install the same "
                "on all machines."
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _is_code(text: str) -> bool:
    return ":" in text


def _allowed(reference: str, allow: Sequence[str]) -> bool:
    place = reference.rpartition(":")[0]
    if reference in allow or place in allow:
        return True
    if place.endswith(".py"):
        path = Path(place).expanduser().resolve()
        return any(
            path.is_relative_to(Path(prefix).expanduser().resolve()) for prefix in allow if "/" in prefix
        )
    return any(place.startswith(f"{prefix}.") for prefix in allow)


def _module_file(module: str) -> Path | None:
    """The file of a module, found folder by folder: an import of its package would already run code."""
    where: Sequence[str] | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        try:
            spec = PathFinder.find_spec(".".join(parts[:depth]), where)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        if depth == len(parts):
            return Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None
        where = list(spec.submodule_search_locations or ())
        if not where:
            return None
    return None
