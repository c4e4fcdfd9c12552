"""Reading the imports of every module of the three packages, without importing any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("edgekit", "targets", "firmware_bridge")


@dataclass(frozen=True)
class Import:
    """One import: the module that has it, what it names, and whether it runs when the module is loaded."""

    module: str
    name: str
    line: int
    at_load: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every product module."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(module: str, path: Path) -> list[Import]:
    """Every import of a module, in functions too."""
    return list(_walk(tree(path), module, path.name == "__init__.py", at_load=True, for_types=False))


def _walk(node: ast.AST, module: str, package: bool, *, at_load: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inner_load, inner_types = at_load, for_types
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inner_load = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and child in node.body:
            inner_types = True
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            for name in _names(child, module, package):
                yield Import(module, name, child.lineno, inner_load and not inner_types, inner_types)
        yield from _walk(child, module, package, at_load=inner_load, for_types=inner_types)


def _names(node: ast.Import | ast.ImportFrom, module: str, package: bool) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    parts = module.split(".")
    base = parts[: len(parts) - node.level + package] if node.level else []
    source = ".".join([*base, node.module] if node.module else base)
    known = modules()
    return [f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source for alias in node.names]


def inside(name: str, place: str) -> bool:
    """Whether a dotted name is a place, or lies in it."""
    return name == place or name.startswith(place + ".")
