"""Trees like those that the kernel of a board shows, and fake commands on PATH."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Tree = Callable[[Mapping[str, object]], Path]
Command = Callable[[str, str], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Write files by path under a root, each with the newline that the kernel adds."""

    def write(files: Mapping[str, object]) -> Path:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, value in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        return root

    return write


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Put a shell script on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write
