"""What pip resolves of edgekit for each board: its machine, its C library, its Python and an extra.

Run by hand: python tests/benchmarks/installs.py [PLATFORM:EXTRA ...] [--write]

Without cases it asks for every extra on the platform of every board, which takes some minutes and a package index, and
says where the table behind `edgekit boards --installs` is not what pip says now; --write rewrites that table. A case
such as aarch64-glibc2.36-python3.11:cpu is asked alone, and one that the table does not have must resolve.

Only metadata is asked for, of wheels alone, and nothing is installed; a pip that can do so without whole files (24.1)
is put into a folder of its own first. pip takes --platform and --python-version, yet evaluates markers such as
platform_machine for the machine that it runs on: this tells it the other one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edgekit.target import board_names, find_board  # noqa: E402
from firmware_bridge.installs import EXTRAS, FILE, Platform, platforms, table, too_old  # noqa: E402

PIP = """
import runpy, sys
from pip._vendor.packaging import markers
own = markers.default_environment()
machine, python = sys.argv[1:3]
own |= {"platform_machine": machine, "python_version": python}
own |= {"python_full_version": python + ".0", "implementation_version": python + ".0"}
markers.default_environment = lambda: dict(own)
sys.argv = ["pip", *sys.argv[3:]]
runpy.run_module("pip", run_name="__main__")
"""
HOLDS = {"fpga": EXTRAS, "host": ("core", "cpu", "train", "broker", "host")}  # what an extra brings with it
FAST = "--use-feature=fast-deps"  # the metadata of a wheel by a part of the file, where the index has none beside it
SECONDS = 600


def main() -> int:
    """0 where pip says what the table says, or was told to write it; 1 elsewhere."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="edgekit-installs-") as folder:
        use_new_pip(Path(folder) / "pip")
        wheel = build_wheel(Path(folder))
        if options.cases:
            return asked(options.cases, wheel)
        with ThreadPoolExecutor(options.jobs) as pool:
            tables = pool.map(lambda platform: decided(platform, wheel), all_platforms())
            found = {str(platform): value for platform, value in zip(all_platforms(), tables, strict=True)}
    if options.write:
        FILE.write_text(as_toml(found), encoding="utf-8")
        print(f"written: {FILE}")
        return 0
    differing = [name for name, value in found.items() if value != table().get(name)]
    for name in differing:
        print(f"{name}: the table says {table().get(name)}; run again with --write", file=sys.stderr)
    return int(bool(differing))


def arguments() -> argparse.Namespace:
    """The words of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="PLATFORM:EXTRA", type=case)
    parser.add_argument("--write", action="store_true", help="rewrite the table of the product")
    parser.add_argument("--jobs", type=int, default=2, help="pips at a time, which mostly wait for the index")
    return parser.parse_args()


def case(text: str) -> tuple[Platform, str]:
    """aarch64-glibc2.36-python3.11:cpu as a platform and an extra."""
    found = re.fullmatch(r"(.+)-glibc(\d\.\d+)-python(\d\.\d+):(\w+)", text)
    if not found or found[4] not in EXTRAS:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no case; write aarch64-glibc2.36-python3.11:EXTRA, EXTRA of {', '.join(EXTRAS)}"
        )
    return Platform(*found.groups()[:3]), found[4]


def all_platforms() -> list[Platform]:
    """Each platform of the known boards that has a Python which edgekit takes, once."""
    boards = [find_board(name) for name in board_names() if name != "this-machine"]
    found = {platform for board in boards for platform in platforms(board) if not too_old(platform)}
    return sorted(found, key=str)


def use_new_pip(folder: Path) -> None:
    """A pip that leaves out what only an installation would need to download, for this process's children."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "pip>=24.1"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def build_wheel(folder: Path) -> Path:
    """edgekit's wheel, of a copy of what git knows and does not ignore, so that no build folder is left here."""
    source = folder / "source"
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, check=True).stdout.split(b"\0")
    for name in filter(None, map(bytes.decode, names)):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())
    made = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("edgekit-*.whl"))


def asked(cases: Iterable[tuple[Platform, str]], wheel: Path) -> int:
    """Ask pip for single cases and compare them with the table; what it does not have must resolve."""
    wrong = 0
    for platform, extra in cases:
        reason = told(platform, extra, wheel)
        expected = table().get(str(platform), {}).get("fails", {}).get(extra)
        wrong += reason != expected
        if reason != expected:
            print(f"{platform}:{extra}: the table says {expected or 'installs'}", file=sys.stderr)
    return int(wrong > 0)


def decided(platform: Platform, wheel: Path) -> dict[str, Any]:
    """The platform's table: the largest extra is asked first, since what it holds resolves with it."""
    installs: set[str] = set()
    fails: dict[str, str] = {}
    for extra in ("core", *reversed(EXTRAS[1:])):
        if extra in installs:
            continue
        reason = fails.get("core") or told(platform, extra, wheel)
        if reason is None:
            installs |= set(HOLDS.get(extra, (extra,)))
        else:
            fails[extra] = reason
    found: dict[str, Any] = {"installs": [extra for extra in EXTRAS if extra in installs]}
    return found | ({"fails": {extra: fails[extra] for extra in EXTRAS if extra in fails}} if fails else {})


def told(platform: Platform, extra: str, wheel: Path) -> str | None:
    """Ask pip, and print one JSON line: the reason why an extra does not resolve, None where it does."""
    start = time.perf_counter()
    reason = ask(platform, extra, wheel)
    seconds = round(time.perf_counter() - start, 1)
    print(
        json.dumps({"platform": str(platform), "extra": extra, "reason": reason, "seconds": seconds}),
        flush=True,
    )
    return reason


def ask(platform: Platform, extra: str, wheel: Path) -> str | None:
    """Why pip cannot resolve the extra for the platform; None where it can."""
    machine = platform.machine.replace("x86-64", "x86_64")
    words = f"install --dry-run --ignore-installed --no-input --progress-bar=off --only-binary=:all: {FAST} "
    words += f"--implementation cp --python-version {platform.python} --target"
    command = [
        sys.executable,
        "-c",
        PIP,
        machine,
        platform.python,
        *words.split(),
        str(wheel.parent / "none"),
    ]
    command += [*wheel_tags(machine, platform.glibc), str(wheel) + ("" if extra == "core" else f"[{extra}]")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    return None if done.returncode == 0 else why(done.stdout + done.stderr)


def wheel_tags(machine: str, glibc: str) -> list[str]:
    """--platform words for every wheel that runs there: manylinux up to the board's C library (PEP 600)."""
    newest = int(glibc.split(".")[1])
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    tags += [f"manylinux2014_{machine}", f"linux_{machine}"]
    return [word for tag in tags for word in ("--platform", tag)]


def why(said: str) -> str:
    """pip's words as a reason; a connection that failed is none, and ends the run."""
    if re.search(r"NewConnectionError|ConnectTimeout|Temporary failure|Max retries", said):
        raise SystemExit("installs: the package index cannot be reached. Connect, or set PIP_INDEX_URL.")
    missing = re.findall(r"No matching distribution found for ([\w.-]+)", said)
    # where a constraint file names the package too, pip calls what has no wheel a conflict
    missing = missing or re.findall(r" depends on ([\w.-]+)", said.partition("The conflict is caused by:")[2])
    names = list(dict.fromkeys(missing))
    if len(names) > 1:
        return f"conflict of {' and '.join(names)}"
    return f"no wheel of {names[0]}" if names else said.strip().splitlines()[-1]


def as_toml(found: dict[str, dict[str, Any]]) -> str:
    """The verdicts as the product's file; JSON's lists and texts are TOML's."""
    lines = ["# What pip resolves of edgekit, by platform: written by tests/benchmarks/installs.py --write"]
    for name, value in found.items():
        lines += ["", f'["{name}"]', f"installs = {json.dumps(value['installs'])}"]
        if "fails" in value:
            fails = ", ".join(f"{extra} = {json.dumps(reason)}" for extra, reason in value["fails"].items())
            lines += [f"fails = {{ {fails} }}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
