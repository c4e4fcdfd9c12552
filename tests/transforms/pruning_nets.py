"""Small networks, one a coupling family, and a job to prune and train them with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from edgekit.fit import cross_entropy, make_fit
from edgekit.job import Data, Job
from edgekit.signature import Signature, TensorSpec


def conv_bn(inputs: int, outputs: int, *, groups: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Chain(nn.Module):
    """Convolutions, a flatten of 4x4 maps, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_bn(3, 16), conv_bn(16, 16)
        self.fc1, self.fc2 = nn.Linear(16 * 16, 24), nn.Linear(24, 5)

    def forward(self, x):
        x = F.avg_pool2d(self.conv2(self.conv1(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.down = (
            conv_bn(3, 16),
            conv_bn(16, 16),
            conv_bn(16, 16),
            conv_bn(16, 32),
        )
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(x + self.b(self.a(x)))
        return self.fc(self.down(x).mean((2, 3)))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.dw, self.pw = conv_bn(3, 16), conv_bn(16, 16, groups=16), conv_bn(16, 32, size=1)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        return self.fc(self.pw(self.dw(self.stem(x))).mean((2, 3)))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grouped, self.last = conv_bn(3, 16), conv_bn(16, 32, groups=4), conv_bn(32, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.last(self.grouped(self.stem(x))).mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = conv_bn(3, 16), conv_bn(16, 16)
        self.reduce, self.expand = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 16, 1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.body(self.stem(x))
        gate = torch.sigmoid(self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return self.fc((x * gate).mean((2, 3)))


class LinearSqueeze(nn.Module):
    """Squeeze-excite with linear layers and views."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.reduce, self.expand = conv_bn(3, 16), nn.Linear(16, 8), nn.Linear(8, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        gate = torch.sigmoid(self.expand(torch.relu(self.reduce(F.adaptive_avg_pool2d(x, 1).flatten(1)))))
        return self.fc((x * gate[:, :, None, None]).mean((2, 3)))


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.last = conv_bn(3, 16), conv_bn(16, 8), conv_bn(24, 8), conv_bn(32, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([x, self.a(x)], 1)
        x = torch.cat([x, self.b(x)], 1)
        return self.fc(self.last(x).mean((2, 3)))


class Grouping(nn.Module):
    """GroupNorm of 4 groups, with a residual addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1 = nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.body, self.norm2 = nn.Conv2d(16, 16, 3, padding=1), nn.GroupNorm(2, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.norm1(self.stem(x)))
        return self.fc(torch.relu(x + self.norm2(self.body(x))).mean((2, 3)))


class ConcatAdd(nn.Module):
    """Two layers side by side, added to a third."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 8), conv_bn(3, 8), conv_bn(3, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc((torch.cat([self.a(x), self.b(x)], 1) + self.c(x)).mean((2, 3)))


class Split(nn.Module):
    """One layer cut in halves, a branch each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv_bn(3, 16), conv_bn(8, 8), conv_bn(8, 8)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        left, right = self.stem(x).chunk(2, dim=1)
        return self.fc(torch.cat([self.a(left), self.b(right)], 1).mean((2, 3)))


class Transposed(nn.Module):
    """Down and up again; the output is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 16, 2, stride=2), nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.last = nn.Conv2d(16, 3, 1)

    def forward(self, x):
        return self.last(torch.relu(self.up(torch.relu(self.down(x)))))


class InputSkip(nn.Module):
    """The model input enters an addition and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.grow, self.last = nn.Conv2d(3, 3, 3, padding=1), conv_bn(3, 16), conv_bn(19, 16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        y = x + self.same(x)
        return self.fc(self.last(torch.cat([x, self.grow(y)], 1)).mean((2, 3)))


FAMILIES = [
    Chain,
    Residual,
    Depthwise,
    Grouped,
    SqueezeExcite,
    LinearSqueeze,
    Dense,
    Grouping,
    ConcatAdd,
    Split,
    Transposed,
    InputSkip,
]


def settled(make, *, seed: int = 0) -> nn.Module:
    """A network with random weights, random BatchNorm scales and statistics, in evaluation mode."""
    torch.manual_seed(seed)
    model = make()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def batches(count: int = 3, *, size: int = 8, seed: int = 1, image: bool = False, extent: int = 8):
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(size, 3, extent, extent, generator=generator) for _ in range(count)]
    return [(x, x if image else torch.randint(0, 5, (size,), generator=generator)) for x in inputs]


def job_for(
    data=None, *, loss=cross_entropy, work: Path = Path(), fit=None, extent: int = 8, **fields
) -> Job:
    signature = Signature((TensorSpec("x", "float32", ("N", 3, extent, extent)),), ())
    return Job(
        signature,
        {"x": torch.randn(1, 3, extent, extent)},
        Data(train=data),
        loss,
        fit or make_fit(loss),
        step="1-step",
        work=work,
        **fields,
    )
