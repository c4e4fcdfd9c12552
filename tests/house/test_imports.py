"""Who may import whom, read from the syntax trees: the directions that the design fixes."""

from __future__ import annotations

from functools import cache

import pytest

from tests.house.imports import Import, imports, inside, modules

OURS = ("edgekit", "targets", "firmware_bridge")
EXPORT = (
    "edgekit.target",
    "edgekit.signature",
    "edgekit.quant",
    "edgekit.export",
    "edgekit.analysis",
    "edgekit.profile",
    "edgekit.errors",
    "firmware_bridge.bundle",
    "firmware_bridge.boards",
    "targets",
)
RUNTIME = (
    "edgekit.target",
    "edgekit.signature",
    "edgekit.profile",
    "edgekit.errors",
    "firmware_bridge",
    "targets",
)
BRIDGE = (
    "edgekit.wire",
    "edgekit.target",
    "edgekit.signature",
    "edgekit.profile",
    "edgekit.errors",
    "edgekit.codecs",
    "firmware_bridge",
)
PURE = (
    "edgekit.codecs",
    "edgekit.quant",
    "edgekit.errors",
    "edgekit.registry",
    "edgekit.decentralized",
    "edgekit.split",
)
BANNED = (
    "pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "torchvision",
    "torchaudio",
    "torch.ao",
    "ultralytics",
)


@cache
def everything() -> tuple[Import, ...]:
    return tuple(item for name, path in modules().items() for item in imports(name, path))


def of(*places: str) -> list[Import]:
    return [item for item in everything() if any(inside(item.module, place) for place in places)]


def is_runtime(module: str) -> bool:
    return module.startswith("targets.") and module.endswith(".runtime")


def allowed(item: Import, places: tuple[str, ...]) -> bool:
    ours = any(inside(item.name, package) for package in OURS)
    return not ours or any(inside(item.name, place) for place in places)


def test_edgekit_finds_targets_and_boards_by_entry_points_only():
    wrong = [
        str(item)
        for item in of("edgekit")
        if not inside(item.module, "edgekit.cli")
        and (inside(item.name, "targets") or inside(item.name, "firmware_bridge"))
    ]
    assert wrong == []


def test_nothing_but_the_command_line_imports_the_command_line():
    wrong = [
        str(item)
        for item in everything()
        if inside(item.name, "edgekit.cli")
        and not inside(item.module, "edgekit.cli")
        and item.module != "edgekit.__main__"
    ]
    assert wrong == []


def test_target_exports_import_what_they_may():
    wrong = [str(item) for item in of("targets") if not is_runtime(item.module) and not allowed(item, EXPORT)]
    assert wrong == []


def test_target_runtimes_import_what_they_may():
    wrong = [str(item) for item in of("targets") if is_runtime(item.module) and not allowed(item, RUNTIME)]
    assert wrong == []


def test_firmware_bridge_imports_what_it_may():
    wrong = [str(item) for item in of("firmware_bridge") if not allowed(item, BRIDGE)]
    assert wrong == []


def test_decentralized_and_split_know_no_network():
    wrong = [str(item) for item in of("edgekit.decentralized", "edgekit.split") if not allowed(item, PURE)]
    assert wrong == []


@pytest.mark.parametrize("name", BANNED)
def test_what_the_design_refuses_is_imported_nowhere(name: str):
    assert [str(item) for item in everything() if inside(item.name, name)] == []


def test_runtimes_bridge_wire_and_profile_never_import_torch():
    places = ("firmware_bridge", "edgekit.wire", "edgekit.profile", "edgekit.target", "edgekit.signature")
    wrong = [
        str(item)
        for item in everything()
        if inside(item.name, "torch")
        and not item.for_types
        and (is_runtime(item.module) or any(inside(item.module, place) for place in places))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "start",
    [
        "edgekit",
        "edgekit.cli",
        "edgekit.recipe",
        "targets.cpu",
        "targets.cpu.runtime",
        "firmware_bridge.boards",
        "firmware_bridge.power",
        "targets.jetson",
        "targets.fpga",
        "edgekit.profile",
        "edgekit.predict.build",
        "edgekit.predict.predict",
    ],
)
def test_loading_it_loads_no_torch(start: str):
    assert start in modules()
    reached = closure(start)
    assert {
        name for name in reached if name.split(".")[0] in ("torch", "onnxscript", "torch_pruning")
    } == set()


def closure(start: str) -> set[str]:
    """Every module name that loading `start` loads, as far as our own files say; parents load too."""
    known, reached, waiting = modules(), set(), [start]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        parent = name.rpartition(".")[0]
        if parent:
            waiting.append(parent)
        if name in known:
            waiting += [item.name for item in imports(name, known[name]) if item.at_load]
    return reached


def test_the_reader_sees_what_it_should(tmp_path):
    file = tmp_path / "sample.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    from torch "
        "import nn\nclass A:\n    import json\n"
    )
    seen = {(item.name, item.at_load, item.for_types) for item in imports("edgekit.sample", file)}
    assert seen == {
        ("typing", True, False),
        ("torch", False, True),
        ("torch", False, False),
        ("json", True, False),
    }
