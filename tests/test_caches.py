"""A process that profiles one model after another keeps what it needs again, up to a limit, and none of the models.

``tests/benchmarks/many_models.py`` measures 2,000 of them.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from torch import Tensor, nn

import costmodel
from costmodel import pricing
from costmodel.layers.capture import READERS, _parameters_of
from costmodel.trace import dispatch_cache, isolation, tensor_meta, wrapped

LIMIT, MODELS = 16, 40


def model_of_its_own(n: int) -> nn.Module:
    """A model that refers to itself, of a class that no other is of: n channels, from 3."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, n, 3, bias=False), nn.ReLU()
            self.itself = [self]

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.conv(x)).flatten(1)

    return Net()


def sizes() -> dict[str, int]:
    """Entries of every cache that grows with what is profiled."""
    found: dict[str, int] = {
        "metadata": len(tensor_meta.TENSOR_METAS),
        "works": len(pricing._works),
        "readers": len(READERS),
        "forwards": _parameters_of.cache_info().currsize,
        "tensor classes": wrapped.runs_ops_itself.cache_info().currsize,
        "sources": isolation._packages.cache_info().currsize,
    }
    for state, cache in dispatch_cache._caches.items():
        found |= {f"ops {state}": len(cache), f"layers {state}": len(cache.layers), f"{state}": len(cache.updates)}
    return found


@pytest.mark.parametrize(("limit", "count"), [(LIMIT, MODELS), (256, 2000)])
def test_caches_stay_bounded_and_models_go(limit: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of different sizes and classes: no cache exceeds its limit, no class or model stays that none needs."""
    for holder, name in (
        (dispatch_cache.DispatchCache, "capacity"), (type(tensor_meta.TENSOR_METAS), "capacity"),
        (type(READERS), "capacity"), (pricing, "_MOST"),
    ):  # fmt: skip
        monkeypatch.setattr(holder, name, limit)
    for cache in (dispatch_cache._caches, tensor_meta.TENSOR_METAS, READERS, pricing._works):
        cache.clear()
    classes: weakref.WeakSet[Any] = weakref.WeakSet()
    models: weakref.WeakSet[Any] = weakref.WeakSet()
    for n in range(1, count + 1):
        model = model_of_its_own(n)
        classes.add(type(model))
        models.add(model)
        p = costmodel.profile(model, (1, 3, 4 + n, 5))
        assert p.macs == 27 * n * (2 + n) * 3
        grown = {name: size for name, size in sizes().items() if size > limit and "sources" not in name}
        assert grown == {}
    del model, p
    gc.collect()
    assert len(models) == 0
    assert len(classes) <= limit


def test_layers_have_a_limit_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their ops are no more than fit."""
    monkeypatch.setattr(dispatch_cache, "_caches", {})
    monkeypatch.setattr(dispatch_cache.DispatchCache, "capacity", LIMIT)
    monkeypatch.setattr(dispatch_cache.DispatchCache, "add", lambda *_: None)
    for n in range(1, MODELS + 1):
        costmodel.profile(nn.Conv2d(3, n, 3), (1, 3, 5, 5))
        (cache,) = dispatch_cache._caches.values()
        assert 0 < len(cache.layers) <= LIMIT


def test_caches_by_class_and_source_have_a_limit() -> None:
    """A thousand at most, each of which may keep a class alive."""
    for cached in (_parameters_of, wrapped.runs_ops_itself, isolation._packages):
        assert cached.cache_info().maxsize == 1024
    assert type(READERS).capacity == 1024
