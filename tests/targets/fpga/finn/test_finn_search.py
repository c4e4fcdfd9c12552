"""The search for a folding: what fits, what is nearest, how the highest rate is closed in on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import finn_nets
import pytest
from finn_rig import DEVICE, PYNQ, needs_finn, recorded

from edgekit.errors import BadInput, EdgekitError
from targets.fpga.finn import search as searching
from targets.fpga.finn.budget import Budget
from targets.fpga.finn.build import CONFIG, FOLDING, write_build
from targets.fpga.finn.estimate import Estimate
from targets.fpga.finn.figure import Figure
from targets.fpga.finn.report import read_report
from targets.fpga.finn.search import search


def test_a_budget_is_read_from_a_line():
    assert Budget.parse("fps=10000,lut=4e4") == Budget(fps=10000, lut=40000)
    with pytest.raises(BadInput, match="Did you mean 'lut'"):
        Budget.parse("luts=3")
    with pytest.raises(BadInput, match="lut=many is no number"):
        Budget.parse("lut=many")


def test_what_is_too_much_is_told(tmp_path):
    found = read_report(recorded(tmp_path), PYNQ)
    assert Budget(fps=1e5, lut=3e4).excess(found) == {}
    assert Budget(fps=2e5, lut=2e4).excess(found) == {
        "fps": "111,607 of 200,000 (slowest: MVAU_hls_0 /2/MatMul)",
        "lut": "27,300 of 20,000",
    }
    assert Budget(fps=1, lut=7).within(PYNQ) == Budget(fps=1, lut=7, bram18=280, dsp=220)


class Chip:
    """A made-up network: `lut(bits, fps)`, and no faster than `fastest` with narrow streams of weights."""

    def __init__(self, folder: Path, monkeypatch, fastest: float = 1e9) -> None:
        self.folder, self.fastest, self.asked = folder, fastest, []
        monkeypatch.setattr(searching, "estimate", self.estimate)
        monkeypatch.setattr(searching, "refold", self.refold)
        monkeypatch.setattr(searching, "read_report", self.read)

    def build(self, bits, fps):
        if bits == "broken":
            raise EdgekitError("finn: streamline failed")
        self.bits = bits
        build = self.folder / str(bits) / "finn_build"
        shutil.copytree(recorded(self.folder / f"of {bits}"), build)
        return self._folded(build, "estimate", fps, 36).parent

    def estimate(self, build, **options):
        return Estimate(build / "estimate", {}, ())

    def refold(self, done, output, rate, *, stream, **options):
        return Estimate(self._folded(done.folder.parent, output.name, rate, stream), {}, ())

    def _folded(self, build, output, rate, stream):
        if output != "estimate":
            shutil.copytree(build / "estimate", build / output)
        self.asked.append((rate, stream))
        fps = rate if stream > 36 else min(rate, self.fastest)
        (build / output / "task.json").write_text(json.dumps([self.bits, fps]))
        for log in ("finn.log", "build_dataflow.log"):
            (build / output / log).write_text("")
        return build / output

    def read(self, build, board, output):
        bits, fps = json.loads((build / output / "task.json").read_text())
        real = read_report(self.folder / f"of {bits}" / "finn_build", board)
        lut = Figure(100 + bits * fps)
        return replace(real, fps=Figure(fps), resources={**real.resources, "lut": lut})


def test_a_rate_in_the_budget_is_tried_alone(tmp_path, monkeypatch):
    chip = Chip(tmp_path, monkeypatch)
    found = search(chip.build, PYNQ, Budget(fps=1000), bits=[4])
    assert (found.best.target_fps, found.missed, len(found.trials)) == (1000, "", 1)


def test_wide_streams_are_tried_where_narrow_ones_are_too_slow(tmp_path, monkeypatch):
    chip = Chip(tmp_path, monkeypatch, fastest=300)
    found = search(chip.build, PYNQ, Budget(fps=1000), bits=[4])
    assert chip.asked == [(1000, 36), (1000, searching.WIDE)]
    assert (found.best.report.fps.estimated, found.missed) == (1000, "")


def test_the_highest_rate_that_fits_is_closed_in_on(tmp_path, monkeypatch):
    chip = Chip(tmp_path, monkeypatch, fastest=300)
    found = search(chip.build, PYNQ, Budget(lut=10100), bits=[1])
    assert 10000 / searching.CLOSE < found.best.report.fps.estimated <= 10000
    assert len(found.trials) <= searching.TRIALS
    build = found.best.folder.parent
    assert sorted(path.name for path in build.glob("estimate*")) == ["estimate"]
    assert (build / FOLDING).is_file()
    assert json.loads((build / CONFIG).read_text())["folding_config_file"] == FOLDING
    assert json.loads((build / "estimate" / "task.json").read_text())[1] == found.best.report.fps.estimated


def test_a_first_rate_that_does_not_fit_is_lowered(tmp_path, monkeypatch):
    found = search(Chip(tmp_path, monkeypatch).build, PYNQ, Budget(lut=150), bits=[1])
    assert 50 / searching.CLOSE < found.best.report.fps.estimated <= 50


def test_the_first_width_that_fits_is_taken_and_errors_are_passed_over(tmp_path, monkeypatch):
    said = []
    chip = Chip(tmp_path, monkeypatch)
    found = search(chip.build, PYNQ, Budget(fps=1000, lut=5000), bits=["broken", 8, 4, 2], say=said.append)
    assert (found.best.bits, [trial.bits for trial in found.trials]) == (4, [8, 4])
    assert said[0] == "search: broken: finn: streamline failed"
    assert "misses lut" in said[1]
    with pytest.raises(EdgekitError, match="streamline failed"):
        search(chip.build, PYNQ, Budget(fps=1), bits=["broken"])


def test_a_missed_budget_keeps_the_nearest_and_says_what_lacks(tmp_path, monkeypatch):
    found = search(Chip(tmp_path, monkeypatch).build, PYNQ, Budget(fps=1000, lut=500), bits=[8, 2])
    assert found.best.bits == 2
    assert found.missed == "the budget is missed: lut 2,100 of 500"
    assert found.to_json()["missed"] == found.missed


@needs_finn
def test_bit_widths_and_folding_of_a_real_network(tmp_path):
    def build_of(bits, fps):
        folder = tmp_path / f"w{bits}"
        folder.mkdir()
        net = finn_nets.tfc(folder, bits)
        return write_build(folder, net.path, DEVICE, target_fps=fps)

    found = search(build_of, PYNQ, Budget(fps=1e5, lut=29000), bits=[8, 2])
    assert found.missed == ""
    assert found.best.bits == 2
    assert found.best.report.resources["lut"].estimated <= 29000
