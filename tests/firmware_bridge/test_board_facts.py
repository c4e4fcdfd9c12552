"""Every shipped board file: what it says of the board, where each fact comes from, and that they agree."""

from __future__ import annotations

import re

import pytest

from edgekit.errors import BadInput
from edgekit.target import NO_TARGET, target_of
from firmware_bridge.boards import THIS_MACHINE, BoardFiles
from firmware_bridge.power.catalog import KINDS
from firmware_bridge.power.jetson_rails import TABLE, rails_of

NAMES = [name for name in BoardFiles().names() if name != THIS_MACHINE]
BOARDS = {name: BoardFiles().load(name) for name in NAMES}
JETSONS = [name for name in NAMES if BOARDS[name].target == "jetson"]
FPGAS = [name for name in NAMES if BOARDS[name].target == "fpga"]
UNSERVED = [name for name in NAMES if BOARDS[name].target == NO_TARGET]
GENERIC = {
    "arm64",
    "x86-avx2",
    "x86-vnni",
}  # any board with that instruction set, so no processor and no memory
ALL_JETSONS = [name for name in NAMES if name.startswith("jetson-")]

# What every board says, what each target reads of one, and the type of each fact.
COMMON = {"machine": str, "os": str, "power_sensor": str, "grids": list}
MAYBE_EMPTY = {"runtimes": list, "rails": list, "power_modes": list}
PROCESSOR = {"cpu": str, "cores": int, "memory_bytes": int}
REQUIRED = {
    "cpu": {**COMMON, "instruction_set": str, "vector_bits": int, "python": str, "glibc": str},
    NO_TARGET: {**COMMON, **PROCESSOR, "instead": str},
    "jetson": {
        **COMMON,
        **PROCESSOR,
        **dict.fromkeys(("gpu", "compute_capability", "jetpack", "tensorrt", "python", "cuda", "tegra"), str),
        "glibc": str,
        "dla_cores": int,
        "int8": bool,
        "power_modes": list,
    },
    "fpga": {
        **COMMON,
        **PROCESSOR,
        **dict.fromkeys(("part", "finn_board", "shell_flow", "pynq", "python", "glibc"), str),
        **dict.fromkeys(("lut", "flip_flops", "bram18", "dsp", "uram", "clock_mhz"), int),
    },
}
# JetPack's major version: the TensorRT that it carries, its Python, CUDA, operating system and C library.
JETPACKS = {
    "4": ("8.2.1", "3.6", "10.2", "Ubuntu 18.04", "2.27"),
    "5": ("8.5.2", "3.8", "11.4", "Ubuntu 20.04", "2.31"),
    "6": ("10.3", "3.10", "12.6", "Ubuntu 22.04", "2.35"),
    "7": ("10.16", "3.12", "13.2", "Ubuntu 24.04", "2.39"),
}
# (LUTs, flip-flops, 18-Kb block RAMs, DSP slices, UltraRAMs) of each part.
FABRICS = {
    "xc7z020clg400-1": (53200, 106400, 280, 220, 0),
    "xczu3eg-sbva484-1-i": (70560, 141120, 432, 360, 0),
    "xck26-sfvc784-2LV-c": (117120, 234240, 288, 1248, 64),
    "xczu7ev-ffvc1156-2-e": (230400, 460800, 624, 1728, 96),
}


def test_the_boards_that_ship():
    pis = {f"raspberry-pi-{model}" for model in ("3", "4", "5", "zero-2-w")}
    older = {f"{name}-bookworm" for name in pis} | {
        f"raspberry-pi-{model}-32-bit" for model in ("3", "zero-2-w")
    }
    assert {name for name in NAMES if BOARDS[name].target == "cpu"} == GENERIC | pis | older | {"intel-n100"}
    assert set(FPGAS) == {"pynq-z1", "pynq-z2", "ultra96-v2", "kv260", "zcu104"}
    alone = {
        f"jetson-{name}" for name in ("xavier-nx", "agx-xavier", "thor", "agx-orin", "orin-nx", "orin-nano")
    }
    orin = ("jetson-agx-orin", "jetson-orin-nx", "jetson-orin-nano")
    variants = {f"{name}-jetpack-{number}" for name in orin for number in (5, 7)}
    assert set(JETSONS) == alone | variants | {"jetson-agx-orin-tensorrt-11", "jetson-thor-tensorrt-11"}
    stm32 = {f"stm32-nucleo-{name}" for name in ("l4r5zi", "u575zi-q", "h743zi2")}
    coral = {"coral-dev-board", "coral-dev-board-mini"}
    assert set(UNSERVED) == stm32 | coral | {"jetson-nano", "jetson-tx2", "arm-corstone-300"}
    assert len(list(BoardFiles().folder.glob("*.toml"))) >= 20


def test_names_and_titles_are_unique():
    assert len(set(NAMES)) == len(NAMES)
    assert len({board.title for board in BOARDS.values()}) == len(NAMES)


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


@pytest.mark.parametrize("name", NAMES)
def test_a_board_says_what_runs_there_and_by_which_version(name):
    facts = BOARDS[name].facts
    for fact, kind in MAYBE_EMPTY.items():
        assert type(facts[fact]) is kind, fact
    assert all(re.search(r"\d|main", facts[runtime]) for runtime in facts["runtimes"])
    assert name in GENERIC or any(accelerator in facts for accelerator in ("accelerator", "gpu", "part"))
    assert ("python" in facts) == ("glibc" in facts) == (facts["os"] != "none")


@pytest.mark.parametrize("name", [name for name in NAMES if BOARDS[name].target != NO_TARGET])
def test_grids_are_those_that_quantization_obeys(name):
    caps = target_of(BOARDS[name]).caps(BOARDS[name])
    words = [f"activations {_grid(caps.activations)}", f"weights {_grid(caps.weights)}", f"bias {caps.bias}"]
    assert BOARDS[name].facts["grids"] == words


def _grid(grid):
    kind = f"{'' if grid.signed else 'u'}int{grid.bits - grid.reduced}"
    return f"{kind} {'symmetric' if grid.symmetric else 'affine'}{' per channel' if grid.per_channel else ''}"


@pytest.mark.parametrize("name", NAMES)
def test_power_is_read_by_a_sensor_that_edgekit_has(name):
    facts = BOARDS[name].facts
    assert facts["power_sensor"] in {kind for kind, _ in KINDS} | {"none"}
    assert (facts["power_sensor"] == "none") == (facts["rails"] == [])


@pytest.mark.parametrize("name", ALL_JETSONS)
def test_rails_are_those_that_the_sensor_adds(name, tmp_path):
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "model").write_text(f"{BOARDS[name].title}\0")
    found = rails_of(tmp_path)
    assert found in TABLE
    assert BOARDS[name].facts["rails"] == list(found.total)
    assert BOARDS[name].facts["power_sensor"] == "ina3221"


@pytest.mark.parametrize("name", UNSERVED)
def test_a_board_without_a_target_is_refused_in_one_line_with_what_works(name):
    with pytest.raises(
        BadInput, match=f"boards: {name}: edgekit exports no artefact for this board yet"
    ) as seen:
        target_of(BOARDS[name])
    assert str(seen.value).endswith(BOARDS[name].facts["instead"])
    assert "\n" not in str(seen.value)
    assert "arm64" in str(seen.value)


@pytest.mark.parametrize("name", [name for name in NAMES if "instruction_set" in BOARDS[name].facts])
def test_what_to_expect_follows_the_instruction_set(name):
    board = BOARDS[name]
    caps, facts = target_of(board).caps(board), board.facts
    arm = facts["machine"] in ("aarch64", "armv7l")
    assert caps.activations.signed == arm
    assert caps.weights.reduced == (facts["instruction_set"] == "avx2")
    assert ("Without dot products" in caps.expects) == (facts["instruction_set"] == "neon")
    assert ("no onnxruntime wheel" in caps.expects) == (facts["machine"] == "armv7l")
    assert (facts["runtimes"] == []) == (facts["machine"] == "armv7l")


def test_only_a_cortex_a76_of_the_pis_has_dot_products():
    sets = {name: BOARDS[name].facts["instruction_set"] for name in NAMES if name.startswith("raspberry-pi-")}
    assert {name for name, value in sets.items() if value == "neon-dotprod"} == {
        "raspberry-pi-5",
        "raspberry-pi-5-bookworm",
    }
    assert set(sets.values()) == {"neon", "neon-dotprod"}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GENERIC])
def test_processors_are_plausible(name):
    facts = BOARDS[name].facts
    if facts["os"] == "none":  # a microcontroller: a core, and memory in kilobytes
        assert (facts["cores"], facts["memory_bytes"] % 1024) == (1, 0)
        assert 2**19 <= facts["memory_bytes"] < 2**22
        assert facts["machine"].startswith("armv")
        return
    assert facts["machine"] in ("aarch64", "armv7l", "x86-64")
    assert 2 <= facts["cores"] <= 16
    assert 2**29 <= facts["memory_bytes"] <= 2**37
    assert facts["memory_bytes"] % 2**29 == 0


@pytest.mark.parametrize("name", ALL_JETSONS)
def test_jetson_facts_belong_together(name):
    facts = BOARDS[name].facts
    tegra = {"5.3": "tegra210", "6.2": "tegra186", "7.2": "tegra194", "8.7": "tegra234", "11.0": "tegra264"}
    assert facts["tegra"] == tegra[facts["compute_capability"]]
    assert facts["int8"] == (facts["compute_capability"] not in ("5.3", "6.2"))
    assert facts["machine"] == "aarch64"
    assert facts["dla_cores"] in (0, 2)
    assert len(set(facts["power_modes"])) == len(facts["power_modes"])
    assert all(re.fullmatch(r"[A-Z0-9_]+", mode) for mode in facts["power_modes"])
    cores = r", \d+ tensor cores" if facts["int8"] else ""
    assert re.fullmatch(rf"[A-Z][a-z]+, \d+ CUDA cores{cores}", facts["gpu"])
    assert all(re.fullmatch(r"\d+(\.\d+)+", facts[key]) for key in ("jetpack", "tensorrt", "python", "cuda"))


@pytest.mark.parametrize("name", ALL_JETSONS)
def test_jetpack_brings_its_own_tensorrt_python_cuda_and_system(name):
    facts = BOARDS[name].facts
    tensorrt, *rest = JETPACKS[facts["jetpack"].split(".")[0]]
    assert [facts[key] for key in ("python", "cuda", "os", "glibc")] == rest
    assert facts["tensorrt"] == ("11.4" if name.endswith("tensorrt-11") else tensorrt)


@pytest.mark.parametrize("name", FPGAS)
def test_fpga_facts_belong_to_the_part(name):
    facts = BOARDS[name].facts
    fabric = tuple(facts[key] for key in ("lut", "flip_flops", "bram18", "dsp", "uram"))
    assert fabric == FABRICS[facts["part"]]
    assert facts["flip_flops"] == 2 * facts["lut"]
    zynq_7000 = facts["part"].startswith("xc7z")
    assert facts["machine"] == ("armv7l" if zynq_7000 else "aarch64")
    assert (facts["os"], facts["python"], facts["glibc"]) == ("Ubuntu 22.04", "3.10", "2.35")
    assert facts["cpu"] == ("Arm Cortex-A9" if zynq_7000 else "Arm Cortex-A53")
    assert (facts["shell_flow"], facts["clock_mhz"]) == ("vivado_zynq", 100)
