"""The choice by measurement, on a machine whose times are scripted, and once on this one."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from edgekit import choose
from edgekit.choose import FLOOR, Measurer, restricted, time_files
from edgekit.export.graph import layer_of
from edgekit.profile.interleave import Ratio, Timing, ratio
from edgekit.quant.writer import write_qdq, written_sites
from edgekit.registry import models
from edgekit.target import find_target

sys.path.insert(0, str(Path(__file__).parent / "quant"))
from test_placement import model
from whole_way import VNNI, Whole, normal, quantize_graph, settle

LAYERS = ("n_a", "n_c", "n_e")
ROWS = [
    ("Conv", ["x", "w8x3x1x1"], "a"),
    ("Relu", ["a"], "b"),
    ("Conv", ["b", "w8x8x1x1"], "c"),
    ("Relu", ["c"], "d"),
    ("Conv", ["d", "w4x8x1x1"], "e"),
]
CAPS = find_target("cpu").caps(VNNI)
FEEDS = normal({"x": (3, 8, 8)}, 4)


class Scripted:
    """The CPU target whose layers take the times of a table, {layer: (float us, int8 us)}, at a noise."""

    name = "cpu"

    def __init__(self, table: dict[str, tuple[float, float]]) -> None:
        self.table, self._real = table, find_target("cpu")
        self.exported: list[tuple[str, ...]] = []

    def caps(self, board):
        return self._real.caps(board)

    def export(self, graph, quantization, board, path):
        return self._real.export(graph, quantization, board, path)

    def rows(self, path: Path) -> list[SimpleNamespace]:
        """A layer's time, by whether its weight is stored in integers."""
        convs = [node for node in onnx.load(path).graph.node if node.op_type == "Conv"]
        return [
            SimpleNamespace(
                layer=layer_of(node),
                microseconds=self.table[layer_of(node)][node.input[1].endswith("_dequantized")],
            )
            for node in convs
        ]

    def runner(self, path, *, threads=1):
        total = sum(row.microseconds for row in self.rows(path))
        return SimpleNamespace(
            operator_times=lambda feeds: self.rows(path),
            total=total,
            prepare=lambda feeds: lambda: time.sleep(total / 1e6),
        )


@pytest.fixture
def measurer(monkeypatch):
    """A measurer over a table of times, without a clock."""
    noise = 0.0

    def timed(files, target, feeds, *, threads=1):
        chance = np.random.default_rng(0)
        rounds = {
            name: target.runner(path).total * np.exp(noise * chance.normal(size=30))
            for name, path in files.items()
        }
        return {name: Timing(value, value[:, None]) for name, value in rounds.items()}

    def build(table, *, spread=0.001, precision="int8", exclude=()):
        nonlocal noise
        noise = spread
        graph = model(ROWS, ["e"])
        quantization = quantize_graph(graph, choose.place(graph, CAPS, exclude=exclude), CAPS, FEEDS)
        return Measurer(graph, quantization, VNNI, Scripted(dict(zip(LAYERS, table, strict=True))), FEEDS)

    monkeypatch.setattr(choose, "time_files", timed)
    return build


def test_fp32_stays_where_int8_is_slower(measurer):
    made = measurer([(100, 120), (100, 130), (100, 125)]).choose()
    assert made["precision"] == "fp32"
    assert made["float_layers"] == []
    assert made["kept_in_float"] == []
    assert made["measured"]["int8"]["ratio"] == pytest.approx(300 / 375, rel=0.01)
    assert made["measured"]["fp32"]["ratio"] == 1.0


def test_full_int8_where_every_layer_gains(measurer):
    made = measurer([(100, 50), (100, 40), (100, 105)]).choose()
    assert (made["precision"], made["float_layers"]) == ("int8", [])
    assert set(made["measured"]) == {"fp32", "int8"}  # 5 % slower is no suspect


@pytest.mark.parametrize(
    ("table", "kept"),
    [([(100, 30), (100, 200), (100, 30)], ["n_c"]), ([(100, 150), (100, 300), (200, 20)], ["n_c", "n_a"])],
)
def test_the_layers_that_lose_in_int8_stay_in_float(measurer, table, kept):
    one = measurer(table)
    made = one.choose()
    assert (made["precision"], made["float_layers"]) == ("int8", kept)
    assert [row["layer"] for row in made["kept_in_float"]] == kept
    assert all(row["int8_us"] > row["float_us"] for row in made["kept_in_float"])
    best = made["measured"][f"float {', '.join(kept)}"]
    assert best["ratio"] == max(value["ratio"] for value in made["measured"].values())
    expected = sum(row[0] for row in table) / sum(
        row[layer not in kept] for layer, row in zip(LAYERS, table, strict=True)
    )
    assert best["ratio"] == pytest.approx(expected, rel=0.01)
    assert best["ci95"][0] <= best["ratio"] <= best["ci95"][1]


def test_a_gain_that_noise_could_hide_is_not_taken(measurer):
    table = [(100, 101), (100, 101), (100, 101)]
    assert measurer(table, spread=0.001).choose()["precision"] == "int8"  # the bound is above the floor
    made = measurer(table, spread=0.3).choose()
    assert made["measured"]["int8"]["ci95"][0] < FLOOR
    assert made["precision"] == "fp32"


@pytest.mark.parametrize(("gain", "precision"), [(1.2, "int8"), (0.8, "fp32")])
def test_another_comparison_than_time_decides(measurer, gain, precision):
    """Under objective: energy a file is kept where it surely takes no more, whatever the clock says."""

    def compare(files):
        return {name: Ratio(*(1.0 if name == "fp32" else gain,) * 3) for name in files}

    one = replace(measurer([(100, 120), (100, 130), (100, 125)]), compare=compare)
    assert one.choose()["precision"] == precision


def test_a_quantization_with_excluded_layers_can_be_restricted_further(measurer):
    one = measurer([(100, 150), (100, 100), (100, 20)], exclude=("n_c",))
    made = one.choose()
    assert (made["precision"], made["float_layers"]) == ("int8", ["n_a"])
    left = restricted(one.graph, one.quantization, CAPS, ("n_a",))
    assert {site.module for site in left.weights} == {"n_e"}
    assert written_sites(write_qdq(one.graph, left, CAPS)) == {*left.weights, *left.activations}


def test_restricting_keeps_scales_and_leaves_nothing_where_nothing_is_left(measurer):
    one = measurer([(1, 1)] * 3)
    assert restricted(one.graph, one.quantization, CAPS, ()) is one.quantization
    assert restricted(one.graph, one.quantization, CAPS, LAYERS) is None
    left = restricted(one.graph, one.quantization, CAPS, ("n_a",))
    assert {str(site) for site in one.quantization.activations} - {
        str(site) for site in left.activations
    } == {"/input#0:input:x"}
    assert all(one.quantization.activations[site] is scale for site, scale in left.activations.items())
    assert (
        restricted(one.graph, one.quantization, CAPS, ("n_*",)).weights == one.quantization.weights
    )  # no globs


def test_files_are_timed_in_turns(tmp_path):
    target = Scripted(dict(zip(LAYERS, [(1000, 300)] * 3, strict=True)))
    graph = model(ROWS, ["e"])
    quantization = quantize_graph(graph, choose.place(graph, CAPS), CAPS, FEEDS)
    files = {
        name: target.export(graph, given, VNNI, tmp_path / f"{name}.onnx").path
        for name, given in (("fp32", None), ("int8", quantization))
    }
    timings = time_files(files, target, FEEDS, rounds=10, seconds=0.4)
    assert [timing.calls.shape[0] for timing in timings.values()] == [choose.SESSIONS] * 2
    assert 2.0 < ratio(timings["fp32"], timings["int8"]).value < 3.5


def test_on_this_machine_the_chosen_file_is_never_slower(tmp_path, monkeypatch):
    whole = Whole(settle(models.get("ds_cnn")()), {"x": (1, 49, 10)})
    target = find_target("cpu")
    monkeypatch.setattr(
        choose,
        "time_files",
        lambda *args, threads=1: time_files(*args, threads=threads, rounds=20, seconds=1.0),
    )
    measurer = Measurer(whole.graph, whole.quantization, VNNI, target, normal(whole.shapes, 1))
    made = measurer.choose()
    assert {"fp32", "int8"} <= set(made["measured"])
    name = f"float {', '.join(made['float_layers'])}" if made["float_layers"] else made["precision"]
    assert made["measured"][name]["ci95"][0] >= FLOOR
    gains = [
        value["ratio"]
        for name, value in made["measured"].items()
        if name != "fp32" and value["ci95"][0] >= FLOOR
    ]
    assert made["measured"][name]["ratio"] == max(gains, default=1.0)
