"""What a recipe may say about a model, and what it gets for a wrong word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgekit.data.dataset import Dataset
from edgekit.errors import BadInput
from edgekit.zoo.source import resolve_model

USER = """
from torch import nn
class Net(nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.fc = nn.Linear(3, size)
    def forward(self, x):
        return self.fc(x)
ready = Net()
def wrong(): return 3
def needs(size): return Net(size)
def breaks(): raise RuntimeError("no luck")
number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(USER)
    return str(path)


def test_a_zoo_name_with_options_of_both_kinds():
    model = resolve_model({"mlp": {"width": 8}}, options={"num_classes": 3})
    assert model(torch.randn(1, 1, 28, 28)).shape == (1, 3)
    assert model.hidden[0].out_features == 8


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "mlp", "gn_lenet", "tfc"])
def test_a_zoo_model_follows_its_data(name):
    x, y = np.zeros((6, 1, 28, 28), np.uint8), np.arange(6) % 3
    dataset = Dataset("grey", x, y, x, y, classes=("a", "b", "c"))
    assert resolve_model(name, dataset=dataset)(torch.randn(2, 1, 28, 28)).shape == (2, 3)


def test_the_users_class_function_and_instance(file):
    assert resolve_model(f"{file}:Net").fc.out_features == 4
    assert resolve_model({f"{file}:Net": {"size": 7}}).fc.out_features == 7
    assert isinstance(resolve_model(f"{file}:ready"), nn.Module)
    same = nn.Linear(2, 2)
    assert resolve_model(same) is same


@pytest.mark.parametrize(
    ("attribute", "options", "message"),
    [
        ("wrong", None, "it gives int, not a torch.nn.Module"),
        ("number", None, "it is int, not a class"),
        ("needs", None, "the option 'size' is missing"),
        ("breaks", None, "RuntimeError: no luck"),
        ("Net", {"sise": 3}, "there is no option 'sise'. Did you mean 'size'"),
        ("Nett", None, "Did you mean 'Net'"),
    ],
)
def test_what_is_no_model_is_one_line(file, attribute, options, message):
    with pytest.raises(BadInput) as caught:
        resolve_model(f"{file}:{attribute}", options=options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(BadInput, match="Did you mean 'resnet8'"):
        resolve_model("resnt8")


def test_a_spec_of_another_type_is_refused():
    with pytest.raises(BadInput, match="neither a name nor one name"):
        resolve_model(["resnet8"])


def test_an_onnx_file_is_its_path(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    assert resolve_model(str(path)) == resolve_model(path) == path
    with pytest.raises(BadInput, match="takes no options"):
        resolve_model(str(path), weights="w.pt")
    with pytest.raises(BadInput, match="there is no file"):
        resolve_model(str(tmp_path / "other.onnx"))


@pytest.mark.parametrize("kind", [".pt", ".pth", ".safetensors", "wrapped", "parallel"])
def test_weights_come_back_as_they_were_saved(tmp_path, kind):
    model = resolve_model({"mlp": {"width": 8}})
    state = model.state_dict()
    path = tmp_path / f"w{kind if kind.startswith('.') else '.pt'}"
    if kind == "parallel":
        state = {f"module.{key}": value for key, value in state.items()}
    save_file(state, path) if kind == ".safetensors" else torch.save(
        {"state_dict": state} if kind == "wrapped" else state, path
    )
    loaded = resolve_model({"mlp": {"width": 8}}, weights=path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc.bias"), "has no 'fc.bias'"),
        (lambda state: state.update(extra=torch.zeros(1)), "has 'extra', which the model lacks"),
        (
            lambda state: state.update({"fc.bias": torch.zeros(9)}),
            r"'fc.bias' of .* is \[9\], the model's is \[10\]",
        ),
        (lambda state: state["fc.bias"].fill_(float("nan")), "the tensor 'fc.bias' has NaN"),
        (lambda state: state["fc.weight"].fill_(float("inf")), "the tensor 'fc.weight' has infinite"),
    ],
)
def test_weights_that_do_not_fit_name_the_tensor(tmp_path, change, message):
    state = {key: value.clone() for key, value in resolve_model("mlp").state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(BadInput, match=message):
        resolve_model("mlp", weights=tmp_path / "w.pt")


def test_a_pickled_model_is_refused_unread(tmp_path):
    torch.save(resolve_model("mlp"), tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"Save model\.state_dict\(\)"):
        resolve_model("mlp", weights=tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_broken_or_absent_file_is_one_line(tmp_path, name):
    with pytest.raises(BadInput, match="there is no file"):
        resolve_model("mlp", weights=tmp_path / name)
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(BadInput, match="weights: "):
        resolve_model("mlp", weights=tmp_path / name)
