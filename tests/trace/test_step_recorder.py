"""A training step is recorded as it runs without a dispatch mode: in place, wherever that is how it really runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.live_memory import allocations
from tests.trace.test_backward import Traced

SHAPE = (6, 10)


class Function(nn.Module):
    """A function as a model."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def indices(x: torch.Tensor, *values: int) -> torch.Tensor:
    """On the device of a tensor."""
    return torch.zeros(len(values), dtype=torch.int64, device=x.device)


class _OwnScatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x[:, :2] * 1

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        index = torch.zeros(6, 2, dtype=torch.int64, device=gradient.device)
        return torch.zeros(SHAPE, device=gradient.device).scatter(1, index, gradient)


FUNCTIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "max": lambda x: x.max(1)[0],
    "median": lambda x: x.median(1)[0],
    "topk": lambda x: x.topk(3)[0],
    "cummax": lambda x: x.cummax(1)[0],
    "gather": lambda x: x.gather(1, indices(x, 0, 0, 0).expand(6, 3)),
    "index": lambda x: x[:, indices(x, 1, 2, 2)],
    "index_select": lambda x: x.index_select(1, indices(x, 1, 2)),
    "take": lambda x: x.take(indices(x, 1, 5, 5)),
    "trace": lambda x: x[:, :6].trace() * 2,
    "atan2": lambda x: torch.atan2(x, x + 1),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy_with_logits(x, x.detach()),
    "its mean of weights": lambda x: F.binary_cross_entropy_with_logits(x, x.detach(), weight=x.detach()),
    "its positive weights": lambda x: F.binary_cross_entropy_with_logits(x, x.detach(), pos_weight=x[0].detach()),
    "mish": F.mish,
    "a function of the user's": lambda x: _OwnScatter.apply(x),  # type: ignore[no-untyped-call]
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_gradient_takes_the_memory_that_it_really_takes(name: str) -> None:
    """The sizes of all tensors that its formula makes, where it may compute in place or not."""
    x = torch.rand(SHAPE, requires_grad=True)
    loss = FUNCTIONS[name](x).exp().sum()
    gradient = torch.ones_like(loss)

    def backward() -> None:
        with torch.enable_grad():
            loss.backward(gradient)

    real = Counter(found.nbytes for found in allocations(backward))
    traced = Traced(lambda: Function(FUNCTIONS[name]), shape=SHAPE).log
    begin = next(op.index for op in traced.ops() if op.op == "aten.ones_like.default") + 1
    made = [s.nbytes for s in traced.storages() if s.allocated_at >= begin]
    small = 8  # bytes of Python numbers that torch wraps in tensors
    assert Counter(n for n in made if n > small) == Counter({n: k for n, k in real.items() if n > small})
