"""This machine as a board: its instruction set, cores and memory from /proc."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgekit.errors import BadInput
from edgekit.target import Board

# From best to least: (name, vector bits, CPU flags that must all be there).
X86_SETS = (
    ("avx512-vnni", 512, {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"}),
    ("avx-vnni", 256, {"avx2", "avx_vnni"}),
    ("avx512", 512, {"avx512f", "avx512bw", "avx512vl", "avx512dq"}),
    ("avx2", 256, {"avx2", "fma"}),
    ("avx", 256, {"avx"}),
    ("sse4.1", 128, {"sse4_1"}),
    ("sse2", 128, {"sse2"}),
)
ARM_SETS = (
    ("neon-i8mm", 128, {"asimd", "i8mm"}),
    ("neon-dotprod", 128, {"asimd", "asimddp"}),
    ("neon", 128, {"asimd"}),
    ("neon", 128, {"neon"}),
)


def this_machine(root: Path = Path("/")) -> Board:
    """The board under `root` (/ on a real machine), from proc/cpuinfo, proc/meminfo and the device tree.

    BadInput where proc/cpuinfo is absent or lists no instruction set that onnxruntime has kernels for.
    """
    entries = _cpuinfo(root / "proc/cpuinfo")
    is_x86 = any("flags" in entry for entry in entries)
    flags = _common(entry.get("flags" if is_x86 else "Features", "") for entry in entries)
    name, bits = _instruction_set(flags, X86_SETS if is_x86 else ARM_SETS)
    machine = "x86-64" if is_x86 else "aarch64" if "asimd" in flags else "armv7l"
    facts = {
        "machine": machine,
        "instruction_set": name,
        "vector_bits": bits,
        "cores": len(entries),
        "memory_bytes": _memory(root / "proc/meminfo"),
        "cpu": _model(root, entries),
    }
    sources = dict.fromkeys(facts, "/proc/cpuinfo") | {"memory_bytes": "/proc/meminfo, MemTotal"}
    return Board("this-machine", f"{machine} {name}", "cpu", {**facts, "sources": sources})


def _cpuinfo(path: Path) -> list[dict[str, str]]:
    """One dict a logical core."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(
            f"this-machine: {path} cannot be read ({error.strerror}); only Linux describes its CPU there. "
            "Name a board instead (edgekit boards lists them)."
        ) from error
    blocks = (dict(_pairs(block)) for block in re.split(r"\n\s*\n", text))
    return [block for block in blocks if "processor" in block]


def _pairs(block: str) -> Iterable[tuple[str, str]]:
    for line in block.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _common(lists: Iterable[str]) -> set[str]:
    """The flags that every core has: big and little cores may differ, and a thread may run on either."""
    sets = [set(words.split()) for words in lists if words]
    return set.intersection(*sets) if sets else set()


def _instruction_set(flags: set[str], table: tuple[tuple[str, int, set[str]], ...]) -> tuple[str, int]:
    for name, bits, needed in table:
        if needed <= flags:
            return name, bits
    raise BadInput(
        "this-machine: /proc/cpuinfo lists no vector instructions (SSE2, AVX2, NEON ...). Name a board "
        "instead (edgekit boards lists them)."
    )


def _memory(path: Path) -> int | None:
    """MemTotal in bytes, or None where the file does not say."""
    try:
        found = re.search(r"^MemTotal:\s+(\d+) kB", path.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def _model(root: Path, entries: list[dict[str, str]]) -> str | None:
    """The board's name where a device tree has one (most Arm boards), else the CPU's."""
    tree = root / "proc/device-tree/model"
    if tree.is_file():
        return tree.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    return next((entry["model name"] for entry in entries if "model name" in entry), None)
