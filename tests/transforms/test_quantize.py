"""Quantization as a step: its plan, its replay, its training, and every way it can be asked wrongly."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from pruning_nets import Residual, batches, job_for, settled

from edgekit.errors import BadInput
from edgekit.export.to_onnx import to_onnx
from edgekit.fit import cross_entropy
from edgekit.job import Data
from edgekit.quant.quantization import Quantization
from edgekit.quant.writer import write_qdq
from edgekit.target import Board, find_target
from edgekit.transforms.quantize import Quantize

VNNI = Board("vnni", "a CPU with VNNI", "cpu", {"instruction_set": "avx512-vnni", "vector_bits": 512})
CAPS = find_target("cpu").caps(VNNI)


def job(data=None, **fields):
    return job_for(batches(2) if data is None else data, caps=CAPS, **fields)


def file_of(model, change, example) -> onnx.ModelProto:
    graph = to_onnx(model, example, fuse=False)
    return write_qdq(graph, Quantization.from_json(change.plan["quantization"]), CAPS)


def run(file: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    return onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})[0]


@pytest.fixture(scope="module")
def done():
    model = settled(Residual)
    return (model, *Quantize().apply(copy.deepcopy(model), job()))


def test_after_training_the_model_is_folded_and_the_plan_holds_every_scale(done):
    model, fused, change = done
    x = batches(1, seed=9)[0][0]
    with torch.no_grad():
        real = model(x)
        torch.testing.assert_close(fused(x), real, rtol=1e-3, atol=1e-4)
    assert change.after.params < change.before.params  # the norms are gone
    assert change.plan == json.loads(json.dumps(change.plan))
    quantization = Quantization.from_json(change.plan["quantization"])
    convs = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    assert sorted(site.module for site in quantization.weights) == sorted(convs)
    found = run(file_of(fused, change, job().example), x.numpy())
    assert 0 < np.square(found - real.numpy()).mean() < 0.01 * float(real.var())


def test_replay_on_a_fresh_model_takes_the_weights_and_gives_the_same_outputs(done):
    _, fused, change = done
    fresh = Quantize.replay(settled(Residual, seed=5), change.plan)
    fresh.load_state_dict(fused.state_dict(), strict=True)
    x = batches(1, seed=9)[0][0]
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), fused(x))
    example = job().example
    assert np.array_equal(
        run(file_of(fresh, change, example), x.numpy()), run(file_of(fused, change, example), x.numpy())
    )


def test_training_lowers_the_loss_of_the_written_file():
    data, model = batches(3), settled(Residual)
    losses = []
    for epochs in (0, 40):
        fused, change = Quantize(epochs=epochs, lr=2e-2).apply(copy.deepcopy(model), job(data))
        file = file_of(fused, change, job().example)
        losses.append(sum(cross_entropy(torch.from_numpy(run(file, x.numpy())), y).item() for x, y in data))
        assert not fused.training
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in fused.modules())
    assert losses[1] < 0.6 * losses[0]


def test_calibration_needs_inputs_alone_and_training_needs_a_train_part():
    x = [batch[0] for batch in batches(2)]
    given = replace(job(), data=Data(calibration=x))
    _, change = Quantize().apply(settled(Residual), given)
    assert change.plan["quantization"]["weights"]
    with pytest.raises(BadInput, match="there is no training data"):
        Quantize(epochs=1).apply(settled(Residual), given)
    with pytest.raises(BadInput, match="there is no calibration data"):
        Quantize().apply(settled(Residual), replace(job(), data=Data()))


def test_an_onnx_file_is_quantized_with_unlabelled_inputs_only(done):
    model, _, torch_change = done
    graph = to_onnx(model, job().example)
    before = graph.SerializeToString(deterministic=True)
    given = replace(job(), data=Data(calibration=[batch[0] for batch in batches(2)]))
    same, change = Quantize().apply(graph, given)
    assert same is graph
    assert graph.SerializeToString(deterministic=True) == before
    assert change.plan["quantization"] == torch_change.plan["quantization"]
    assert change.before == change.after


def test_excluded_layers_have_no_scale_and_are_noted():
    _, change = Quantize(exclude=("fc", "stem*")).apply(settled(Residual), job())
    modules = {site.module for site in Quantization.from_json(change.plan["quantization"]).weights}
    assert modules
    assert not any(name == "fc" or name.startswith("stem") for name in modules)
    assert any("excluded" in note for note in change.notes)


def test_fp16_needs_no_board_and_no_data():
    fused, change = Quantize(precision="fp16").apply(
        settled(Residual), replace(job(), data=Data(), caps=None)
    )
    assert Quantization.from_json(change.plan["quantization"]) == Quantization("fp16")
    assert change.notes == ("weights and arithmetic in float16",)
    assert fused is not None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"calibration": "max"}, "calibration 'max' is unknown"),
        ({"precision": "int4"}, "precision 'int4' is unknown"),
        ({"weight_scales": "best"}, "weight_scales 'best' is unknown"),
        ({"learn": "all"}, "learn 'all' is unknown"),
        ({"precision": "fp16", "epochs": 2}, "fp16 needs no training"),
    ],
)
def test_settings_that_make_no_step(settings, text):
    with pytest.raises(BadInput, match=text):
        Quantize(**settings)


@pytest.mark.parametrize(
    ("settings", "fields", "text"),
    [
        ({"weights": 4}, {}, "weights: 4 bits; this board's runtime computes in 8"),
        ({"activations": 16}, {}, "activations: 16 bits"),
        ({}, {"caps": None}, "no board was named"),
        ({"exclude": ("*",)}, {}, r"no layer of this model can run in integers on this board \(excluded\)"),
    ],
)
def test_what_cannot_be_done_is_one_line(settings, fields, text):
    with pytest.raises(BadInput, match=text) as error:
        Quantize(**settings).apply(settled(Residual), replace(job(), **fields))
    assert "\n" not in str(error.value)


def test_calibration_data_with_nan_is_named():
    x = batches(1)[0][0].clone()
    x[0, 0, 0, 0] = float("nan")
    with pytest.raises(BadInput, match="input 'x' holds NaN"):
        Quantize().apply(settled(Residual), replace(job(), data=Data(calibration=[x])))


def test_the_dry_run_trains_one_batch_of_one_epoch():
    steps = []
    given = job(batches(4)).rehearsal()
    inner = given.fit
    given.fit = lambda model, data, hooks: (
        hooks.after_step.append(lambda: steps.append(1)),
        inner(model, data, hooks),
    )[1]
    Quantize(epochs=30).apply(settled(Residual), given)
    assert len(steps) == 1
