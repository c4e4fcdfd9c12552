"""hls4ml's bit-accurate model equals QonnxRunner to the last bit; what it does not take is refused in one line."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgekit.errors import BadInput, EdgekitError
from targets.fpga.finn.check import compare
from targets.fpga.hls4ml import check as hls4ml_check
from targets.fpga.hls4ml.check import Agreement, check, refuse
from targets.fpga.hls4ml.environment import HLS4ML

torch = pytest.importorskip("torch", reason="torch makes the nets; it is not installed")
pytest.importorskip("brevitas", reason="brevitas makes the nets; it is not installed")

MISSING = HLS4ML.probe()
needs_hls4ml = pytest.mark.skipif(bool(MISSING), reason=MISSING)
SHAPES = {"tfc": (1, 28, 28), "cnv": (3, 32, 32)}
SAMPLES = 16


def network(name):
    from torch import nn

    from edgekit.registry import models

    if name in SHAPES:
        return models.get(name)(**({"width": 4} if name == "cnv" else {})), SHAPES[name]
    convolution = nn.Conv2d(3, 4, 3, dilation=2 if name == "dilated" else 1)
    pooling = nn.AvgPool2d(2) if name == "averaging" else nn.MaxPool2d(2)
    return nn.Sequential(convolution, nn.ReLU(), pooling, nn.Flatten(), nn.LazyLinear(10)), (3, 8, 8)


def exported(folder, name, **plan):
    """The QONNX file of a seeded network whose BatchNorm and scales were settled on noise, and inputs for it."""
    from edgekit.quant.brevitas_layers import calibrate, swap
    from targets.fpga.qonnx_file import to_qonnx

    torch.manual_seed(0)
    model, shape = network(name)
    with torch.no_grad():
        model.train()(torch.rand(16, *shape))
        for module in model.modules():
            if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):  # scales that differ by channel
                size = len(module.weight)
                module.weight *= torch.linspace(0.25, 4, size).view(size, *[1] * (module.weight.dim() - 1))
        for _ in range(10):
            model(torch.rand(16, *shape))
    example = {"input": torch.rand(1, *shape)}
    low = swap(model.eval(), example, plan)
    calibrate(low, [torch.rand(16, *shape) for _ in range(2)])
    path = folder / f"{name}.onnx"
    onnx.save(to_qonnx(low, example), path)
    return path, torch.rand(SAMPLES, *shape).numpy()


def bits(count):
    return {"weights": count, "activations": count}


@needs_hls4ml
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("name", ["tfc", "cnv"])
def test_scales_of_powers_of_two_agree_to_the_last_bit(name, count, tmp_path):
    path, inputs = exported(tmp_path, name, power_of_two=True, **bits(count))
    found = check(path, inputs)
    assert found.passed
    assert (found.equal, found.check.exact, found.check.largest) == (SAMPLES, SAMPLES, 0.0), found.told()


@needs_hls4ml
def test_other_scales_agree_but_for_float_rounding_and_the_project_stays(tmp_path):
    path, inputs = exported(tmp_path, "tfc", **bits(4))
    found = check(path, inputs, folder=tmp_path / "project")
    assert found.passed
    assert found.check.exact == SAMPLES, found.told()
    assert (tmp_path / "project" / "firmware" / "myproject.cpp").is_file()


@needs_hls4ml
def test_a_network_that_differs_is_told(tmp_path, monkeypatch):
    path, inputs = exported(tmp_path, "tfc", power_of_two=True, **bits(1))
    monkeypatch.setattr(hls4ml_check, "refuse", lambda model: None)
    found = check(path, inputs)
    assert not found.passed
    assert "computes something else: 0 of 16 samples are equal" in found.told()


@needs_hls4ml
def test_what_hls4ml_stops_at_is_one_line(tmp_path, monkeypatch):
    path, inputs = exported(tmp_path, "averaging", power_of_two=True)
    monkeypatch.setattr(hls4ml_check, "refuse", lambda model: None)
    with pytest.raises(BadInput, match=r"averaging\.onnx cannot be built: ") as raised:
        check(path, inputs)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "plan", "message"),
    [
        ("tfc", {"per_channel": True}, "hidden.0' has a scale for each channel.* Set per_channel: false"),
        (
            "tfc",
            bits(1),
            "hidden.2' is a bipolar activation, behind which it computes other numbers. Give it 2 bits",
        ),
        ("averaging", {}, "'2' is an average that floors .* Pool by the maximum"),
        ("dilated", {}, "'0' is dilated.* Use dilation=1"),
    ],
)
def test_what_it_does_not_take_is_refused_with_the_layer(name, plan, message, tmp_path):
    path, inputs = exported(tmp_path, name, **plan)
    with pytest.raises(BadInput, match=message):
        check(path, inputs)


@pytest.mark.parametrize("plan", [bits(2), {"weights": 1}, {"power_of_two": True}])
def test_what_it_takes_is_not_refused(plan, tmp_path):
    refuse(onnx.load(exported(tmp_path, "tfc", **plan)[0]))


def test_an_absent_environment_is_told_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_HLS4ML", str(tmp_path / "nowhere"))
    path, inputs = exported(tmp_path, "tfc")
    with pytest.raises(EdgekitError, match="Run: edgekit doctor --install hls4ml"):
        check(path, inputs)


def test_inputs_past_the_precision_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(type(HLS4ML), "require", lambda self: None)
    path, inputs = exported(tmp_path, "tfc")
    with pytest.raises(BadInput, match=r"not within ±32768, where fixed<48,16> ends"):
        check(path, inputs * np.float32(1e6))


def test_most_samples_must_be_exact_and_the_others_close():
    want = np.random.default_rng(0).normal(size=(8, 10)).astype(np.float32)
    flipped, wrong = want.copy(), want.copy()
    flipped[0, 0] += 0.01
    wrong[:3] = -wrong[:3]
    passed = [
        Agreement("1.3.0", 7, compare("hls4ml", got, want), 1.0).passed for got in (want, flipped, wrong)
    ]
    assert passed == [True, True, False]
