"""The cross-check derives layers that are alike once, and tells apart whatever a closed form may know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel import cross_check
from costmodel.layers import registry


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each call whose closed form is evaluated."""
    names: list[str] = []
    evaluate = registry._cost_of

    def counted(call: Any, within: Any) -> Any:
        names.append(call.name)
        return evaluate(call, within)

    monkeypatch.setattr(registry, "_cost_of", counted)
    return names


def test_layers_that_repeat_are_derived_once(derived: list[str]) -> None:
    """Eight layers of two kinds are two closed forms, and each of the eight is compared."""
    blocks = [nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)) for _ in range(4)]
    p = costmodel.profile(nn.Sequential(nn.ReLU(), *blocks), (1, 8, 16, 16))
    assert p.crosscheck().ok
    assert p.crosscheck().checked == 9
    assert derived == ["0", "1.0", "1.1"]


class Calls(nn.Module):
    """Calls its two layers in its own way."""

    def __init__(self, layers: list[nn.Module], call: Callable[[nn.Module, nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b = layers
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.a, self.b, x)


def both(a: nn.Module, b: nn.Module, x: Tensor) -> Any:
    """Each on the input."""
    return a(x.clone()), b(x.clone())


PAIRS: dict[str, tuple[list[nn.Module], Callable[..., Any], tuple[int, ...]]] = {
    "another attribute": ([nn.ReLU(), nn.LeakyReLU()], both, (2, 4, 8, 8)),
    "one reads its bias": ([nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, bias=False)], both, (2, 4, 8, 8)),
    "one is learnt in groups": ([nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=2)], both, (2, 4, 8, 8)),
    "an int and a flag": ([nn.Softplus(1), nn.Softplus(True)], both, (2, 4)),
    "one is in place": ([nn.ReLU(inplace=True), nn.ReLU()], both, (2, 4, 8, 8)),
    "another shape": ([nn.ReLU(), nn.ReLU()], lambda a, b, x: (a(x.clone()), b(x[:1].clone())), (2, 4)),
    "another dtype": ([nn.ReLU(), nn.ReLU()], lambda a, b, x: (a(x.clone()), b(x.half())), (2, 4)),
    "expanded": ([nn.ReLU(), nn.ReLU()], lambda a, b, x: (a(x.clone()), b(x.clone()[:1].expand(2, 4))), (2, 4)),
    "a tensor given twice": (
        [nn.Bilinear(4, 4, 2), nn.Bilinear(4, 4, 2)], lambda a, b, x: (a(x, x.clone()), b(x, x)), (2, 4),
    ),
    "two views of one": (
        [nn.Bilinear(4, 4, 2), nn.Bilinear(4, 4, 2)], lambda a, b, x: (a(x[:], x.clone()), b(x[:], x[:])), (2, 4),
    ),
    "complex numbers": ([nn.Tanh(), nn.Tanh()], lambda a, b, x: (a(x.clone()), b(x.to(torch.complex64))), (2, 4)),
    "channels last": (
        [nn.AvgPool2d(2), nn.AvgPool2d(2)],
        lambda a, b, x: (a(x.clone()), b(x.contiguous(memory_format=torch.channels_last))), (2, 4, 8, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
def test_layers_that_differ_are_told_apart(pair: str) -> None:
    """Each is compared with what its own closed form gives, as where every one is derived by itself."""
    layers, call, shape = PAIRS[pair]
    for order in (layers, layers[::-1]):
        pricing = costmodel.profile(Calls(order, call), shape, mode="eval").pricing
        alone = cross_check.check(pricing, cross_check.closed_form)
        assert cross_check.check(pricing).comparisons == alone.comparisons
        assert alone.checked == len({c.name for c in alone.comparisons})


@pytest.mark.parametrize("pair", ["one is in place", "expanded", "a tensor given twice", "complex numbers"])
def test_the_key_has_what_tells_them_apart(pair: str, derived: list[str]) -> None:
    """Both of a pair are derived."""
    layers, call, shape = PAIRS[pair]
    assert costmodel.profile(Calls(layers, call), shape).crosscheck().ok
    assert derived == ["a", "b"]


def test_a_layer_that_is_given_more_than_tensors_is_derived_each_time(derived: list[str]) -> None:
    """Whatever else a forward takes may matter to its closed form."""
    layers: list[nn.Module] = [nn.MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2)]
    p = costmodel.profile(Calls(layers, lambda a, b, x: (a(x, x, x, need_weights=False), b(x, x, x))), (3, 1, 8))
    assert p.crosscheck().ok
    assert {"a", "b"} <= set(derived)
