"""A tool with a Python environment of its own: where it lives, what it lacks, and how it is made.

FINN and hls4ml ask for releases that cannot stand beside edgekit's, so each has a virtual environment and is run as a
process. The folder is complete when its marker file is there, which is written last: after a kill the next install
starts the environment again and finds the downloads in pip's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import BadInput, EdgekitError

MARKER = "edgekit-tool.json"


@dataclass(frozen=True)
class Environment:
    """A complete environment: its folder, its Python's version, its packages and the tool's release."""

    folder: Path
    python_version: str
    packages: dict[str, str]
    release: str

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"


@dataclass(frozen=True)
class Tool:
    """A tool: its name, its package, the word of `edgekit doctor --install`, what it takes, and its worker.

    `requirements` and `worker.py` lie in `home`; `worker.py --check` imports the tool and prints, as JSON, {"python":
    version, "packages": {name: release}}. `programs` {name: Debian package} must be on the PATH.
    """

    name: str
    package: str
    word: str
    home: Path
    size: str
    download: str
    pythons: tuple[tuple[int, int], tuple[int, int]]  # the first and the last that the package takes
    programs: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """What installs it."""
        return f"edgekit doctor --install {self.word}"

    @property
    def variable(self) -> str:
        """The environment variable that names its folder."""
        return f"EDGEKIT_{self.name.upper()}"

    @property
    def worker(self) -> Path:
        """The script that runs inside the environment."""
        return self.home / "worker.py"

    @property
    def pins(self) -> list[str]:
        """Every package with its release."""
        lines = (self.home / "requirements.txt").read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]

    def location(self) -> Path:
        """Where the environment lives: as the variable says, or in the user's cache."""
        if named := os.environ.get(self.variable):
            return Path(named).expanduser()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "edgekit" / self.name.lower()

    def probe(self) -> str:
        """What is missing, in one line without a full stop; "" where nothing is."""
        folder = self.location()
        if not (folder / MARKER).is_file():
            state = "only partly installed" if (folder / "pyvenv.cfg").is_file() else "not installed"
            return f"{self.name} is {state} in {folder}"
        if self._marker(folder).get("requirements") != self._fingerprint():
            return f"{self.name} in {folder} has other releases than this edgekit asks for"
        if not os.access(folder / "bin" / "python", os.X_OK):
            return f"{self.name}'s Python {folder / 'bin' / 'python'} is gone"
        absent = [program for program, _ in self.programs if shutil.which(program) is None]
        return f"{self.name} needs {absent[0]}, which is not on the PATH" if absent else ""

    def find(self) -> Environment | None:
        """The environment, or None where it is absent, half made or made for other releases."""
        if self.probe():
            return None
        told = self._marker(self.location())
        return Environment(self.location(), told["python"], told["packages"], told["packages"][self.package])

    def require(self) -> Environment:
        """The environment; EdgekitError with the install command where there is none."""
        found = self.find()
        if found is None:
            raise EdgekitError(f"{self.word}: {self.probe()}. Run: {self.command} ({self.size})")
        return found

    def install(self, say: Callable[[str], None]) -> Environment:
        """Make the environment and prove that the tool can be imported in it; a complete one is kept.

        BadInput where the folder holds something else, no fitting Python or program is found, or the download fails.
        """
        folder = self.location()
        if found := self.find():
            say(f"{self.name} {found.release} is installed in {folder}.")
            return found
        self._check(folder)
        start = time.monotonic()
        (folder / MARKER).unlink(missing_ok=True)
        say(
            f"{self.name} needs {self.size} in {folder}: {len(self.pins)} packages, {self.download} to download."
        )
        self._make(folder)
        say(f"Importing {self.name} for the first time.")
        told = json.loads(
            self._run([str(folder / "bin" / "python"), "-I", str(self.worker), "--check"]).splitlines()[-1]
        )
        self._mark(folder, told)
        made = self.require()
        say(
            f"{self.name} {made.release} is ready after {time.monotonic() - start:.0f} s, {_megabytes(folder)} MB."
        )
        return made

    def _check(self, folder: Path) -> None:
        if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
            raise BadInput(
                f"{self.word}: {folder} holds other files. Empty it, or name another folder in {self.variable}."
            )
        for program, package in self.programs:
            if shutil.which(program) is None:
                raise BadInput(f"{self.word}: {program} is not on the PATH. On Debian: apt install {package}")

    def _make(self, folder: Path) -> None:
        self._run([self._interpreter(), "-m", "venv", "--clear", str(folder)])
        pip = [
            str(folder / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
        ]
        self._run([*pip, "--quiet", "--no-deps", "-r", str(self.home / "requirements.txt")])

    def _run(self, command: list[str]) -> str:
        done = outside(command)
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
            why = errors[-1].strip().rstrip(".")
            raise BadInput(
                f"{self.word}: {self.name} cannot be installed: {why}. Then run again: {self.command}"
            )
        return done.stdout.strip()

    def _interpreter(self) -> str:
        """An interpreter that the package takes: this one, or one on the PATH."""
        first, last = self.pythons
        if first <= sys.version_info[:2] <= last:
            return sys.executable
        for minor in range(last[1], first[1] - 1, -1):
            if found := shutil.which(f"python3.{minor}"):
                return found
        raise BadInput(
            f"{self.word}: {self.name} needs Python {first[0]}.{first[1]} to {last[0]}.{last[1]}; this is "
            f"{platform.python_version()} and no other is on the PATH. Install one, then run: {self.command}"
        )

    def _fingerprint(self) -> str:
        return hashlib.sha256("\n".join(self.pins).encode()).hexdigest()[:16]

    def _mark(self, folder: Path, told: dict[str, Any]) -> None:
        partly = folder / f"{MARKER}.part"
        partly.write_text(
            json.dumps({"requirements": self._fingerprint(), **told}, indent=2), encoding="utf-8"
        )
        partly.replace(folder / MARKER)

    @staticmethod
    def _marker(folder: Path) -> dict[str, Any]:
        """What the marker says; empty where it cannot be read."""
        try:
            told = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


def outside(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command without the PYTHON variables of this process, its output as text."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, text=True, capture_output=True, check=False, env=clean)


def _megabytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) // 10**6
