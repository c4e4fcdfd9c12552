"""What installs on which board: the shipped table, and the script that asks pip, against an index in a folder."""

from __future__ import annotations

import argparse
import importlib.util
import os
import zipfile
from pathlib import Path

import pytest

from edgekit.target import Board
from firmware_bridge.boards import THIS_MACHINE, BoardFiles, tomllib
from firmware_bridge.installs import (
    EXTRAS,
    NO_PYTHON,
    OLDEST,
    TOO_OLD,
    UNASKED,
    Platform,
    platforms,
    rows,
    table,
    too_old,
    verdict,
)

REPOSITORY = Path(__file__).resolve().parents[2]
BOARDS = [BoardFiles().load(name) for name in BoardFiles().names() if name != THIS_MACHINE]
resolves = pytest.mark.skipif(
    "EDGEKIT_RESOLVE" not in os.environ, reason="asks a package index for minutes: EDGEKIT_RESOLVE=1"
)


def load_script():
    spec = importlib.util.spec_from_file_location(
        "installs_script", REPOSITORY / "tests/benchmarks/installs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()


def test_the_table_has_every_platform_of_the_boards_and_no_other():
    assert set(table()) == {str(platform) for platform in SCRIPT.all_platforms()}
    for verdicts in table().values():
        assert sorted([*verdicts["installs"], *verdicts.get("fails", {})]) == sorted(EXTRAS)
        assert all(len(reason) > 10 for reason in verdicts.get("fails", {}).values())


@pytest.mark.parametrize("name", sorted(table()))
def test_what_holds_another_extra_does_not_install_without_it(name):
    installs = set(table()[name]["installs"])
    assert not installs or "core" in installs
    for extra, held in SCRIPT.HOLDS.items():
        assert extra not in installs or set(held) <= installs


def test_every_board_has_a_row_and_an_old_python_a_second_one():
    found = rows(BOARDS)
    assert {row.board for row in found} == {board.name for board in BOARDS}
    for row in found:
        assert sorted([*row.installs, *row.fails]) == sorted(EXTRAS)
        if row.python is None:
            assert set(row.fails.values()) == {NO_PYTHON}
    nano = [row for row in found if row.board == "jetson-nano"]
    assert [(row.python, row.own) for row in nano] == [("3.6", True), ("3.12", False)]
    assert set(nano[0].fails.values()) == {TOO_OLD}
    assert {"core", "cpu"} <= set(nano[1].installs)


def test_32_bit_arm_has_no_onnxruntime_and_so_no_host():
    for row in rows([BoardFiles().load("raspberry-pi-3-32-bit")]):
        assert not {"train", "host", "fpga"} & set(row.installs)


def test_pythons_are_compared_as_numbers():
    assert too_old(Platform("aarch64", "2.31", "3.9"))
    assert not too_old(Platform("aarch64", "2.35", "3.10"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={OLDEST}"
    assert {*EXTRAS} - {"core"} <= set(project["optional-dependencies"])


def test_a_board_that_nobody_asked_for_says_so():
    board = Board(
        "mine", "Mine", "cpu", {"machine": "riscv64", "glibc": "2.39", "python": "3.12", "os": "Mine 1"}
    )
    assert verdict(platforms(board)[0]) == ((), dict.fromkeys(EXTRAS, UNASKED))
    assert rows([board])[0].to_json()["os"] == "Mine 1"
    assert platforms(Board("bare", "Bare", "none", {"machine": "armv7e-m"})) == []


def wheel(folder: Path, name: str, *requires: str, tag: str = "py3-none-any") -> Path:
    """A wheel without code: pip reads its name, its tags and what it requires."""
    path = folder / f"{name}-1.0-{tag}.whl"
    info = f"{name}-1.0.dist-info"
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        file.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A wheel with markers, and an index of one package for 64-bit Arm with glibc 2.28."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel(tmp_path, "speed", tag="py3-none-manylinux_2_28_aarch64")
    return wheel(
        tmp_path,
        "product",
        "speed; platform_machine == 'aarch64'",
        "backport; python_version < '3.11'",
    )


@pytest.mark.parametrize(
    ("platform", "reason"),
    [
        (Platform("aarch64", "2.28", "3.12"), None),
        (Platform("aarch64", "2.41", "3.13"), None),
        (Platform("aarch64", "2.27", "3.12"), "no wheel of speed"),
        (
            Platform("x86-64", "2.27", "3.12"),
            None,
        ),  # the marker leaves it out there, and here is x86-64 or not
        (Platform("x86-64", "2.28", "3.10"), "no wheel of backport"),
    ],
)
def test_pip_is_asked_for_the_machine_and_python_of_the_board(made, platform, reason):
    assert SCRIPT.ask(platform, "core", made) == reason


def test_the_largest_extra_is_asked_first_and_a_failing_core_fails_all(monkeypatch):
    fails = {"fpga": "no wheel of a", "train": "no wheel of b", "host": "no wheel of b"}
    monkeypatch.setattr(SCRIPT, "told", lambda platform, extra, wheel: fails.get(extra))
    found = SCRIPT.decided(Platform("aarch64", "2.35", "3.10"), Path("x"))
    assert found == {"installs": ["core", "cpu", "broker"], "fails": dict(sorted(fails.items(), key=order))}
    monkeypatch.setattr(SCRIPT, "told", lambda platform, extra, wheel: None)
    assert SCRIPT.decided(Platform("aarch64", "2.35", "3.10"), Path("x")) == {"installs": list(EXTRAS)}
    monkeypatch.setattr(SCRIPT, "told", lambda platform, extra, wheel: "no wheel of numpy")
    found = SCRIPT.decided(Platform("armv7l", "2.41", "3.13"), Path("x"))
    assert found == {"installs": [], "fails": dict.fromkeys(EXTRAS, "no wheel of numpy")}


def order(item):
    return EXTRAS.index(item[0])


def test_what_is_written_is_read_back():
    found = {
        "aarch64-glibc2.35-python3.10": {"installs": ["core"], "fails": {"cpu": 'no "wheel"'}},
        "b": {"installs": []},
    }
    assert tomllib.loads(SCRIPT.as_toml(found)) == found
    assert tomllib.loads(SCRIPT.as_toml(dict(table()))) == table()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR: No matching distribution found for numpy>=1.24", "no wheel of numpy"),
        (
            "The conflict is caused by:\n    edgekit[train] 0.1.0 depends on torch<2.14 and >=2.13\n"
            "    The user requested (constraint) torch<=2.14.1",
            "no wheel of torch",
        ),
        (
            "The conflict is caused by:\n    a 1 depends on numpy<2\n    b 2 depends on protobuf>=5",
            "conflict of numpy and protobuf",
        ),
        ("something else\nERROR: broken", "ERROR: broken"),
    ],
)
def test_pips_words_become_a_reason(said, reason):
    assert SCRIPT.why(said) == reason


def test_no_index_is_no_verdict():
    with pytest.raises(SystemExit, match="cannot be reached"):
        SCRIPT.why(
            "WARNING: Retrying after NewConnectionError('...')\nERROR: No matching distribution found for numpy"
        )


def test_cases_are_read_or_refused():
    assert SCRIPT.case("x86-64-glibc2.28-python3.10:fpga") == (Platform("x86-64", "2.28", "3.10"), "fpga")
    for text in ("aarch64:cpu", "aarch64-glibc2.35-python3.10:gpu"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no case"):
            SCRIPT.case(text)


def test_wheels_fit_up_to_the_boards_c_library():
    tags = SCRIPT.wheel_tags("aarch64", "2.31")
    assert "manylinux_2_31_aarch64" in tags
    assert "manylinux_2_32_aarch64" not in tags
    assert tags[::2] == ["--platform"] * (len(tags) // 2)


@resolves
@pytest.mark.parametrize("platform", SCRIPT.all_platforms(), ids=str)
def test_pip_says_what_the_table_says(platform, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # which is set for this test alone
    SCRIPT.use_new_pip(tmp_path / "pip")
    assert SCRIPT.decided(platform, SCRIPT.build_wheel(tmp_path)) == table()[str(platform)]
