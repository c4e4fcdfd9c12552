"""`edgekit boards`: a board that nothing is exported for says what works there; what installs, as a table and JSON."""

from __future__ import annotations

import json

import pytest

from edgekit import cli
from edgekit.target import NO_TARGET, board_names, find_board
from firmware_bridge.installs import EXTRAS

RECIPE = """\
model: resnet8
data: fashion-mnist
boards: [{board}]
seed: 0
steps:
  - quantize: {{weights: 8, activations: 8}}
"""


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


@pytest.mark.parametrize(
    "name", ["jetson-nano", "coral-dev-board", "stm32-nucleo-u575zi-q", "arm-corstone-300"]
)
def test_a_board_without_a_target_shows_its_facts_and_what_works(capsys, name):
    code, out, _ = run(capsys, "boards", name)
    assert code == 0
    assert "(target none)" in out
    assert find_board(name).facts["instead"] in out
    seen = json.loads(run(capsys, "boards", name, "--json")[1])
    assert seen["caps"] is None
    assert find_board(name).facts["instead"] in seen["refusal"]


def test_a_board_with_a_target_has_caps_and_no_refusal(capsys):
    seen = json.loads(run(capsys, "boards", "raspberry-pi-5", "--json")[1])
    assert (seen["target"], seen["refusal"]) == ("cpu", None)
    assert seen["caps"]["weights"]["bits"] == 8
    assert "asimddp" in seen["caps"]["expects"]


def test_compress_refuses_such_a_board_before_anything_is_trained(capsys, tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE.format(board="stm32-nucleo-l4r5zi"))
    out = tmp_path / "out"
    code, _, err = run(capsys, "compress", str(tmp_path / "r.yaml"), "--out", str(out), "--quiet")
    assert code == 2
    assert err.count("\n") == 1
    assert "stm32-nucleo-l4r5zi: edgekit exports no artefact for this board yet. Compress for arm64" in err
    assert not (out / "model.onnx").exists()
    assert not list(out.glob("steps/*"))


def test_check_lists_such_a_board_as_one_that_does_not_run_it(capsys):
    code, out, _ = run(capsys, "check", "mlp", "--board", "coral-dev-board", "--board", "arm64", "--json")
    assert code == 0
    coral, arm = json.loads(out)["boards"]
    assert [finding["severity"] for finding in coral["findings"]] == ["error"]
    assert "edgetpu_compiler" in coral["findings"][0]["remedy"]
    assert arm["expects"]


def test_audit_for_such_a_board_is_refused_in_one_line(capsys, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"")
    code, _, err = run(capsys, "audit", str(tmp_path / "net.onnx"), "--board", "jetson-tx2")
    assert (code, err.count("\n")) == (2, 1)
    assert "jetson-tx2: edgekit exports no artefact" in err


def test_init_for_such_a_board_is_refused_in_one_line(capsys, tmp_path):
    code, _, err = run(
        capsys, "init", "--model", "mlp", "--data", "fashion-mnist", "--board", "jetson-nano",
        "--out", str(tmp_path / "r.yaml"),
    )  # fmt: skip
    assert (code, err.count("\n")) == (2, 1)
    assert "jetson-nano: edgekit exports no artefact" in err


def test_what_installs_is_told_for_every_board(capsys):
    found = json.loads(run(capsys, "boards", "--installs", "--json")[1])
    assert {row["board"] for row in found} == set(board_names()) - {"this-machine"}
    for row in found:
        assert set(row) == {"board", "os", "python", "own", "installs", "fails"}
        assert sorted([*row["installs"], *row["fails"]]) == sorted(EXTRAS)


def test_what_installs_on_one_board(capsys):
    code, out, _ = run(capsys, "boards", "jetson-nano", "--installs")
    assert code == 0
    assert "edgekit needs Python 3.10 or later" in out
    assert "3.12 beside it" in out
    assert "raspberry-pi" not in out
    code, out, _ = run(capsys, "boards", "stm32-nucleo-l4r5zi", "--installs")
    assert "no operating system" in out
    code, _, err = run(capsys, "boards", "jetson-nanno", "--installs")
    assert (code, err) == (2, "edgekit: boards: 'jetson-nanno' is unknown. Did you mean 'jetson-nano'?\n")


def test_none_is_no_target_that_could_be_asked_for():
    names = [name for name in board_names() if find_board(name).target == NO_TARGET]
    assert names
    assert all(find_board(name).facts["instead"].endswith(".") for name in names)
