"""Widths left open: what a list stands for, which width a budget leaves, and what is said of the others."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from low_bit_nets import built, example

from edgekit.errors import BadInput, EdgekitError
from edgekit.quant.low_bit_plan import LowBitPlan
from edgekit.quant.low_bit_widths import choices
from edgekit.target import Aims, find_board
from edgekit.transforms.quantize import Quantize
from targets.fpga import FpgaTarget, widths
from targets.fpga.audit import layer_bits
from targets.fpga.finn import search as searching
from targets.fpga.finn.environment import FINN
from targets.fpga.finn.estimate import Estimate
from targets.fpga.finn.figure import Figure
from targets.fpga.finn.report import read_report

PYNQ = find_board("pynq-z1")
RECORDED = Path(__file__).parent / "finn" / "data" / "tfc" / "finn_build"


def test_a_list_stands_for_every_choice_most_accurate_first():
    found = choices({"weights": [1, 2, 4], "activations": [2, 4], "last": {"weights": 8}})
    assert list(found) == ["W4A4", "W2A4", "W4A2", "W2A2", "W1A4", "W1A2"]
    assert found["W2A4"] == {"weights": 2, "activations": 4, "last": {"weights": 8}}
    assert choices({"weights": 2, "activations": 4}) == choices({}) == {}


def test_the_order_is_that_of_bit_operations_whatever_the_order_of_the_lists():
    every = [1, 3, 8, 2]
    found = list(choices({"weights": every, "activations": every}).values())
    products = [plan["weights"] * plan["activations"] for plan in found]
    assert products == sorted(products, reverse=True)
    assert len(found) == len({tuple(plan.items()) for plan in found}) == 16
    assert list(choices({"weights": 4, "activations": 4, "input": [1, 8]})) == ["W4A4I8", "W4A4I1"]
    for order in itertools.permutations([1, 2, 4]):
        assert list(choices({"weights": list(order)})) == ["W4A4", "W2A4", "W1A4"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"weights": []}, r"weights is \[\]"),
        ({"weights": [2, 4, 2]}, "a list of different ones"),
        ({"activations": [2, 9]}, "activations is 9; FINN takes 1"),
        ({"activations": [2, True]}, "activations is True"),
        ({"weights": [2, 4], "pooled": [4, 8]}, r"pooled is \[4, 8\]"),
        ({"weights": [2, 4], "layers": {"fc": {"weights": [2, 4]}}}, r"layers: fc: weights is \[2, 4\]"),
        ({"weights": [2, 4], "inptu": 8}, "Did you mean 'input'"),
    ],
)
def test_a_list_that_stands_for_nothing_is_refused(plan, said):
    with pytest.raises(BadInput, match=said):
        choices(plan)


def test_a_step_is_one_step_for_each_choice():
    step = Quantize(epochs=3, low_bit={"weights": [2, 4]})
    assert step.candidates() == {
        "W4A4": Quantize(epochs=3, low_bit={"weights": 4}),
        "W2A4": Quantize(epochs=3, low_bit={"weights": 2}),
    }
    assert Quantize(low_bit={"weights": 2}).candidates() == {}


@pytest.fixture
def closed_form(monkeypatch, tmp_path):
    """FINN replaced by LUT = fps / 100 times the bit operations of a layer, read from the graph it is given."""
    shutil.copytree(RECORDED, tmp_path / "recorded")
    real = read_report(tmp_path / "recorded", PYNQ)
    asked = []

    def estimate(build, **options):
        rate = json.loads((build / "dataflow_build_config.json").read_text())["target_fps"]
        return folded(build / "estimate", rate)

    def refold(done, output, rate, *, stream, **options):
        return folded(output, rate)

    def folded(output, rate):
        asked.append((output.parent.parent.name, rate))
        (output / "report").mkdir(parents=True)
        (output / "report" / "auto_folding_config.json").write_text("{}")
        for name in ("finn.log", "build_dataflow.log"):
            (output / name).write_text("")
        (output / "task.json").write_text(json.dumps(rate))
        return Estimate(output, {}, ())

    def read(build, board, output):
        layers = layer_bits(onnx.load(build / "model.onnx"))[1:]  # the first reads integers, not a quantizer
        product = max(layer.weights * layer.activations for layer in layers)
        rate = json.loads((build / output / "task.json").read_text())
        lut = Figure(product * rate / 100)
        return replace(real, fps=Figure(float(rate)), resources={**real.resources, "lut": lut})

    for name, stand_in in (("estimate", estimate), ("refold", refold), ("read_report", read)):
        monkeypatch.setattr(searching, name, stand_in)
    monkeypatch.setattr(widths, "FINN", Found(FINN))
    return asked


class Found:
    """An environment that is there."""

    def __init__(self, tool):
        self.tool = tool

    def find(self):
        return object()


def networks(plan, name="tfc"):
    """{name: what exports the untrained network} of a plan with lists."""
    pytest.importorskip("brevitas", reason="low-bit networks need brevitas (edgekit[fpga])")
    import torch

    from edgekit.quant.brevitas_layers import calibrate, swap
    from targets.fpga.qonnx_file import to_qonnx

    def graph(choice):
        low = swap(built(name), example(), choice)
        calibrate(low, [torch.randn(8, 1, 32, 32, generator=torch.Generator().manual_seed(0))])
        return to_qonnx(low, example())

    return {key: lambda choice=choice: graph(choice) for key, choice in choices(plan).items()}


BOTH = {"weights": [1, 2, 4], "activations": [2, 4]}


def chosen(tmp_path, plan, aims, say=lambda line: None, name="tfc"):
    return FpgaTarget().choose(tmp_path / "candidates", networks(plan, name), PYNQ, aims, say)


def test_the_widest_that_fits_is_chosen_and_no_narrower_one_is_asked_for(tmp_path, closed_form):
    found = chosen(tmp_path, BOTH, Aims(fps=1000, limits={"lut": 85.0}))
    assert (found["chosen"], found["missed"]) == ("W2A4", "")
    assert list(found["tried"]) == ["W4A4", "W2A4"]
    assert found["tried"]["W4A4"]["rejected"] == "lut 160 of 85"
    assert found["tried"]["W2A4"]["rejected"] == ""
    assert found["tried"]["W2A4"]["figures"] | {"bram18": 0, "dsp": 0, "uram": 0} == {
        "fps": 1000,
        "lut": 80,
        "bram18": 0,
        "dsp": 0,
        "uram": 0,
    }
    assert closed_form == [("W4A4", 1000), ("W2A4", 1000)]
    assert found == json.loads(json.dumps(found))
    assert not (tmp_path / "candidates").exists()


def test_without_a_rate_the_widest_gets_the_highest_that_its_budget_leaves(tmp_path, closed_form):
    found = chosen(tmp_path, BOTH, Aims(limits={"lut": 320.0}))
    fps = found["tried"]["W4A4"]["figures"]["fps"]
    assert found["chosen"] == "W4A4"
    assert 2000 / searching.CLOSE < fps <= 2000


def test_where_none_fits_the_nearest_is_kept(tmp_path, closed_form):
    found = chosen(tmp_path, BOTH, Aims(fps=1000, limits={"lut": 10.0}))
    assert (found["chosen"], found["missed"]) == ("W1A2", "the budget is missed: lut 20 of 10")
    assert [trial["rejected"] for trial in found["tried"].values()] == [
        f"lut {lut} of 10" for lut in (160, 80, 80, 40, 40, 20)
    ]
    assert [path.name for path in (tmp_path / "candidates").iterdir()] == ["W1A2"]
    assert (tmp_path / "candidates" / "W1A2" / "finn_build" / "folding_config.json").is_file()


def test_a_width_that_cannot_be_is_passed_over_with_its_reason(tmp_path, closed_form):
    plan = {"weights": 1, "activations": [1, 2], "layers": {"depthwise": {"weights": 2}}}
    found = chosen(tmp_path, plan, Aims(fps=1000, limits={"lut": 1e4}), name="forms")
    assert found["chosen"] == "W1A2"
    found = chosen(tmp_path, plan, Aims(fps=1000, limits={"lut": 1.0}), name="forms")
    assert "bipolar values" in found["tried"]["W1A1"]["rejected"]
    assert found["tried"]["W1A1"]["figures"] == {}


def test_without_finn_there_is_nothing_to_choose_by(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_FINN", str(tmp_path / "none"))
    with pytest.raises(
        EdgekitError, match=r"not installed.*edgekit doctor --install fpga.*or give one width"
    ):
        chosen(tmp_path, BOTH, Aims(fps=1000))


@pytest.mark.skipif(bool(FINN.probe()), reason=f"{FINN.probe()}")
def test_finn_finds_the_widest_tfc_for_a_pynq_z1(tmp_path):
    said: list[str] = []
    found = chosen(
        tmp_path, {"weights": [1, 4], "activations": 2}, Aims(5e4, None, {"lut": 3200.0}), said.append
    )
    assert (found["chosen"], found["missed"]) == ("W1A2", "")
    assert found["tried"]["W4A2"]["figures"]["lut"] > 3200 >= found["tried"]["W1A2"]["figures"]["lut"] > 0
    assert found["tried"]["W1A2"]["figures"]["fps"] >= 5e4
    assert sum("fps asked" in line for line in said) == 2
    assert LowBitPlan.from_json(choices({"weights": [1, 4], "activations": 2})["W1A2"]).weights == 1
