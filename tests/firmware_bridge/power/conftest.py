"""Trees like those that the kernel of a board shows, and fake commands on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Tree = Callable[[Mapping[str, object]], Path]
Command = Callable[[str, str], Path]
Refused = Callable[[Path, str, str], str]


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


@pytest.fixture
def refused() -> Refused:
    """What the catalog says of a kind of sensor to a user who is not root, and may not read one file."""

    def ask(root: Path, kind: str, file: str) -> str:
        public = Path(tempfile.mkdtemp(prefix="edgekit-power-"))
        try:
            shutil.copytree(root, public / "root")
            public.chmod(0o755)
            (public / "root" / file).chmod(0o400 if os.geteuid() == 0 else 0)
            code = (
                "import os, sys\nfrom pathlib import Path\nfrom firmware_bridge.power import find_sensor\n"
                "if os.geteuid() == 0: os.seteuid(65534)\n"
                "try: find_sensor(sys.argv[2], Path(sys.argv[1])).read()\nexcept Exception as error: print(error)"
            )
            words = [sys.executable, "-c", code, str(public / "root"), kind]
            return subprocess.run(words, capture_output=True, text=True, check=True).stdout
        finally:
            shutil.rmtree(public)

    return ask
