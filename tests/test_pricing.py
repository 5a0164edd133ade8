"""What is known of an op by itself: the dtype that it computes in, whether its cost is exact, and that of ops alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.graph import OpCall
from costmodel.ops import RULES
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


def _squares(x: torch.Tensor) -> torch.Tensor:
    y, z = x + 1, x + 2
    for _ in range(3):
        y = z * y + y * y
    return y


def _written(x: torch.Tensor) -> torch.Tensor:
    y = x + 1
    for _ in range(3):
        y = torch.cat([y, y])[:3].add_(y).mul_(y)
        y[0] = torch.add(y[1], y[2], alpha=2)
    return torch.cat([y, x])


def test_a_square_reads_one_tensor_where_another_product_reads_two() -> None:
    """Though their shapes are the same, by which ops are taken to be alike."""
    p = costmodel.profile(Of(_squares), (3, 5))
    moved = [op.traffic.elements for op in p.pricing.ops if op.call.op == "aten.mul.Tensor"]
    # z * y and y * y in turn, of 15 elements each
    assert moved == [45, 30] * 3


@pytest.mark.parametrize("function", [_squares, _written])
def test_ops_alike_cost_what_each_would_by_itself(function: Any) -> None:
    """Work, traffic and kind of each op are those that its rule gives for it."""
    p = costmodel.profile(Of(function), (3, 5))
    assert any(op.like is not None for op in p.pricing.ops)
    for op in p.pricing.ops:
        assert op.rule is not None
        assert (op.work, op.traffic, op.kind) == (
            op.rule.work(op.call),
            op.rule.traffic(op.call),
            op.rule.kind(op.call),
        )


def test_of_ops_alike_one_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many ops take no further evaluation of a rule, for the totals and for what they fuse to."""
    evaluated: list[str] = []
    rule = RULES["aten.add.Tensor"]

    def counted(name: str) -> Any:
        read = getattr(rule, name)
        return lambda *given: (evaluated.append(name), read(*given))[1]

    counters = {name: counted(name) for name in ("work", "traffic", "kind", "access")}
    monkeypatch.setitem(RULES, "aten.add.Tensor", replace(rule, **counters))

    def times(x: torch.Tensor, n: int) -> torch.Tensor:
        for _ in range(n):
            x = x + 1
        return x

    counts = []
    for n in (200, 400):
        p = costmodel.profile(Of(lambda x, n=n: times(x, n)), (1, 4))
        evaluated.clear()
        assert p.memory_access == 8 * n
        assert p.fused_memory_access == 8
        assert len(p.fusion.kernels) == 1
        counts.append(len(evaluated))
    assert counts[1] == counts[0] <= 4


class Rms(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Standardised(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)


class GlobalResponse(nn.Module):
    """ConvNeXt V2's (arXiv:2301.00808, section 3.2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        g = x.norm(p=2, dim=1, keepdim=True)
        return x * (g / (g.mean(dim=-1, keepdim=True) + 1e-6))


class StatisticsPooling(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(-1), x.std(-1)], dim=-1)


class Gate(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x.mean(-1, keepdim=True))


class UnitAttention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True))
        return q @ q.transpose(-1, -2) @ x


@pytest.mark.parametrize(
    ("layer", "is_norm"),
    [(Rms, True), (Standardised, True), (GlobalResponse, True), (StatisticsPooling, False), (Gate, False),
     (UnitAttention, False)],
)  # fmt: skip
def test_a_norm_that_is_written_out_is_a_norm(layer: type[nn.Module], is_norm: bool) -> None:
    """A module that divides by a root of a statistic, keeps the shape and multiplies no matrices is of kind norm."""
    (kind,) = costmodel.profile(nn.Sequential(layer()), (2, 4, 8)).layers["kind"]
    assert (kind == "norm") is is_norm


def test_modules_stand_in_the_order_in_which_they_ran() -> None:
    """Parents before children, branches by their first call; what did not run stands last among its siblings."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 2)
            self.unused = nn.Linear(8, 8)
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.ReLU()) for _ in range(2)])
            self.stem = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x)
            for block in reversed(self.blocks):
                x = block(x)
            return self.head(x)

    names = costmodel.profile(Net(), (1, 8)).modules["name"].tolist()
    expected = ["", "stem", "blocks", "blocks.1", "blocks.1.0", "blocks.1.1", "blocks.0", "blocks.0.0", "blocks.0.1"]
    assert names == [*expected, "head", "unused"]
