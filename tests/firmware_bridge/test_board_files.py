"""Every shipped board file: its facts, their sources, its variants; and what is refused in a board file."""

from __future__ import annotations

import re

import pytest

from edgekit.errors import BadInput
from firmware_bridge.boards import THIS_MACHINE, BoardFiles, read_board

NAMES = [name for name in BoardFiles().names() if name != THIS_MACHINE]
BOARDS = {name: BoardFiles().load(name) for name in NAMES}
JETSONS = [name for name in NAMES if BOARDS[name].target == "jetson"]
FPGAS = [name for name in NAMES if BOARDS[name].target == "fpga"]

# What each target reads of a board, and the type of each fact.
COMMON = {"machine": str}
PROCESSOR = {"cpu": str, "cores": int, "memory_bytes": int}
REQUIRED = {
    "cpu": {**COMMON, "instruction_set": str, "vector_bits": int},
    "jetson": {
        **COMMON,
        **PROCESSOR,
        **dict.fromkeys(("gpu", "compute_capability", "jetpack", "tensorrt", "python", "cuda", "tegra"), str),
        "dla_cores": int,
        "int8": bool,
        "power_modes": list,
    },
    "fpga": {
        **COMMON,
        **PROCESSOR,
        **dict.fromkeys(("part", "finn_board", "shell_flow"), str),
        **dict.fromkeys(("lut", "flip_flops", "bram18", "dsp", "uram", "clock_mhz"), int),
    },
}
# JetPack's major version: the TensorRT that it carries, its Python and its CUDA.
JETPACKS = {"5": ("8.5.2", "3.8", "11.4"), "6": ("10.3", "3.10", "12.6"), "7": ("10.16", "3.12", "13.2")}
# (LUTs, flip-flops, 18-Kb block RAMs, DSP slices, UltraRAMs) of each part.
FABRICS = {
    "xc7z020clg400-1": (53200, 106400, 280, 220, 0),
    "xczu3eg-sbva484-1-i": (70560, 141120, 432, 360, 0),
    "xck26-sfvc784-2LV-c": (117120, 234240, 288, 1248, 64),
    "xczu7ev-ffvc1156-2-e": (230400, 460800, 624, 1728, 96),
}

MINE = """
title = "A board"
target = "jetson"
[cores]
value = 2
source = "its data sheet"
[tensorrt]
value = "10.3"
source = "its manual"
"""


def written(folder, text, *, name="mine"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_the_boards_that_ship():
    assert {name for name in NAMES if BOARDS[name].target == "cpu"} == {"arm64", "x86-avx2", "x86-vnni"}
    assert set(FPGAS) == {"pynq-z1", "pynq-z2", "ultra96-v2", "kv260", "zcu104"}
    alone = {"jetson-xavier-nx", "jetson-thor", "jetson-agx-orin", "jetson-orin-nx", "jetson-orin-nano"}
    orin = ("jetson-agx-orin", "jetson-orin-nx", "jetson-orin-nano")
    variants = {f"{name}-jetpack-{number}" for name in orin for number in (5, 7)}
    assert set(JETSONS) == alone | variants | {"jetson-agx-orin-tensorrt-11", "jetson-thor-tensorrt-11"}


@pytest.mark.parametrize("name", NAMES)
def test_board_names_can_be_folder_names(name):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert BOARDS[name].name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_says_where_it_comes_from(name):
    facts = BOARDS[name].facts
    sources = facts["sources"]
    assert set(sources) == set(facts) - {"sources"}
    assert all(isinstance(source, str) and len(source) > 10 for source in sources.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_board_has_the_facts_of_its_target(name):
    board = BOARDS[name]
    for fact, kind in REQUIRED[board.target].items():
        assert type(board.facts[fact]) is kind, fact
        assert board.facts[fact] not in ("", []), fact


@pytest.mark.parametrize("name", [*JETSONS, *FPGAS])
def test_processors_are_plausible(name):
    facts = BOARDS[name].facts
    assert facts["machine"] in ("aarch64", "armv7l")
    assert 2 <= facts["cores"] <= 16
    assert 2**29 <= facts["memory_bytes"] <= 2**37
    assert facts["memory_bytes"] % 2**29 == 0


@pytest.mark.parametrize("name", JETSONS)
def test_jetson_facts_belong_together(name):
    facts = BOARDS[name].facts
    tegra = {"7.2": "tegra194", "8.7": "tegra234", "11.0": "tegra264"}
    assert facts["tegra"] == tegra[facts["compute_capability"]]
    assert facts["machine"] == "aarch64"
    assert facts["dla_cores"] in (0, 2)
    assert len(set(facts["power_modes"])) == len(facts["power_modes"])
    assert all(re.fullmatch(r"[A-Z0-9_]+", mode) for mode in facts["power_modes"])
    assert re.fullmatch(r"[A-Z][a-z]+, \d+ CUDA cores, \d+ tensor cores", facts["gpu"])
    assert all(re.fullmatch(r"\d+(\.\d+)+", facts[key]) for key in ("jetpack", "tensorrt", "python", "cuda"))


@pytest.mark.parametrize("name", JETSONS)
def test_jetpack_brings_its_own_tensorrt_python_and_cuda(name):
    facts = BOARDS[name].facts
    tensorrt, *rest = JETPACKS[facts["jetpack"].split(".")[0]]
    assert [facts["python"], facts["cuda"]] == rest
    assert facts["tensorrt"] == ("11.4" if name.endswith("tensorrt-11") else tensorrt)


@pytest.mark.parametrize("name", FPGAS)
def test_fpga_facts_belong_to_the_part(name):
    facts = BOARDS[name].facts
    fabric = tuple(facts[key] for key in ("lut", "flip_flops", "bram18", "dsp", "uram"))
    assert fabric == FABRICS[facts["part"]]
    assert facts["flip_flops"] == 2 * facts["lut"]
    zynq_7000 = facts["part"].startswith("xc7z")
    assert facts["machine"] == ("armv7l" if zynq_7000 else "aarch64")
    assert facts["cpu"] == ("Arm Cortex-A9" if zynq_7000 else "Arm Cortex-A53")
    assert (facts["shell_flow"], facts["clock_mhz"]) == ("vivado_zynq", 100)


def test_a_variant_replaces_facts_and_their_sources():
    board, older = BOARDS["jetson-orin-nano"], BOARDS["jetson-orin-nano-jetpack-5"]
    assert older.title == f"{board.title}, JetPack 5.1"
    assert (board.target, older.target) == ("jetson", "jetson")
    changed = {fact for fact in board.facts if board.facts[fact] != older.facts[fact]} - {"sources"}
    assert changed == {"jetpack", "tensorrt", "python", "cuda", "power_modes"}
    sources, newer = older.facts["sources"], board.facts["sources"]
    assert {fact for fact in newer if sources[fact] != newer[fact]} == changed
    assert "5.1.1" in sources["tensorrt"]


def test_a_variant_without_a_title_is_called_by_its_name(tmp_path):
    path = written(tmp_path, f'{MINE}[variants.old.tensorrt]\nvalue = "8.5"\nsource = "an old manual"\n')
    assert BoardFiles(tmp_path).names() == ["mine", "mine-old", THIS_MACHINE]
    board = BoardFiles(tmp_path).load("mine-old")
    assert board == read_board(path, "old")
    assert (board.name, board.title) == ("mine-old", "A board, old")
    assert board.facts["cores"] == 2
    assert board.facts["tensorrt"] == "8.5"
    assert board.facts["sources"] == {"cores": "its data sheet", "tensorrt": "an old manual"}
    assert read_board(path).facts["tensorrt"] == "10.3"


def test_a_file_comes_before_a_variant_of_its_name(tmp_path):
    written(tmp_path, f'{MINE}[variants.old]\ntitle = "the variant"\n')
    written(tmp_path, MINE.replace("A board", "The file"), name="mine-old")
    assert BoardFiles(tmp_path).names() == ["mine", "mine-old", THIS_MACHINE]
    assert BoardFiles(tmp_path).load("mine-old").title == "The file"


@pytest.mark.parametrize(
    ("variants", "match"),
    [
        (
            '[variants.old.tensorrt]\nvalue = "8.5"',
            r"mine\.toml: the fact 'variants\.old\.tensorrt' needs a value and a source\. "
            r"Write \[variants\.old\.tensorrt\]",
        ),
        (
            '[variants.old.tensorrt]\nsource = "a manual"',
            "'variants.old.tensorrt' needs a value and a source",
        ),
        ('[variants.old]\ntensorrt = "8.5"', "'variants.old.tensorrt' needs a value and a source"),
        (
            '[variants.old.tensorrd]\nvalue = "8.5"\nsource = "a manual"',
            r"mine\.toml: the variant 'old' replaces 'tensorrd', a fact that the board does not have\. "
            r"Did you mean 'tensorrt'\? Correct the name, or add \[tensorrd\]",
        ),
        ("[variants.old]\ntitle = 5", "the title of the variant 'old' is not text"),
        ("[variants]\nold = 5", "variants are tables of facts"),
    ],
)
def test_broken_variants_are_one_line(tmp_path, variants, match):
    written(tmp_path, f"{MINE}{variants}\n")
    for name in BoardFiles(tmp_path).names():
        if name != THIS_MACHINE:
            with pytest.raises(BadInput, match=match):
                BoardFiles(tmp_path).load(name)


def test_variants_that_are_no_table_are_one_line(tmp_path):
    written(tmp_path, f"variants = 5\n{MINE}")
    with pytest.raises(BadInput, match="variants are tables of facts"):
        BoardFiles(tmp_path).load("mine")


def test_a_broken_file_leaves_the_others_usable(tmp_path):
    written(tmp_path, MINE)
    written(tmp_path, "title = ", name="broken")
    boards = BoardFiles(tmp_path)
    assert boards.names() == ["broken", "mine", THIS_MACHINE]
    assert boards.load("mine").facts["cores"] == 2
    with pytest.raises(BadInput, match=r"broken\.toml cannot be read"):
        boards.load("broken")


def test_unknown_variants_are_one_line(tmp_path):
    path = written(tmp_path, f'{MINE}[variants.jetpack-5]\ntitle = "JetPack 5"\n')
    with pytest.raises(BadInput, match=r"has no variant 'jetpack-6'\. Did you mean 'jetpack-5'\?"):
        read_board(path, "jetpack-6")
    with pytest.raises(BadInput, match="Did you mean 'mine-jetpack-5'"):
        BoardFiles(tmp_path).load("mine-jetpack-6")
