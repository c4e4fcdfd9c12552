"""Several files at once: what fails late keeps what was measured before."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekit.errors import BadInput
from edgekit.profile.item import Item
from edgekit.profile.several import Several
from edgekit.report.profile_report import profile_content
from edgekit.testing import sample_graph
from tests.profile.rails import Rails, Short


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> list[Item]:
    import onnx

    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(sample_graph(), path)
    return [Item.random(name, path, "cpu", batch=3) for name in ("a", "b")]


def content(several: Several) -> dict:
    return profile_content(
        several, reasons={}, machine={"title": "", "versions": {}}, state=None, settings={}
    )


def refuse(*words, **more):
    raise BadInput("kernel: it fails on this input.")


def test_layers_that_cannot_be_timed_are_a_reason(items, monkeypatch):
    monkeypatch.setattr("edgekit.profile.layers.layer_report", refuse)
    several = Several(items, seconds=0.05)
    several.measure(layers=True)
    for seen in content(several)["files"]:
        assert seen["latency_ms"]["batch"] == 3
        assert seen["not_measured"]["layers"] == "kernel: it fails on this input."


def test_a_load_that_fails_in_a_window_keeps_the_latency(items, tmp_path, monkeypatch):
    from edgekit.profile.sensors import find_sensor

    several = Several(items, seconds=0.05)
    several.measure()
    monkeypatch.setattr("edgekit.profile.energy_session.run_windows", refuse)
    several.measure_energy(Short(), find_sensor(root=Rails(tmp_path / "tree").root))
    first, second = content(several)["files"]
    assert (
        first["not_measured"]["energy"]
        == second["not_measured"]["energy"]
        == "kernel: it fails on this input."
    )
    assert second["speed_up_over_first"]["value"] == pytest.approx(1.0, abs=0.5)
    assert first["speed_up_over_first"] is None


def test_ctrl_c_before_anything_was_measured_ends_the_command(items, monkeypatch):
    def stop(self, item):
        raise KeyboardInterrupt

    monkeypatch.setattr(Several, "_alone", stop)
    with pytest.raises(KeyboardInterrupt):
        Several(items).measure()


def test_ctrl_c_in_the_second_file_keeps_the_first(items, monkeypatch):
    real = Several._alone

    def stop(self, item):
        if item.name == "b":
            raise KeyboardInterrupt
        return real(self, item)

    monkeypatch.setattr(Several, "_alone", stop)
    several = Several(items, seconds=0.05)
    several.measure()
    assert several.measure_energy(Short(), None) is None
    first, second = content(several)["files"]
    assert first["latency_ms"]
    assert second["not_measured"]["latency_ms"] == "stopped by Ctrl-C while measuring the latency of b"


def test_an_empty_place_for_the_model_is_named(tmp_path):
    with pytest.raises(BadInput):
        Item.random("x", Path(tmp_path / "x.onnx"), "cpu", batch=1)
