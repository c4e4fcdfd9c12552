"""FINN's own Python environment: where it lives, what it lacks, and how it is made.

FINN asks for releases that cannot stand beside edgekit's, so it has a virtual environment of its own and is run
as a process. The folder is complete when its marker file is there, which is written last: after a kill the next
install starts the environment again and finds the downloads in pip's cache.
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

from edgekit.errors import BadInput, EdgekitError

SIZE = "0.7 GB"
DOWNLOAD = "130 MB"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
MARKER = "edgekit-finn.json"
PYTHONS = ((3, 11), (3, 14))  # the first and the last that finn-plus 1.6.1 takes
INSTALL = "edgekit doctor --install fpga"


@dataclass(frozen=True)
class Environment:
    """A complete environment: its folder, its Python's version and its packages."""

    folder: Path
    python_version: str
    packages: dict[str, str]

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.folder / "bin" / "python"

    @property
    def finn(self) -> str:
        """The release of finn-plus."""
        return self.packages["finn-plus"]


def location() -> Path:
    """Where the environment lives: $EDGEKIT_FINN, or edgekit/finn in the user's cache."""
    if named := os.environ.get("EDGEKIT_FINN"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit" / "finn"


def find(folder: Path | None = None) -> Environment | None:
    """The environment, or None where it is absent, half made or made for other releases."""
    folder = folder or location()
    return None if probe(folder) else _marked(folder)


def require(folder: Path | None = None) -> Environment:
    """The environment; EdgekitError with the install command where there is none."""
    found = find(folder)
    if found is None:
        raise EdgekitError(f"fpga: {probe(folder)}. Run: {INSTALL} ({SIZE})")
    return found


def probe(folder: Path | None = None) -> str:
    """What is missing, in one line without a full stop; "" where nothing is."""
    folder = folder or location()
    if not (folder / MARKER).is_file():
        state = "only partly installed" if (folder / "pyvenv.cfg").is_file() else "not installed"
        return f"FINN is {state} in {folder}"
    try:
        made_for = json.loads((folder / MARKER).read_text(encoding="utf-8"))["requirements"]
    except (ValueError, KeyError, TypeError):
        return f"FINN's marker {folder / MARKER} cannot be read"
    if made_for != _fingerprint():
        return f"FINN in {folder} has other releases than this edgekit asks for"
    if not os.access(folder / "bin" / "python", os.X_OK):
        return f"FINN's Python {folder / 'bin' / 'python'} is gone"
    return ""


def install(say: Callable[[str], None] = print, *, folder: Path | None = None) -> Environment:
    """Make the environment and prove that FINN can be imported in it; an already complete one is kept.

    BadInput where the folder holds something else, no fitting Python is found or the download fails.
    """
    folder = folder or location()
    if found := find(folder):
        say(f"FINN {found.finn} is installed in {folder}.")
        return found
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise BadInput(f"fpga: {folder} holds other files. Empty it, or name another folder in EDGEKIT_FINN.")
    start = time.monotonic()
    (folder / MARKER).unlink(missing_ok=True)
    say(f"FINN needs {SIZE} in {folder}: {len(_packages())} packages, {DOWNLOAD} to download.")
    _make(folder, say)
    say("Importing FINN for the first time.")
    made = Environment(folder, *_checked(folder))
    _mark(made)
    say(f"FINN {made.finn} is ready after {time.monotonic() - start:.0f} s, {_megabytes(folder)} MB.")
    return made


def _make(folder: Path, say: Callable[[str], None]) -> None:
    _run([_python(), "-m", "venv", "--clear", str(folder)], "the virtual environment cannot be made")
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
    ]
    say("Downloading and installing.")
    _run([*pip, "--quiet", "--no-deps", "-r", str(REQUIREMENTS)], "pip failed")


def _checked(folder: Path) -> tuple[str, dict[str, str]]:
    """Python's version and the packages' as the environment itself tells them, FINN's builder imported."""
    worker = Path(__file__).with_name("worker.py")
    lines = _run([str(folder / "bin" / "python"), "-I", str(worker), "--check"], "FINN cannot be imported")
    told = json.loads(lines.strip().splitlines()[-1])
    return told["python"], told["packages"]


def _run(command: list[str], what: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=clean)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).strip().splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
        raise BadInput(f"fpga: {what}: {errors[-1].strip().rstrip('.')}. Then run again: {INSTALL}")
    return done.stdout


def _python() -> str:
    """An interpreter that finn-plus takes: this one, or one on the PATH."""
    first, last = PYTHONS
    if first <= sys.version_info[:2] <= last:
        return sys.executable
    for minor in range(last[1], first[1] - 1, -1):
        if found := shutil.which(f"python3.{minor}"):
            return found
    raise BadInput(
        f"fpga: FINN needs Python {first[0]}.{first[1]} to {last[0]}.{last[1]}; this is "
        f"{platform.python_version()} and no other is on the PATH. Install one of them, then run: {INSTALL}"
    )


def _packages() -> list[str]:
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _fingerprint() -> str:
    return hashlib.sha256("\n".join(_packages()).encode()).hexdigest()[:16]


def _mark(made: Environment) -> None:
    text = json.dumps(
        {"requirements": _fingerprint(), "python": made.python_version, "packages": made.packages}, indent=2
    )
    partly = made.folder / f"{MARKER}.part"
    partly.write_text(text, encoding="utf-8")
    partly.replace(made.folder / MARKER)


def _marked(folder: Path) -> Environment:
    told = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    return Environment(folder, told["python"], told["packages"])


def _megabytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) // 10**6
