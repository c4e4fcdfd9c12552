"""`edgekit compress` and energy: measured in turns where it was asked for, a reason else, and an objective."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgekit
from edgekit import cli
from edgekit.errors import BadInput
from edgekit.measure import Bench, with_energy
from edgekit.pipeline import compress_recipe
from edgekit.profile.energy_fields import Energies
from edgekit.profile.energy_run import EnergyPlan
from edgekit.profile.interleave import Ratio
from edgekit.recipe import parse_recipe
from edgekit.report.report import Measured
from edgekit.target import find_board, find_target
from tests.profile.rails import Rails, Short


def compressed(out: Path, **options) -> edgekit.Result:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)).eval()
    batch = (torch.randn(16, 3, 8, 8), torch.arange(16) % 10)
    return edgekit.compress(
        net,
        steps=[edgekit.Quantize()],
        data=([batch], [batch]),
        evaluate=lambda outputs, targets: outputs.argmax(1) == targets,
        out=out,
        **options,
    )


def test_baseline_and_result_are_measured_in_turns(tmp_path):
    with Rails(tmp_path / "tree") as rails:
        report = compressed(
            tmp_path / "out", objective="size", energy=Short(quick=True, root=rails.root, length=0.4)
        ).report
    for part in ("baseline", "result"):
        energy = report[part]["energy"]
        for window in energy["windows"]:
            assert window["joules"] == pytest.approx(rails.joules(window["start"], window["end"]), rel=0.08)
        assert "energy" not in report[part]["not_measured"]
        assert (energy["scope"], energy["sensor"]) == ("module", "ina3221 VDD_IN")
    assert report["ratio"]["energy"]["ci95"][0] <= report["ratio"]["energy"]["value"]
    assert "energy" in report["verdict"]


def bench(energy: EnergyPlan | None, board: str = "this-machine") -> Bench:
    made = find_board(board)
    return Bench(None, made, find_target(made.target), energy=energy)  # type: ignore[arg-type]


def test_unasked_or_unseen_energy_is_null_with_its_reason(tmp_path):
    files = {"baseline": Path("absent.onnx"), "result": Path("absent.onnx")}
    unasked = bench(None).energies(files)
    assert unasked.reasons == dict.fromkeys(files, "not asked for: --energy")
    unseen = bench(Short(root=tmp_path)).energies(files)
    assert "no sensor can be read here" in unseen.reasons["result"]
    away = bench(Short(root=tmp_path), "arm64").energies(files)
    assert "arm64 is not the machine that ran this" in away.reasons["baseline"]
    measured = Measured(not_measured={"energy": "not asked for", "metric": "none"})
    assert with_energy(measured, unseen, "result").not_measured["energy"] == unseen.reasons["result"]
    known = with_energy(measured, Energies(fields={"result": {"joules_per_inference": 2.0}}), "result")
    assert (known.energy, known.not_measured) == ({"joules_per_inference": 2.0}, {"metric": "none"})


def test_the_objective_is_refused_in_the_dry_run_without_a_sensor(tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(
        BadInput, match=r"^objective: energy: no sensor can be read here \(.*Choose latency or"
    ):
        compressed(tmp_path / "out", objective="energy", energy=Short(root=tmp_path / "bare"))
    assert not (tmp_path / "out" / "report.json").exists()
    text = "model: {resnet8: {width: 8}}\ndata: {fashion-mnist: {train_limit: 64, test_limit: 32}}\n"
    recipe = parse_recipe(text + "boards: [arm64]\nobjective: energy\nsteps: [quantize]\n")
    with pytest.raises(
        BadInput, match=r"^objective: energy \(line 4\): arm64 is not the machine that ran this"
    ):
        compress_recipe(recipe, out=tmp_path / "arm", energy=Short(root=tmp_path / "bare"))


def test_ratios_need_the_energy_of_every_file(monkeypatch):
    found = Energies(
        fields={"fp32": {}, "int8": {}}, gains={"int8": {"value": 1.5, "ci95": [1.4, 1.6], "differs": True}}
    )
    monkeypatch.setattr(Bench, "energies", lambda self, files: found)
    files = {"fp32": Path("a"), "int8": Path("b")}
    assert bench(None).energy_ratios(files) == {"fp32": Ratio(1.0, 1.0, 1.0), "int8": Ratio(1.5, 1.4, 1.6)}
    with pytest.raises(BadInput, match=r"windows were lost\). Run the same command again"):
        bench(None).energy_ratios({**files, "mixed": Path("c")})
    monkeypatch.setattr(Bench, "energies", lambda self, files: Energies(reasons={"int8": "the cable is out"}))
    with pytest.raises(BadInput, match="the cable is out"):
        bench(None).energy_ratios(files)


def test_quick_windows_without_energy_are_one_line(tmp_path, capsys):
    (tmp_path / "r.yaml").write_text("model: mlp\ndata: fashion-mnist\nsteps: [quantize]\n")
    assert cli.main(["compress", str(tmp_path / "r.yaml"), "--quick", "--out", str(tmp_path / "out")]) == 2
    assert "--quick is of the windows of --energy" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
