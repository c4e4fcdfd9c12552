"""One recipe, a board here and a board elsewhere: shared steps run once, each figure says how it came about."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
import torch

from edgekit import container
from edgekit.board_figures import is_away
from edgekit.cli import main
from edgekit.export.file import write
from edgekit.registry import models
from targets.fpga.finn.environment import FINN
from targets.fpga.runtime import QonnxRunner
from targets.jetson.runtime import StandInRunner

RECIPE = """\
model: tfc
data: fashion-mnist
boards: [this-machine, jetson-orin-nano, pynq-z1]
budget: {fps: 100000}
seed: 0
steps:
  - finetune: {epochs: 1, lr: 0.01}
  - quantize: {low_bit: {weights: 2, activations: 4}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("brevitas")
    place = tmp_path_factory.mktemp("away")
    (place / "r.yaml").write_text(RECIPE)
    code = main(["compress", str(place / "r.yaml"), "--out", str(place / "out"), "--quiet"])
    assert code == (FINN.find() is None)  # without FINN the asked frame rate cannot be checked
    return place / "out"


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_steps_that_read_no_board_run_once(folder):
    names = sorted(path.name.rpartition("-")[0] for path in (folder / "steps").iterdir())
    assert names == ["00-finetune", "01-quantize", "01-quantize", "01-quantize"]


def test_the_grid_is_each_boards_own(folder):
    kinds = {}
    for board in ("this-machine", "jetson-orin-nano"):
        graph = onnx.load(folder / board / "model.onnx").graph
        zeros = {
            item.name: onnx.numpy_helper.to_array(item)
            for item in graph.initializer
            if item.name.endswith("zero_point")
        }
        kinds[board] = {str(value.dtype) for value in zeros.values()}
        if board != "this-machine":
            assert not any(np.any(value) for value in zeros.values())
    assert kinds["jetson-orin-nano"] == {"int8"}


def test_accuracy_is_that_of_the_file_and_says_in_which_runtime(folder):
    here, away = (report(folder / board)["result"] for board in ("this-machine", "jetson-orin-nano"))
    assert here["metric"]["of"] == "artefact"
    assert away["metric"]["of"] == "artefact in onnxruntime"
    assert abs(here["metric"]["value"] - away["metric"]["value"]) <= 0.02
    assert away["latency_ms"] is None
    assert "board/measure.py" in away["not_measured"]["latency_ms"]
    assert {figure["how"] for figure in report(folder / "jetson-orin-nano")["on_board"]} == {"not measured"}


def test_the_folder_has_all_that_the_board_needs(folder):
    away = folder / "jetson-orin-nano"
    for name in (
        "board/measure.py",
        "board/build_engine.sh",
        "golden.npz",
        "model_float.onnx",
        "model_fp16.onnx",
    ):
        assert (away / name).is_file(), name
    golden = dict(np.load(away / "golden.npz"))
    graph = onnx.load(away / "model.onnx").graph
    given = {value.name: golden[value.name] for value in graph.input}
    found = StandInRunner(away / "model.onnx").run(given)
    for value in graph.output:
        np.testing.assert_array_equal(found[value.name], golden[value.name])


def test_the_fpga_gets_a_low_bit_network_and_a_folder_to_build_from(folder):
    away = folder / "pynq-z1"
    found = report(away)
    assert found["result"]["precision"] == "W2A4-8"
    assert found["result"]["metric"]["of"] == "artefact"
    assert found["audit"]["float_compute_nodes"] == 0
    weights = found["steps"][-1]["change"]
    assert weights["before"]["bytes"] > 10 * weights["after"]["bytes"]
    build = away / "finn_build"
    config = json.loads((build / "dataflow_build_config.json").read_text())
    assert (config["board"], config["target_fps"]) == ("Pynq-Z1", 100_000)
    inputs, expected = np.load(build / "input.npy"), np.load(build / "expected_output.npy")
    assert np.array_equal(inputs, np.rint(inputs))
    given = json.loads((away / "input.json").read_text())
    assert inputs.min() >= given["lowest"]
    assert inputs.max() <= given["highest"]
    whole = QonnxRunner(away / "model.onnx").run({given["name"]: inputs * np.float32(given["scale"])})
    np.testing.assert_allclose(next(iter(whole.values())), expected, atol=1e-5)


def test_finn_s_figures_say_that_they_are_estimates_or_are_absent_with_the_command(folder):
    found = report(folder / "pynq-z1")
    by_name = {figure["name"]: figure for figure in found["on_board"]}
    if FINN.find() is None:
        assert by_name["frames per second"]["how"] == "not measured"
        assert "not installed" in by_name["frames per second"]["by"]
        assert found["missed"]
        return
    assert by_name["frames per second"]["how"] == by_name["LUT"]["how"] == "estimated"
    assert by_name["frames per second"]["value"] >= 100_000
    assert by_name["rate on the board"]["value"] is None
    assert found["missed"] == []


def test_a_low_bit_step_is_loaded_as_it_was_trained(folder):
    away = folder / "pynq-z1"
    plans = {path.parent: json.loads(path.read_text()) for path in (folder / "steps").glob("01-*/plan.json")}
    (step,) = [place for place, plan in plans.items() if "low_bit" in plan["steps"][-1]["plan"]]
    model = container.load(step, models.get("tfc")(), trust=True).eval()
    x = np.load(away / "finn_build" / "input.npy") * np.float32(
        json.loads((away / "input.json").read_text())["scale"]
    )
    with torch.no_grad():
        found = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.load(away / "finn_build" / "expected_output.npy"), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("budget: {fps: 100000}\n", ""), "budget: {fps: 1000}"),
        (("weights: 2,", "weights: 9,"), "1 (bipolar) to 8 bits"),
        (("weights: 2,", "wieghts: 2,"), "Did you mean 'weights'"),
        (("weights: 2,", "layers: {fcx: {weights: 8}},"), "matches no layer"),
        (("budget: {fps: 100000}\n", "folding: ./none.json\n"), "none.json"),
    ],
)
def test_what_the_fpga_cannot_be_asked_is_refused_before_anything_is_trained(change, said, tmp_path, capsys):
    pytest.importorskip("brevitas")
    text = RECIPE.replace("this-machine, jetson-orin-nano, ", "")
    assert change[0] in text
    (tmp_path / "r.yaml").write_text(text.replace(*change))
    assert main(["compress", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("steps/*"))


@pytest.mark.parametrize(("budget", "said"), [("fpss=3", "fps"), ("fps=-2", "above 0"), ("fps", "KEY=VALUE")])
def test_a_budget_on_the_command_line_is_the_recipe_s(budget, said, tmp_path, capsys):
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert (
        main(["compress", str(tmp_path / "r.yaml"), "--budget", budget, "--out", str(tmp_path / "out")]) == 2
    )
    assert said in capsys.readouterr().err


def test_the_boards_stand_side_by_side(folder, capsys):
    page = (folder / "compare.html").read_text()
    assert "jetson-orin-nano" in page
    assert "not measured" in page
    assert main(["compare", str(folder), "--out", str(folder / "again.html")]) == 0
    assert "jetson-orin-nano" in capsys.readouterr().out


def test_profile_of_the_folder_reads_back_and_does_not_measure_here(folder, capsys):
    away = folder / "jetson-orin-nano"
    assert is_away(away)
    assert not is_away(folder / "this-machine")
    assert main(["profile", str(away), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(figure["value"] is None for figure in rows[0]["on_board"])
    assert main(["profile", str(away), str(folder / "this-machine")]) == 2
    assert "edgekit compare" in capsys.readouterr().err


def test_a_broken_file_from_the_board_is_refused_and_the_report_stays(folder, tmp_path, capsys):
    away = tmp_path / "away"
    shutil.copytree(folder / "jetson-orin-nano", away)
    before = (away / "report.json").read_bytes()
    (away / "measured.json").write_text("{")
    assert main(["profile", str(away)]) == 2
    assert "measured.json" in capsys.readouterr().err
    assert (away / "report.json").read_bytes() == before


def test_anyones_file_can_be_audited_for_a_board(folder, capsys, tmp_path):
    here = folder / "this-machine" / "model.onnx"
    assert main(["audit", str(here), "--board", "jetson-orin-nano", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    model = onnx.load(here)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    assert any(item["severity"] == "error" for item in found) == quantized
    away = folder / "jetson-orin-nano" / "model.onnx"
    assert main(["audit", str(away), "--board", "jetson-orin-nano", "--json"]) == 0
    assert not any(item["severity"] == "error" for item in json.loads(capsys.readouterr().out)["findings"])


def test_an_onnx_file_of_another_tool_is_a_model_for_a_board(tmp_path, folder):
    write(onnx.load(folder / "jetson-orin-nano" / "baseline.onnx"), tmp_path / "net.onnx")
    model = tmp_path / "net.onnx"
    text = f"model: {model}\ndata: fashion-mnist\nboards: [jetson-orin-nano]\nsteps:\n  - quantize: {{}}\n"
    (tmp_path / "r.yaml").write_text(text)
    assert main(["compress", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert report(tmp_path / "out")["result"]["precision"] == "int8"
