"""Recipes for an FPGA, the whole way: bipolar inputs, widths left to the budget, what is refused before training."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from edgekit.cli import main
from edgekit.errors import BadInput
from edgekit.recipe import check_order, parse_recipe
from edgekit.transforms import quantize
from targets.fpga import widths
from targets.fpga.audit import layer_bits, precision_of
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.integer_input import ANNOTATION
from targets.fpga.runtime import QonnxRunner

RECIPE = """\
model: {tfc: {width: 16}}
data: {fashion-mnist: {train_limit: 256, test_limit: 128}}
boards: [pynq-z1]
budget: {fps: 1000, lut: 5000}
steps:
  - quantize:
      epochs: 1
      low_bit: {weights: 1, activations: 2, input: 1}
"""
OPEN = RECIPE.replace("weights: 1, activations: 2, input: 1", "weights: [1, 2, 4], activations: 4")


@pytest.fixture
def no_finn(monkeypatch, tmp_path):
    """FINN where it is not installed, so that nothing is estimated."""
    pytest.importorskip("brevitas", reason="low-bit networks need brevitas (edgekit[fpga])")
    monkeypatch.setenv("EDGEKIT_FINN", str(tmp_path / "none"))


def compress(folder, text, *words) -> int:
    (folder / "r.yaml").write_text(text)
    return main(["compress", str(folder / "r.yaml"), "--out", str(folder / "out"), "--quiet", *words])


def test_a_bipolar_input_is_trained_and_gets_a_build_folder(tmp_path, no_finn):
    assert compress(tmp_path, RECIPE) == 1  # the rate cannot be checked
    out = tmp_path / "out"
    given = json.loads((out / "input.json").read_text())
    assert (given["dtype"], given["formula"]) == ("BINARY", "q = 1 where x >= 0, else 0")
    bits = np.load(out / "finn_build" / "input.npy")
    assert np.unique(bits).tolist() == [0.0, 1.0]
    values = np.float32(given["scale"]) * bits + np.float32(given["offset"])
    whole = QonnxRunner(out / "model.onnx").run({given["name"]: values})
    expected = np.load(out / "finn_build" / "expected_output.npy")
    np.testing.assert_allclose(next(iter(whole.values())), expected, atol=1e-5)
    notes = onnx.load(out / "finn_build" / "model.onnx").graph.quantization_annotation
    (note,) = [note for note in notes if note.tensor_name == given["name"]]
    assert [(item.key, item.value) for item in note.quant_parameter_tensor_names] == [(ANNOTATION, "BINARY")]


@pytest.mark.skipif(bool(FINN.probe()), reason=f"{FINN.probe()}")
def test_finn_computes_the_same_from_bits(tmp_path):
    assert compress(tmp_path, RECIPE) == 0
    report = json.loads((tmp_path / "out" / "finn_build" / "report.json").read_text())
    assert [check["passed"] for check in report["verification"]] == [True, True]
    assert not any(layer["name"].startswith("Thresholding") for layer in report["layers"])


@pytest.fixture
def estimator(monkeypatch, no_finn):
    """An estimator of closed form in FINN's place: LUT = 1000 times the bits of the weights."""
    calls = []

    def choose(folder, networks, board, aims, say):
        calls.append(list(networks))
        tried = {}
        for name, graph in networks.items():
            lut = 1000.0 * max(layer.weights for layer in layer_bits(graph()))
            fits = lut <= aims.limits["lut"]
            why = "" if fits else f"lut {lut:,.0f} of {aims.limits['lut']:,.0f}"
            tried[name] = {"figures": {"fps": aims.fps, "lut": lut}, "rejected": why}
            if fits:
                break
        return {"chosen": name, "missed": "" if fits else f"the budget is missed: {why}", "tried": tried}

    monkeypatch.setattr(widths, "choose", choose)
    return calls


def trainings(monkeypatch) -> list[str]:
    """Whether each training was real; a dry run's is of one batch."""
    from edgekit.job import Job

    real, seen = Job.train, []

    def train(self, model, hooks):
        seen.append("dry" if self.dry else "whole")
        return real(self, model, hooks)

    monkeypatch.setattr(Job, "train", train)
    return seen


def test_the_widest_that_fits_alone_is_trained_and_the_others_are_told(tmp_path, estimator, monkeypatch):
    trained = trainings(monkeypatch)
    compress(tmp_path, OPEN, "--budget", "lut=2500")
    out = tmp_path / "out"
    assert estimator == [["W4A4", "W2A4", "W1A4"]]
    assert trained.count("whole") == 1
    assert precision_of(onnx.load(out / "model.onnx")) == "W2A4-8"
    notes = json.loads((out / "report.json").read_text())["steps"][0]["change"]["notes"]
    assert notes[1:] == [
        "W4A4: 1,000 fps, 4,000 lut (estimated untrained): rejected, lut 4,000 of 2,500",
        "W2A4: 1,000 fps, 2,000 lut (estimated untrained): chosen, the first that fits",
        "not tried, since W2A4 fits: W1A4",
    ]
    assert "rejected, lut 4,000 of 2,500" in (out / "report.html").read_text()
    decision = json.loads((out / "decisions.json").read_text())["pynq-z1/quantize"]
    assert (decision["chosen"], list(decision["tried"])) == ("W2A4", ["W4A4", "W2A4"])
    (plan,) = json.loads((out / "plan.json").read_text())["steps"]
    assert plan["settings"]["low_bit"]["weights"] == plan["plan"]["low_bit"]["weights"] == 2


def test_a_run_that_died_in_training_goes_on_with_its_choice(tmp_path, estimator, monkeypatch):
    from edgekit.job import Job
    from edgekit.pipeline import compress_recipe

    real = Job.train

    def dies(self, model, hooks):
        if not self.dry:
            raise KeyboardInterrupt
        return real(self, model, hooks)

    monkeypatch.setattr(Job, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        compress_recipe(parse_recipe(OPEN), out=tmp_path / "out")
    monkeypatch.setattr(Job, "train", real)
    compress_recipe(parse_recipe(OPEN), out=tmp_path / "out")
    assert len(estimator) == 1
    assert precision_of(onnx.load(tmp_path / "out" / "model.onnx")) == "W4A4-8"
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "steps").rglob("*") if path.is_file()}
    compress_recipe(parse_recipe(OPEN), out=tmp_path / "out")
    assert len(estimator) == 1
    assert before == {
        path: path.read_bytes() for path in (tmp_path / "out" / "steps").rglob("*") if path.is_file()
    }


def test_where_none_fits_nothing_is_trained_and_the_nearest_is_told(tmp_path, estimator, monkeypatch, capsys):
    trained = trainings(monkeypatch)
    for _ in range(2):  # the second time what was found is read
        assert compress(tmp_path, OPEN, "--budget", "lut=500") == 1
        said = capsys.readouterr().err
        assert "none of W4A4, W2A4, W1A4 fits, so nothing was trained. The nearest is W1A4" in said
        assert "lut 1,000 of 500" in said
    assert (len(estimator), "whole" in trained) == (1, False)
    decision = json.loads((tmp_path / "out" / "decisions.json").read_text())["pynq-z1/quantize"]
    assert len(decision["tried"]) == 3


def test_what_another_recipe_decided_is_refused(tmp_path, estimator, capsys):
    decision = {"pynq-z1/quantize": {"chosen": "W8A8", "missed": "", "tried": {}}}
    (tmp_path / "decisions.json").write_text(json.dumps(decision))
    assert compress(tmp_path, OPEN, "--decisions", str(tmp_path / "decisions.json")) == 2
    assert "chose W8A8, which is none of W4A4, W2A4, W1A4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("budget: {fps: 1000, lut: 5000}\n", ""),
            "r.yaml:7: steps: quantize lists bit widths, but no budget",
        ),
        (
            ("lut: 5000}", "lut: 5000}\nfolding: ./r.yaml"),
            "r.yaml:9: steps: quantize lists bit widths, but a fold",
        ),
        (("[1, 2, 4]", "[]"), "r.yaml:8: steps.quantize: low_bit: weights is []. Give one width"),
        (("[1, 2, 4]", "[1, 1]"), "r.yaml:8: steps.quantize: low_bit: weights is [1, 1]"),
        (("[1, 2, 4]", "[1, 9]"), "r.yaml:8: steps.quantize: low_bit: weights is 9; FINN takes 1"),
        (("[1, 2, 4]", "[1, two]"), "r.yaml:8: steps.quantize: low_bit: weights is 'two'"),
        (
            ("activations: 4", "\n        activation: 4"),
            "r.yaml:9: steps.quantize: low_bit: 'activation' is unknown",
        ),
        (
            ("activations: 4", "\n        layers: {fc: {weights: [2, 4]}}"),
            "r.yaml:9: steps.quantize: low_bit: layers: fc: weights is [2, 4]",
        ),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_its_line(change, said, tmp_path, capsys):
    assert change[0] in OPEN
    assert compress(tmp_path, OPEN.replace(*change)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_list_on_the_command_line_needs_a_budget_too(tmp_path, capsys):
    text = RECIPE.replace("budget: {fps: 1000, lut: 5000}\n", "")
    assert compress(tmp_path, text, "--set", "steps.quantize.low_bit.weights=[1, 2]") == 2
    assert "lists bit widths, but no budget chooses between them" in capsys.readouterr().err


def test_a_recipe_made_of_objects_is_refused_alike():
    from edgekit.recipe import Recipe

    step = quantize.Quantize(low_bit={"weights": [1, 2]})
    with pytest.raises(BadInput, match="no budget chooses between them"):
        check_order(Recipe("tfc", data="fashion-mnist", boards=("pynq-z1",), steps=(step,)))


def test_without_finn_a_list_is_refused_before_training(tmp_path, no_finn, capsys):
    assert compress(tmp_path, OPEN) == 2
    assert "edgekit doctor --install fpga" in capsys.readouterr().err
    assert not (tmp_path / "out" / "steps").exists()


def test_an_input_of_one_sign_is_refused_before_training(tmp_path, no_finn, capsys):
    (tmp_path / "bright.py").write_text(
        "import torch\n"
        "def load():\n"
        "    x, y = torch.rand(64, 1, 28, 28), torch.arange(64) % 10\n"
        "    return {'train': [(x, y)], 'validation': [(x, y)]}\n"
    )
    text = RECIPE.replace(
        "data: {fashion-mnist: {train_limit: 256, test_limit: 128}}", "data: ./bright.py:load"
    )
    assert compress(tmp_path, text) == 2
    assert "keeps the sign of 'input', but all its values have the same" in capsys.readouterr().err
    assert not (tmp_path / "out" / "steps").exists()
