"""The container: what goes in comes out on a fresh instance, and what was touched is refused in one line."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekit import container, registry
from edgekit.errors import BadInput
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.site import Site
from edgekit.signature import Signature, TensorSpec
from edgekit.target import Grid
from edgekit.transforms.base import Transform


class Net(nn.Module):
    """A small network with a tied pair of weights and BatchNorm buffers."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.encode = nn.Linear(width, 4, bias=False)
        self.twin = nn.Linear(width, 4, bias=False)
        self.twin.weight = self.encode.weight

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.norm(self.conv(value)).relu().mean((2, 3))
        return self.encode(value) + 2 * self.twin(value)


class KeepChannels(Transform):
    """Keeps the listed channels of the convolution, and what hangs on them: pruning in miniature."""

    name = "keep_channels"

    @staticmethod
    def replay(model: nn.Module, plan: dict[str, Any]) -> nn.Module:
        keep = torch.tensor(plan["keep"])
        conv = nn.Conv2d(1, len(keep), 3, padding=1)
        conv.weight, conv.bias = nn.Parameter(model.conv.weight[keep]), nn.Parameter(model.conv.bias[keep])
        norm = nn.BatchNorm2d(len(keep))
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(norm, name).data = getattr(model.norm, name).data[keep].clone()
        model.conv, model.norm = conv, norm
        model.encode.weight = model.twin.weight = nn.Parameter(model.encode.weight[:, keep])
        return model


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.transforms._registered, "keep_channels", KeepChannels)
    monkeypatch.setitem(registry.models._registered, "test_net", Net)


PLAN = [
    {"transform": "keep_channels", "settings": {"ratio": 0.5}, "plan": {"keep": [0, 2, 3, 7]}},
    {"transform": "finetune", "settings": {"epochs": 1}, "plan": None},
]


def pruned() -> nn.Module:
    torch.manual_seed(7)
    model = KeepChannels.replay(Net(), PLAN[0]["plan"])
    for _ in range(3):
        model(torch.randn(4, 1, 8, 8))  # moves the BatchNorm statistics
    return model.eval()


def saved(folder: Path, **more: Any) -> Path:
    return container.save(folder / "box", pruned(), PLAN, base="test_net", **more)


def test_a_pruned_model_comes_back_on_a_fresh_instance(tmp_path: Path) -> None:
    folder, value = saved(tmp_path), torch.randn(3, 1, 8, 8)
    for fresh in (None, Net()):
        back = container.load(folder, fresh).eval()
        assert back.conv.out_channels == 4
        assert torch.equal(back(value), pruned()(value))
        assert back.twin.weight is back.encode.weight


def test_a_shared_tensor_is_stored_once(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    assert container.read_plan(folder)["aliases"] == {"twin.weight": "encode.weight"}
    from safetensors import safe_open

    with safe_open(folder / container.TENSORS, framework="np") as file:
        assert "twin.weight" not in file.keys()  # noqa: SIM118  (safe_open is no mapping)


def test_views_of_one_storage_are_stored_apart(tmp_path: Path) -> None:
    model, whole = nn.Module(), torch.arange(6.0)
    model.register_buffer("left", whole[:3])
    model.register_buffer("right", whole[3:])
    model.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
    container.save(tmp_path / "box", model, [], base="test_net")
    fresh = nn.Module()
    for name, value in model.state_dict().items():
        fresh.register_buffer(name, torch.zeros_like(value).contiguous())
    back = container.load(tmp_path / "box", fresh)
    assert torch.equal(back.right, torch.tensor([3.0, 4.0, 5.0]))
    assert torch.equal(back.turned, model.turned)


def test_every_dtype_survives(tmp_path: Path) -> None:
    model = nn.Module()
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool):
        model.register_buffer(f"as_{str(dtype).split('.')[1]}", torch.tensor([0, 1, 1]).to(dtype))
    model.register_buffer("empty", torch.zeros(0, 3))
    model.register_buffer("scalar", torch.tensor(2.5))
    fresh = nn.Module()
    for name, value in model.state_dict().items():
        fresh.register_buffer(name, torch.zeros_like(value))
    container.save(tmp_path / "box", model, [], base="test_net")
    for name, value in container.load(tmp_path / "box", fresh).state_dict().items():
        assert value.dtype == model.state_dict()[name].dtype
        assert torch.equal(value, model.state_dict()[name])


def test_quantization_and_signature_survive_exactly(tmp_path: Path) -> None:
    site = Site("conv", "conv", 0, "output")
    scale = Scale(Grid(signed=False), np.array([1 / 3], np.float32), np.array([128]))
    signature = Signature(
        (TensorSpec("x", "float32", ("N", 1, 8, 8)),), (TensorSpec("y", "float32", ("N", 4)),)
    )
    folder = saved(tmp_path, quantization=Quantization("int8", {site: scale}), signature=signature)
    plan = container.read_plan(folder)
    assert Quantization.from_json(plan["quantization"]).activations[site].scale[0] == np.float32(1 / 3)
    assert Signature.from_json(plan["signature"]) == signature


def test_the_digest_depends_on_the_content_and_on_nothing_else(tmp_path: Path) -> None:
    first = container.digest(container.save(tmp_path / "a", pruned(), PLAN, base="test_net"))
    assert container.digest(container.save(tmp_path / "b", pruned(), PLAN, base="test_net")) == first
    other = pruned()
    with torch.no_grad():
        other.conv.bias[0] += 1e-6
    assert container.digest(container.save(tmp_path / "c", other, PLAN, base="test_net")) != first
    assert container.digest(container.save(tmp_path / "d", pruned(), PLAN[:1], base="test_net")) != first


def test_an_onnx_model_is_kept_byte_for_byte(tmp_path: Path) -> None:
    folder = container.save(tmp_path / "box", None, [], base="net.onnx", onnx=b"\x08\x07bytes")
    assert container.base_onnx(folder) == b"\x08\x07bytes"
    container.digest(folder)
    with pytest.raises(BadInput, match="no torch model"):
        container.load(folder)
    (folder / container.ONNX).write_bytes(b"\x08\x07other")
    for read in (container.base_onnx, container.digest):
        with pytest.raises(BadInput, match="checksum differs"):
            read(folder)


def test_a_container_is_not_overwritten_silently(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with pytest.raises(BadInput, match="already holds"):
        saved(tmp_path)
    (folder / "report.json").write_text("{}")
    container.save(folder, None, [], base="net.onnx", onnx=b"abc", overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["base.onnx", "plan.json", "report.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box"]


def test_it_joins_a_folder_that_has_other_files(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "journal.jsonl").write_text("kept")
    container.load(saved(tmp_path))
    assert (tmp_path / "box" / "journal.jsonl").read_text() == "kept"


def test_a_kill_while_writing_leaves_no_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, replace = saved(tmp_path), os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == container.PLAN:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, overwrite=True)
    with pytest.raises(BadInput, match=r"has no plan.json"):
        container.load(folder)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match="No space left on device"):
        saved(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _flip_a_weight(folder: Path) -> None:
    data = bytearray((folder / container.TENSORS).read_bytes())
    data[-3] ^= 1
    (folder / container.TENSORS).write_bytes(bytes(data))


def _cut(folder: Path) -> None:
    path = folder / container.TENSORS
    path.write_bytes(path.read_bytes()[:-10])


def _huge_header(folder: Path) -> None:
    path = folder / container.TENSORS
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])


def _link_out(folder: Path) -> None:
    path = folder / container.TENSORS
    outside = folder.parent / "outside.safetensors"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def _edit(**fields: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / container.PLAN
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def _write_plan(text: str) -> Any:
    return lambda folder: (folder / container.PLAN).write_text(text)


TAMPERED = {
    "a changed weight": (_flip_a_weight, "checksum differs"),
    "a cut file": (_cut, "cannot be read|header"),
    "a huge header": (_huge_header, "header of 1099511627776 bytes"),
    "a link out of the folder": (_link_out, "is a link, which is refused"),
    "no tensors": (lambda folder: (folder / container.TENSORS).unlink(), "has no model.safetensors"),
    "no plan": (lambda folder: (folder / container.PLAN).unlink(), "has no plan.json"),
    "a plan that is no JSON": (_write_plan("\x80\x04."), "is not JSON"),
    "a deeply nested plan": (_write_plan("[" * 200_000), "is not JSON"),
    "a plan that is a list": (_write_plan("[]"), "is no plan"),
    "another schema": (_edit(schema=2), "has schema 2"),
    "a step without a name": (_edit(steps=[{"plan": {}}]), "without a transform"),
    "an alias to nowhere": (_edit(aliases={"twin.weight": "gone"}), "'gone', which is not stored"),
    "a path as a file name": (_edit(sha256={"../x": "00"}), "must list either"),
    "an unknown transform": (_edit(steps=[{"transform": "shrink", "plan": {}}]), "'shrink' is unknown"),
    "code as a transform": (_edit(steps=[{"transform": "os:system", "plan": {}}]), "code outside edgekit"),
    "code as a model": (
        _edit(base={"reference": "subprocess:run", "settings": {"args": ["true"]}}),
        "code outside edgekit",
    ),
    "settings that no model takes": (
        _edit(base={"reference": "test_net", "settings": {"depth": 3}}),
        "cannot be made with",
    ),
    "a plan for another model": (
        _edit(steps=[{"transform": "keep_channels", "plan": {"keep": [99]}}]),
        r"step 1 \(keep_channels\) cannot be replayed",
    ),
    "a step left out": (_edit(steps=[]), r"'conv.weight' has the shape \[4, 1, 3, 3\], .* takes \[8"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_tampered_with_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    damage, message = TAMPERED[case]
    damage(folder)
    with pytest.raises(BadInput, match=message) as caught:
        container.load(folder)
    assert "\n" not in str(caught.value)


def test_another_model_is_refused_by_the_tensor_that_differs(tmp_path: Path) -> None:
    folder = container.save(tmp_path / "box", nn.Linear(2, 2), [], base="x")
    with pytest.raises(BadInput, match=r"has no tensor 'conv.weight'"):
        container.load(folder, Net())
    with pytest.raises(BadInput, match="has the tensor 'bias', which the model lacks"):
        container.load(folder, nn.Linear(2, 2, bias=False))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"settings": {}}, "names no transform"),
        ({"transform": "prune", "plan": {"keep": {1, 2}}}, r"step 1 \(prune\) is not plain JSON"),
        ({"transform": "prune", "plan": {"ratio": float("nan")}}, "is not plain JSON"),
        ({"transform": "prune", "plans": {}}, "unknown field 'plans'"),
    ],
)
def test_a_plan_that_could_not_come_back_is_not_written(
    entry: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        container.save(tmp_path / "box", Net(), [entry], base="test_net")
    assert list(tmp_path.iterdir()) == []
