"""Board files, and this machine read from trees that look like /proc."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit.errors import BadInput
from edgekit.target import board_names, find_board
from firmware_bridge.boards import BoardFiles
from firmware_bridge.boards.machine import this_machine

X86 = "sse2 sse4_1 avx f16c fma avx2"
FULL = f"{X86} avx512f avx512dq avx512bw avx512vl"


def tree(root, *, flags=None, features=None, cores=2, model="Some CPU", device=None):
    (root / "proc").mkdir()
    line = f"flags\t\t: {flags}" if flags is not None else f"Features\t: {features}"
    blocks = [f"processor\t: {core}\nmodel name\t: {model}\n{line}\n" for core in range(cores)]
    (root / "proc/cpuinfo").write_text("\n".join(blocks))
    (root / "proc/meminfo").write_text("MemTotal:        1000 kB\nMemFree: 10 kB\n")
    if device:
        (root / "proc/device-tree").mkdir()
        (root / "proc/device-tree/model").write_text(f"{device}\0")
    return root


@pytest.mark.parametrize(
    ("flags", "title", "bits"),
    [
        (f"{FULL} avx512_vnni", "x86-64 avx512-vnni", 512),
        (f"{X86} avx_vnni", "x86-64 avx-vnni", 256),
        (FULL, "x86-64 avx512", 512),
        (X86, "x86-64 avx2", 256),
        ("sse2 sse4_1", "x86-64 sse4.1", 128),
        (f"{X86} avx512_vnni", "x86-64 avx2", 256),  # the flag without the registers that it needs
    ],
)
def test_x86_instruction_sets(tmp_path, flags, title, bits):
    board = this_machine(tree(tmp_path, flags=flags, cores=3))
    assert (board.name, board.title, board.target) == ("this-machine", title, "cpu")
    assert board.facts["vector_bits"] == bits
    assert board.facts["cores"] == 3
    assert board.facts["memory_bytes"] == 1000 * 1024
    assert board.facts["cpu"] == "Some CPU"


def test_arm_board_is_named_by_its_device_tree(tmp_path):
    board = this_machine(tree(tmp_path, features="fp asimd asimddp", device="Raspberry Pi 5 Model B"))
    assert board.title == "aarch64 neon-dotprod"
    assert board.facts["cpu"] == "Raspberry Pi 5 Model B"


def test_unlike_cores_share_what_both_have(tmp_path):
    tree(tmp_path, features="fp asimd asimddp i8mm", cores=1)
    with (tmp_path / "proc/cpuinfo").open("a") as file:
        file.write("\nprocessor\t: 1\nFeatures\t: fp asimd asimddp\n")
    assert this_machine(tmp_path).title == "aarch64 neon-dotprod"


def test_32_bit_arm(tmp_path):
    assert this_machine(tree(tmp_path, features="half thumb neon vfpv4")).title == "armv7l neon"


def test_no_cpuinfo_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=r"this-machine: .*cpuinfo cannot be read"):
        this_machine(tmp_path)


def test_no_vector_instructions_is_one_line(tmp_path):
    with pytest.raises(BadInput, match="no vector instructions"):
        this_machine(tree(tmp_path, flags="fpu"))


def test_every_shipped_board_loads_with_sources():
    for name in ("arm64", "x86-avx2", "x86-vnni"):
        board = BoardFiles().load(name)
        assert board.target == "cpu"
        facts = {key for key in board.facts if key != "sources"}
        assert facts == set(board.facts["sources"])
        assert all(board.facts["sources"].values())


def test_boards_are_found_by_entry_point():
    assert {"this-machine", "x86-vnni", "x86-avx2", "arm64"} <= set(board_names())
    assert find_board("x86-vnni").facts["instruction_set"] == "avx512-vnni"
    with pytest.raises(BadInput, match="Did you mean 'x86-vnni'"):
        find_board("x86-vnny")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('title = "a"', "has no target"),
        ('title = "a"\ntarget = "cpu"\n[cores]\nvalue = 2', "'cores' needs a value and a source"),
        ("title = ", "cannot be read"),
    ],
)
def test_broken_board_files_are_one_line(tmp_path, text, match):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadInput, match=match):
        BoardFiles(tmp_path).load("mine")


def test_runtimes_and_boards_import_no_torch():
    code = (
        "import sys, firmware_bridge.boards, targets.cpu, targets.cpu.runtime, targets.cpu.caps, "
        "edgekit.profile; print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
