"""What each tool prints for forwards that differentiate: gradient penalties, physics-informed networks, forces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

import costmodel
from costmodel.conventions.tool import ToolFailsError
from tests.conventions.live import LIVE
from tests.conventions.test_networks import INSTALLED

Forward = Callable[[nn.Module, Tensor], Any]


class Differentiating(nn.Module):
    """A network, and a function of it and the input."""

    def __init__(self, net: nn.Module, function: Forward) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.net, x)


def penalty(net: nn.Module, x: Tensor) -> Any:
    """Of a critic, after Gulrajani et al., arXiv:1704.00028."""
    x.requires_grad_()
    (slope,) = grad(net(x).sum(), x, create_graph=True)
    return (slope.norm(dim=1) - 1).pow(2).mean()


def residual(net: nn.Module, x: Tensor) -> Any:
    """Of Burgers' equation, after Raissi et al., arXiv:1711.10561."""
    x = x.detach().requires_grad_()
    u = net(x)
    (du,) = grad(u.sum(), x, create_graph=True)
    (ddu,) = grad(du[:, 0].sum(), x, create_graph=True)
    return du[:, 1] + u[:, 0] * du[:, 0] - ddu[:, 0]


def forces(net: nn.Module, x: Tensor) -> Any:
    """Of atoms: what the energy loses by their positions."""
    x.requires_grad_()
    energy = net(x).sum()
    return energy, -grad(energy, x)[0]


def with_gradients_enabled(net: nn.Module, x: Tensor) -> Any:
    """Also where its caller has disabled them."""
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        return grad(net(x).sum(), x)[0]


def of_an_intermediate(net: nn.Module, x: Tensor) -> Any:
    """The network's input is no leaf."""
    x = x.clone().requires_grad_() * 1
    y = net(x)
    return grad(y.pow(2).sum(), x)[0]


def of_weights(net: nn.Module, x: Tensor) -> Any:
    """By the parameters alone."""
    return grad(net(x).sum(), list(net.parameters()))[0]


def unused(net: nn.Module, x: Tensor) -> Any:
    """Which the output does not depend on."""
    y = net(x)
    grad(y.sum(), list(net.parameters()))
    return y


def step(net: nn.Module, x: Tensor) -> Any:
    """A step of gradient descent, after which the network is applied once more."""
    assert isinstance(net, nn.Linear)
    (slope,) = grad((x @ net.weight.t()).pow(2).mean(), net.weight, create_graph=True)
    return x @ (net.weight - slope).t()


def backward(net: nn.Module, x: Tensor) -> Any:
    """Into ``.grad``."""
    x = x.clone().requires_grad_()
    net(x).sum().backward()
    return x.grad


def attention(net: nn.Module, x: Tensor) -> Any:
    """By the input of attention, whose kernel depends on the device."""
    x = net(x.clone().requires_grad_() * 1)
    return grad(F.scaled_dot_product_attention(x, x, x).sum(), x)[0]


def jacobian(net: nn.Module, x: Tensor) -> Any:
    """Of each sample."""
    return torch.func.vmap(torch.func.jacrev(net))(x)


def frozen(*layers: nn.Module) -> nn.Module:
    """Layers without trainable parameters, which torch's tracer takes for constants."""
    return nn.Sequential(*layers).requires_grad_(False)


def mlp() -> nn.Module:
    """From two numbers to one."""
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))


CASES: dict[str, tuple[Callable[[], nn.Module], Forward, tuple[int, ...]]] = {
    "gradient penalty": (mlp, penalty, (4, 2)),
    "physics-informed": (mlp, residual, (4, 2)),
    "forces": (mlp, forces, (4, 2)),
    "forces of a frozen field": (lambda: frozen(nn.Linear(2, 8)), forces, (4, 2)),
    "forces of sequences": (lambda: frozen(nn.Linear(2, 8)), forces, (4, 3, 2)),
    "gradients enabled inside": (mlp, with_gradients_enabled, (4, 2)),
    "by an intermediate": (lambda: frozen(nn.Linear(2, 8)), of_an_intermediate, (4, 2)),
    "by weights": (lambda: nn.Linear(2, 8), of_weights, (4, 2)),
    "unused": (lambda: nn.Linear(2, 8), unused, (4, 3, 2)),
    "of a convolution": (lambda: nn.Conv2d(4, 8, 3, groups=2), of_an_intermediate, (2, 4, 6, 6)),
    "by a convolution's weights": (lambda: nn.Conv1d(4, 8, 3, groups=2), of_weights, (2, 4, 6)),
    "of a transposed convolution": (lambda: nn.ConvTranspose2d(4, 8, 3), of_an_intermediate, (2, 4, 5, 5)),
    "by a transposed convolution's weights": (lambda: nn.ConvTranspose2d(4, 8, 3, groups=2), of_weights, (2, 4, 5, 5)),
    "step": (lambda: nn.Linear(4, 4), step, (3, 4)),
    "backward": (mlp, backward, (4, 2)),
    "attention": (lambda: nn.Linear(8, 8), attention, (2, 2, 5, 8)),
    "transformer layer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), of_an_intermediate, (2, 5, 8)
    ),
    "lstm": (lambda: nn.LSTM(2, 4), lambda net, x: of_an_intermediate(lambda x: net(x)[0], x), (5, 2, 2)),  # type: ignore[arg-type]
    "jacobian": (mlp, jacobian, (4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_forward_that_differentiates(name: str) -> None:
    """Each tool's total and parameters, to the integer; where it raises, so is said."""
    make, function, shape = CASES[name]
    model = Differentiating(make(), function).eval()
    p = costmodel.profile(model, shape)
    for tool in INSTALLED:
        try:
            printed = LIVE[tool](Differentiating(make(), function).eval(), (torch.rand(shape),))
        except Exception:
            with pytest.raises(ToolFailsError):
                p.counted_as(tool)
            continue
        found = p.counted_as(tool)
        assert (found.total, found.params) == printed, tool
        assert p.macs + found.difference["amount"].sum() == found.total, tool
