"""What is known of an op by itself: the dtype that it computes in, and whether its cost is exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.graph import OpCall
from costmodel.pricing import PricedOp


class Of(nn.Module):
    """A function as a model."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize(("function", "given", "dtype"), [
    (lambda x: x + 1, torch.int64, "int64"),
    (lambda x: x.half() * 1, torch.int64, "float16"),
    (lambda x: x > 0, torch.float64, "float64"),
    (lambda x: torch.where(x > 0, x, 0), torch.bfloat16, "bfloat16"),
    (lambda x: x * x, torch.complex128, "float64"),
    (lambda x: torch.arange(3), torch.float32, "int64"),
    (lambda x: torch.rand(3, dtype=torch.float64), torch.float32, "float64"),
])  # fmt: skip
def test_an_op_computes_in_the_dtype_of_its_first_floating_tensor(function: Any, given: Any, dtype: str) -> None:
    """Of its inputs, then of its outputs; in that of the first tensor where none is floating."""
    p = costmodel.profile(Of(function), costmodel.Input((4,), given))
    assert p.pricing.ops[-1].dtype == dtype


def test_an_op_without_tensors_computes_in_float32() -> None:
    """Nothing else is known of it, and it has no rule."""
    op = PricedOp(OpCall("custom.op.default", {}, ()), None)
    assert op.dtype == "float32"
    assert not op.is_exact
