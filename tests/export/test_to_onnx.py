"""A torch model and its exported graph compute the same; BatchNorm is folded where that is exact."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from edgekit.errors import BadInput
from edgekit.export.fuse import fuse_batchnorm
from edgekit.export.graph import SITE_KEY, metadata
from edgekit.export.to_onnx import load_onnx, to_onnx


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()

    def forward(self, x):
        return self.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.one, self.two, self.shared = Block(), Block(), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.cat([self.two(self.one(x)), x], 1)[:, :4]
        return self.head(self.shared(x.mean((2, 3))))


def settled(model, shape):
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(5):
            model.train()(torch.randn(8, *shape) * 2 + 1)
    return model.eval()


@pytest.fixture
def net():
    torch.manual_seed(1)
    return settled(Net(), (1, 8, 8))


def run(graph, x):
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"input": x}
    )[0]


def test_the_graph_computes_what_the_model_does_for_any_batch(net):
    graph = to_onnx(net, {"input": torch.randn(1, 1, 8, 8)})
    for batch in (1, 5):
        x = torch.randn(batch, 1, 8, 8)
        np.testing.assert_allclose(run(graph, x.numpy()), net(x).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_no_batchnorm_is_left_and_every_layer_has_its_site(net):
    graph = to_onnx(net, {"input": torch.randn(1, 1, 8, 8)})
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    marks = [mark for node in graph.graph.node if (mark := metadata(node, SITE_KEY))]
    assert {
        "stem/conv#0",
        "one.conv/conv#0",
        "two/add#0",
        "/cat#0",
        "head/linear#0",
        "shared.0/linear#0",
    } <= set(marks)
    assert len(marks) == len(set(marks))


def test_the_file_holds_no_path_of_this_machine(net):
    data = to_onnx(net, {"input": torch.randn(1, 1, 8, 8)}).SerializeToString()
    assert b"site-packages" not in data
    assert __file__.encode() not in data


def test_a_fold_that_would_change_the_output_is_taken_back():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return self.norm(y) + y

    model = settled(Both(), (1, 8, 8))
    fused, pairs = fuse_batchnorm(model, {"input": torch.randn(1, 1, 8, 8)})
    assert pairs == []
    assert isinstance(fused.norm, nn.BatchNorm2d)


def test_a_shared_layer_is_not_folded():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

        def forward(self, x):
            return self.norm(self.conv(self.norm(self.conv(x))))

    _, pairs = fuse_batchnorm(settled(Shared(), (2, 4, 4)), {"input": torch.randn(1, 2, 4, 4)})
    assert pairs == []


def test_what_cannot_be_traced_is_one_line():
    class Dynamic(nn.Module):
        def forward(self, x):
            return x * 2 if float(x.sum()) > 0 else x

    with pytest.raises(BadInput, match="cannot trace") as caught:
        to_onnx(Dynamic(), {"input": torch.randn(1, 4)})
    assert "\n" not in str(caught.value)


def test_an_onnx_file_of_an_old_opset_is_read(tmp_path, net):
    graph = to_onnx(net, {"input": torch.randn(1, 1, 8, 8)})
    onnx.save(graph, tmp_path / "net.onnx")
    again = load_onnx(tmp_path / "net.onnx")
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype("f4")
    np.testing.assert_allclose(run(again, x), run(graph, x), rtol=1e-5, atol=1e-6)


def test_a_file_that_is_no_onnx_is_one_line(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(BadInput, match="not a valid ONNX file"):
        load_onnx(tmp_path / "bad.onnx")
    with pytest.raises(BadInput, match="no file"):
        load_onnx(tmp_path / "absent.onnx")
