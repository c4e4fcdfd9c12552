"""Fake quantization in training: a torch model computes with the values that the integer model will have.

x^ = s * clip(round_half_even(x / s), lowest - z, highest - z), equal to
`Scale.dequantize(Scale.quantize(x))` bit for bit. Zero points stay as they are, so that zero stays exact;
scales are s_0 exp(t), so that they stay positive.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekit.errors import BadInput, did_you_mean
from edgekit.quant.intercept import Function, Intercept, is_inplace
from edgekit.quant.learned import Steps, along, fake_channels, fake_tensor, fake_values, straight_through
from edgekit.quant.observers import weight_scale
from edgekit.quant.quantization import Quantization, Scale
from edgekit.quant.site import Site

_TINY = float(np.finfo(np.float32).tiny)
LEARN = ("scales", "averaged", "frozen")
WEIGHTS = ("minmax", "learned", "frozen")
# operation: (position and keyword of the weight, its channel axis)
WEIGHT_ARGUMENT: Mapping[str, tuple[int, str, int]] = {
    "conv": (1, "weight", 0),
    "conv_transpose": (1, "weight", 1),
    "linear": (1, "weight", 0),
    "matmul": (1, "other", -1),
}


@contextmanager
def faked(
    model: nn.Module,
    quantization: Quantization,
    *,
    learn: str = "scales",
    weights: str = "minmax",
    ties: Mapping[Site, Site] | None = None,
    momentum: float = 0.95,
) -> Iterator[FakeQuantizer]:
    """While open, every forward of `model` computes with the sites of `quantization` fake-quantized.

    `learn`: activation scales get gradients ("scales", Esser et al., 2020), follow the moving average of
    what each training batch needs ("averaged", `momentum`), or stay ("frozen"). `weights`: scales follow
    the largest weight ("minmax"), get gradients ("learned") or stay ("frozen"). `ties` maps a site to the
    one whose scale it shares. Scales of model inputs stay. Raises BadInput after the first forward that did
    not meet an asked-for site.
    """
    quantizer = FakeQuantizer(model, quantization, learn=learn, weights=weights, ties=ties, momentum=momentum)
    try:
        yield quantizer
    finally:
        quantizer.remove()


@dataclass
class _Activation:
    """One activation site: its slot in the scale vector, its limits in steps from zero."""

    slot: int
    limits: Steps
    log_scale: torch.Tensor | None = None


@dataclass
class _Weight:
    """One weight site: its part of the scale vector, its grid's limits, the weight last met."""

    start: int
    scale: Scale
    limits: Steps
    last: torch.Tensor | None = None
    axis: int = 0


class FakeQuantizer:
    """Fakes the sites of a quantization in a model until `remove()`; see `faked`.

    >>> with faked(model, quantization) as fake:        # doctest: +SKIP
    ...     train(model, extra_parameters=fake.parameters())
    ...     trained = fake.quantization()
    """

    def __init__(
        self,
        model: nn.Module,
        quantization: Quantization,
        *,
        learn: str = "scales",
        weights: str = "minmax",
        ties: Mapping[Site, Site] | None = None,
        momentum: float = 0.95,
    ) -> None:
        for value, known in ((learn, LEARN), (weights, WEIGHTS)):
            if value not in known:
                raise BadInput(
                    f"quantize: there is no way of learning called '{value}'. {did_you_mean(value, known)}"
                )
        self.model, self.learn, self.weights, self.momentum = model, learn, weights, momentum
        self.sites_seen: set[Site] = set()
        self._asked = quantization
        self._ties = dict(ties or {})
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        self._make_activations(device)
        self._make_weights(device)
        self._faked_weights: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._training, self._checked = False, False
        self._intercept = Intercept(model, self)

    def _make_activations(self, device: torch.device) -> None:
        owners = [site for site in self._asked.activations if site not in self._ties]
        slots = {site: slot for slot, site in enumerate(owners)}
        self._activations: dict[Site, _Activation] = {}
        self._inputs: dict[Site, _Activation] = {}
        for site, scale in self._asked.activations.items():
            _check_tensor(site, scale)
            owner = self._ties.get(site, site)
            if owner not in slots:
                raise BadInput(
                    f"quantize: {site} is tied to {owner}, which has no scale of its own. Tie it to a site "
                    "that has one."
                )
            one = _Activation(slots[owner], _limits(scale))
            (self._inputs if site.operation == "input" else self._activations)[site] = one
        first = [float(self._asked.activations[site].scale[0]) for site in owners]
        self._first = torch.tensor(first, dtype=torch.float32, device=device)
        self._log = nn.Parameter(torch.zeros_like(self._first), requires_grad=self.learn == "scales")
        self._scales: list[float] = list(first)

    def _make_weights(self, device: torch.device) -> None:
        self._weights: dict[Site, _Weight] = {}
        first, start = [np.zeros(0, np.float32)], 0
        for site, scale in self._asked.weights.items():
            if np.any(scale.zero_point):
                raise BadInput(
                    f"quantize: the weight {site} has a zero point; training takes symmetric weights only. "
                    "Choose a symmetric grid."
                )
            self._weights[site] = _Weight(start, scale, _limits(scale))
            first.append(np.asarray(scale.scale, np.float32).reshape(-1))
            start += scale.scale.size
        self._first_weight = torch.from_numpy(np.concatenate(first)).to(device)
        self._log_weight = nn.Parameter(
            torch.zeros_like(self._first_weight), requires_grad=self.weights == "learned"
        )

        self._of_tensor = {
            id(weight): self._weights[site]
            for site in self._weights
            if (weight := _own_weight(self.model, site)) is not None
        }

    def parameters(self) -> list[nn.Parameter]:
        """What is trained or kept beside the model: logs of scale ratios, [sites] and [channels]."""
        return [
            parameter
            for parameter, learn in ((self._log, self.learn), (self._log_weight, self.weights))
            if learn not in ("frozen", "minmax") and parameter.numel()
        ]

    def remove(self) -> None:
        """Leave the model as it was found."""
        self._intercept.remove()
        self._faked_weights.clear()

    def quantization(self) -> Quantization:
        """The scales as trained; those of weights from the weights that the last forward used."""
        scales = (self._first * self._log.detach().exp()).cpu().numpy()
        found = {**self._inputs, **self._activations}
        activations = {
            site: Scale(scale.grid, scales[found[site].slot : found[site].slot + 1], scale.zero_point)
            for site, scale in self._asked.activations.items()
        }
        return Quantization(
            self._asked.precision,
            activations,
            {site: self._trained(site, one) for site, one in self._weights.items()},
        )

    def _trained(self, site: Site, one: _Weight) -> Scale:
        if self.weights == "frozen":
            return one.scale
        if self.weights == "learned":
            return Scale(
                one.scale.grid, self._weight_scales(one).detach().cpu().numpy(), one.scale.zero_point
            )
        if one.last is None:
            raise BadInput(f"quantize: the weight {site} was not met yet. Call the model once first.")
        return weight_scale(one.last.detach().float().cpu().numpy(), one.scale.grid, axis=one.axis)

    # What Intercept calls.

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read the scales once a forward, forget faked weights, fake the model's inputs."""
        self._training = self.model.training
        self._faked_weights.clear()
        self.sites_seen.clear()
        if self.learn != "frozen":
            self._scales = (self._first * self._log.detach().exp()).tolist()
        if self.learn == "scales" and torch.is_grad_enabled():
            views = self._log.unbind()
            for one in self._activations.values():
                one.log_scale = views[one.slot]
        return self._fake_inputs(list(args), dict(kwargs))

    def _fake_inputs(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for site, one in self._inputs.items():
            name = site.port.partition(":")[2]
            holder: Any = kwargs if name in kwargs else args
            key: Any = name if name in kwargs else site.call
            if name in kwargs or site.call < len(args):
                holder[key] = fake_tensor(holder[key].float(), None, self._scales[one.slot], one.limits)
                self.sites_seen.add(site)
        return tuple(args), kwargs

    def call(self, site: Site, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Fake the weight where asked, make the call, fake its result where asked."""
        if site.operation in WEIGHT_ARGUMENT and self._weights:
            args, kwargs = self._with_weight(site, args, kwargs)
        one = self._activations.get(site)
        if one is None:
            return function(*args, **kwargs)
        self.sites_seen.add(site)
        inplace = is_inplace(function, kwargs)
        if site.operation == "relu" and one.limits[0] == 0.0:  # the grid's lower limit is the ReLU
            return self._fake(site, one, args[0] if args else kwargs["input"], inplace)
        result = function(*args, **kwargs)
        return self._fake(site, one, result, inplace) if isinstance(result, torch.Tensor) else result

    def end(self) -> None:
        """After the first forward, every asked-for site must have been met; keep averaged scales."""
        if self._training and self.learn == "averaged":
            with torch.no_grad():
                self._log.copy_(torch.tensor(self._scales, device=self._log.device).div_(self._first).log_())
        if self._checked:
            return
        self._checked = True
        missing = [
            site
            for site in (*self._inputs, *self._activations, *self._weights)
            if site not in self.sites_seen
        ]
        if missing:
            raise BadInput(
                f"quantize: the model's forward never reached {missing[0]} ({len(missing)} of "
                f"{len(self._asked.activations) + len(self._asked.weights)} sites): the exported graph and "
                "the model disagree there. Exclude that layer, or call modules the same way always."
            )

    def _fake(self, site: Site, one: _Activation, x: torch.Tensor, inplace: bool) -> torch.Tensor:
        if x.dtype != torch.float32:
            x, inplace = x.float(), False
        if self.learn == "averaged" and self._training:
            self._average(site, one, x)
        log_scale = one.log_scale if self.learn == "scales" else None
        return fake_tensor(x, log_scale, self._scales[one.slot], one.limits, inplace=inplace)

    def _average(self, site: Site, one: _Activation, x: torch.Tensor) -> None:
        low, high = one.limits
        if low < 0.0:
            least, most = (float(value) for value in x.detach().aminmax())
            need = max(most / high if high > 0.0 else 0.0, least / low)
        else:
            need = float(x.detach().amax()) / high
        if not math.isfinite(need):
            raise BadInput(f"quantize: {site} became NaN or infinite in training. Lower the learning rate.")
        if need > 0.0:
            self._scales[one.slot] += (1.0 - self.momentum) * (need - self._scales[one.slot])

    def _with_weight(
        self, site: Site, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        position, keyword, axis = WEIGHT_ARGUMENT[site.operation]
        value = args[position] if len(args) > position else kwargs.get(keyword)
        if not isinstance(value, torch.Tensor):
            return args, kwargs
        fake = self._fake_weight(site._replace(port="weight"), value, axis)
        if len(args) > position:
            return (*args[:position], fake, *args[position + 1 :]), kwargs
        return args, {**kwargs, keyword: fake}

    def _fake_weight(self, site: Site, weight: torch.Tensor, axis: int) -> torch.Tensor:
        """A weight that calls share is one tensor in the artefact: all use the asked one's scale."""
        one = self._weights.get(site)
        if one is not None:
            self.sites_seen.add(site)
            one.last, one.axis = weight.detach(), axis
            if isinstance(weight, nn.Parameter):  # a temporary's id would be reused
                self._of_tensor.setdefault(id(weight), one)
        known = self._faked_weights.get(id(weight))
        if known is not None:
            return known[1]
        one = one or self._of_tensor.get(id(weight))
        if one is None:
            return weight
        fake = self._compute_weight(site, one, weight.float(), axis)
        self._faked_weights[id(weight)] = (weight, fake)
        return fake

    def _compute_weight(self, site: Site, one: _Weight, weight: torch.Tensor, axis: int) -> torch.Tensor:
        channels, found = one.scale.scale.size, weight.shape[axis]
        if channels not in (1, found):
            raise BadInput(
                f"quantize: {site} has {found} channels but {channels} scales. Calibrate this model again."
            )
        if self.weights != "minmax":
            log = self._log_weight[one.start : one.start + channels]
            return fake_channels(weight, log, self._weight_scales(one).detach(), one.limits, axis)
        with torch.no_grad():
            scale = _largest(weight, axis if channels > 1 else None).div_(one.limits[1])
            fake = fake_values(weight, along(scale, weight.dim(), axis), one.limits)
        return straight_through(weight, fake) if weight.requires_grad else fake

    def _weight_scales(self, one: _Weight) -> torch.Tensor:
        part = slice(one.start, one.start + one.scale.scale.size)
        return self._first_weight[part] * self._log_weight[part].exp()


def _largest(weight: torch.Tensor, axis: int | None) -> torch.Tensor:
    """max |w| for each channel along `axis`, or of all, [channels] or [1]; never 0."""
    if axis is None:
        largest = weight.abs().amax().reshape(1)
    else:
        axis %= weight.dim()
        largest = weight.abs().amax([dim for dim in range(weight.dim()) if dim != axis])
    return largest.clamp_min_(_TINY)


def _own_weight(model: nn.Module, site: Site) -> nn.Parameter | None:
    """The parameter `weight` of the site's module, where it has one that keeps its identity."""
    owner = dict(model.named_modules()).get(site.module)
    weight = None if owner is None else owner._parameters.get("weight")
    return weight


def _limits(scale: Scale) -> Steps:
    zero = int(scale.zero_point.reshape(-1)[0])
    return float(scale.grid.lowest - zero), float(scale.grid.highest - zero)


def _check_tensor(site: Site, scale: Scale) -> None:
    if scale.scale.size != 1:
        raise BadInput(f"quantize: the activation {site} has {scale.scale.size} scales. Give one a tensor.")
    low, high = _limits(scale)
    if not low <= 0.0 < high:
        raise BadInput(
            f"quantize: the zero point {int(scale.zero_point[0])} of {site} is outside of its grid "
            f"{scale.grid.lowest}..{scale.grid.highest - 1}. Calibrate with zero in range."
        )
