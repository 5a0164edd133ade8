"""Work that runs outside torch's dispatcher is never zero in silence."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import costmodel


class Function(nn.Module):
    """A forward without a layer."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


_W = np.ones((4, 4), dtype=np.float32)
_WEIGHT = torch.from_numpy(_W)


def _memmove(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """As kernels of one's own write: by a pointer."""
    ctypes.memmove(target.data_ptr(), source.data_ptr(), target.numel() * target.element_size())
    return target


def _in_a_thread(work: Callable[[], torch.Tensor]) -> torch.Tensor:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * 2


OUTSIDE: dict[str, Callable[[torch.Tensor], Any]] = {
    "NumPy, read by an op": lambda x: torch.from_numpy(x.detach().numpy() @ _W) + 1,
    "NumPy, returned": lambda x: torch.from_numpy(x.detach().numpy() @ _W),
    "as_tensor": lambda x: torch.as_tensor(x.detach().numpy() @ _W).relu(),
    "a copy of an array": lambda x: torch.tensor(x.detach().numpy() @ _W).relu(),
    "DLPack": lambda x: torch.from_dlpack(x.detach().numpy() @ _W).relu(),
    "a buffer": lambda x: torch.frombuffer(bytearray(x.detach().numpy()), dtype=torch.float32).view(2, 4) + 1,
    "an autograd function": _Doubled.apply,
    "another thread": lambda x: _in_a_thread(lambda: x.detach() @ _WEIGHT) + 1,
    "a pointer to new memory": lambda x: _memmove(torch.empty_like(x), x).relu(),
    "a pointer to memory that is returned": lambda x: [_memmove(x.new_empty(x.shape), x)],
    "a pointer to a part": lambda x: _memmove(torch.empty(2, 2, 4)[1], x).relu(),
}


@pytest.mark.parametrize("execution", ["auto", "real"])
@pytest.mark.parametrize("forward", OUTSIDE.values(), ids=list(OUTSIDE))
def test_what_is_made_outside_torch(forward: Callable[[torch.Tensor], Any], execution: Any) -> None:
    """Its tensors have no known origin, so the profile is a lower bound, and says in which module and why."""
    model = nn.Sequential(nn.Linear(4, 4), Function(forward))
    p = costmodel.profile(model, (2, 4), execution=execution)
    assert (p.macs, p.is_exact) == (32, False)
    (bound,) = p.coverage.bounds
    assert bound.where in ("1", "")  # the module, or the model where its output is concerned
    assert "not counted" in bound.why
    assert "not counted" in str(p)
    with pytest.raises(costmodel.UnknownOpError, match="not counted"):
        costmodel.profile(model, (2, 4), execution=execution, strict=True)


KNOWN: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "a list": lambda m, x: x + torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "an old constructor": lambda m, x: x + torch.Tensor([1, 2, 3, 4]),
    "a number of NumPy's": lambda m, x: x * np.float32(2) + torch.from_numpy(np.ones(1)),
    "a global tensor on NumPy's memory": lambda m, x: x @ _WEIGHT,
    "an array that the model holds": lambda m, x: x @ torch.from_numpy(m.array),
    "a row of it": lambda m, x: x + torch.from_numpy(m.array[1]),
    "a tensor on NumPy's memory that it holds deep inside": lambda m, x: x @ m.deep[0]["w"][0],
    "memory that an op fills": lambda m, x: torch.empty_like(x).copy_(x).relu(),
    "memory of which an op fills a part": lambda m, x: _first_row_of(x),
    "memory that out= fills": lambda m, x: torch.add(x, 1, out=torch.empty(2, 4)).relu(),
    "memory of which the shape is used": lambda m, x: torch.zeros_like(torch.empty_like(x)) + x,
    "a list of memory that an op fills": lambda m, x: _filled_together(x),
    "a layer that is made in the forward": lambda m, x: nn.Linear(4, 4)(x),
    "no memory": lambda m, x: torch.cat([x, torch.empty(2, 0)], 1),
    "random numbers": lambda m, x: torch.empty_like(x).bernoulli_(0.5) * x,
}


def _first_row_of(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    y[0] = x[0]
    return y.relu()


def _filled_together(x: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    torch._foreach_copy_([y], [x])
    return y.relu()


class Knows(nn.Module):
    """A forward over what the model holds."""

    def __init__(self, way: Callable[[Any, torch.Tensor], Any]) -> None:
        super().__init__()
        self.way = way
        self.array = np.ones((4, 4), dtype=np.float32)
        self.deep = [{"w": (torch.from_numpy(np.ones((4, 4), dtype=np.float32)),)}]

    def forward(self, x: torch.Tensor) -> Any:
        return self.way(self, x)


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("way", KNOWN.values(), ids=list(KNOWN))
def test_what_has_a_known_origin(way: Callable[[Any, torch.Tensor], Any], execution: Any) -> None:
    """Factories, what the model held before, and memory that an op wrote are no reason for doubt."""
    p = costmodel.profile(Knows(way), (2, 4), execution=execution)
    assert (p.is_exact, p.coverage.bounds, p.execution) == (True, (), execution)


def test_a_bound_is_kept_when_saved(tmp_path: Path) -> None:
    """Unwritten memory and foreign tensors are told of a profile that was read back, too."""
    for forward in (OUTSIDE["NumPy, returned"], OUTSIDE["a pointer to new memory"]):
        p = costmodel.profile(Function(forward), (2, 4))
        p.save(tmp_path / "p.json")
        again = costmodel.read_json(tmp_path / "p.json")
        assert isinstance(again, costmodel.Profile)
        assert again.coverage.bounds == p.coverage.bounds != ()
