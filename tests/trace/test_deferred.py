"""Constants that a model makes of its parameters and buffers are computed when it asks for a value, and not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.trace.deferred import Constants

Read = Callable[["Biased"], Any]


class Biased(nn.Module):
    """Looks its bias up in a parameter, as relative positions are; ``read`` asks for values on the way."""

    index: Tensor

    def __init__(self, read: Read = lambda model: None) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.arange(24.0).reshape(8, 3))
        self.register_buffer("index", torch.tensor([0, 5, 5, 1]))
        self.read, self.found = read, []

    def bias(self) -> Tensor:
        """A lookup, a view, a copy."""
        return self.table[self.index].view(2, 2, 3).permute(2, 0, 1).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        Biased.answer = self.read(self)
        return x + self.bias().unsqueeze(0)


def written_later(model: Biased) -> list[Any]:
    """A copy that is made before a write, a view that is made before it, and one of both after it."""
    bias = model.table[model.index]
    copy, view = bias * 2, bias[1]
    bias[1].add_(100)
    return [copy.tolist(), view.tolist(), (view + copy[1]).tolist()]


READS: dict[str, Read] = {
    "tolist": lambda m: m.bias().tolist(),
    "item": lambda m: m.bias()[1, 1, 0].item(),
    "int": lambda m: int(m.bias().sum()),
    "numpy": lambda m: m.bias().numpy().tolist(),
    "asarray": lambda m: np.asarray(m.bias()).tolist(),
    "dlpack": lambda m: torch.from_dlpack(m.bias()).tolist(),
    "bool": lambda m: bool((m.bias() > 3).any()),
    "a shape": lambda m: (m.bias() > 3).nonzero().shape,
    "a mask": lambda m: m.bias()[m.bias() > 3].tolist(),
    "chunks": lambda m: [part.tolist() for part in m.bias().chunk(3)],
    "many": lambda m: [float(sum((m.bias() for _ in range(200)), m.bias()).max())],
    "written into": lambda m: m.bias().mul_(2).add_(1).tolist(),
    "written later": written_later,
    "equal": lambda m: torch.equal(m.bias(), m.bias()),
}


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments for which values were computed."""
    found: list[Any] = []
    compute = Constants.computed

    def noted(self: Constants, value: Any) -> Any:
        found.append(value)
        return compute(self, value)

    monkeypatch.setattr(Constants, "computed", noted)
    return found


@pytest.mark.parametrize("name", READS)
def test_values_are_those_of_a_real_run(name: str) -> None:
    """However a model asks; and it needs no real run for it."""
    model = Biased(READS[name])
    with torch.no_grad():
        model(torch.zeros(1, 3, 2, 2))
    expected = Biased.answer
    p = costmodel.profile(model, (1, 3, 2, 2))
    assert Biased.answer == expected
    assert p.execution == "meta"
    assert model.table.tolist() == torch.arange(24.0).reshape(8, 3).tolist()


def test_what_nobody_reads_is_not_computed(computed: list[Any]) -> None:
    """A bias that is only added to activations."""
    costmodel.profile(Biased(), (1, 3, 2, 2))
    assert computed == []


def test_what_is_read_is_computed(computed: list[Any]) -> None:
    """The check above can fail."""
    costmodel.profile(Biased(READS["tolist"]), (1, 3, 2, 2))
    assert computed != []


def test_the_figures_are_those_of_a_real_run() -> None:
    """Ops, shapes, bytes, and how long each constant lives."""
    model = Biased()
    traced, ran = (costmodel.profile(model, (1, 3, 2, 2), execution=how) for how in ("meta", "real"))
    assert [op.op for op in traced.graph.ops] == [op.op for op in ran.graph.ops]
    assert [(t.shape, t.strides) for op in traced.graph.ops for t in op.outputs] == [
        (t.shape, t.strides) for op in ran.graph.ops for t in op.outputs
    ]
    assert [(s.nbytes, s.freed_after) for s in traced.graph.storages] == [
        (s.nbytes, s.freed_after) for s in ran.graph.storages
    ]
    assert traced.peak_memory == ran.peak_memory
    assert {t.role for op in traced.graph.ops[:1] for t in op.outputs} == {"constant"}


def test_a_constant_that_an_activation_is_written_into_has_no_values() -> None:
    """What it held is not what a real run would read."""

    def read(model: Biased) -> Any:
        bias = model.bias()
        bias.add_(model.given)
        return bias.tolist()

    class Given(Biased):
        def forward(self, x: Tensor) -> Tensor:
            self.given = x
            return super().forward(x)

    with pytest.raises(costmodel.errors.NeedsValuesError, match="tolist"):
        costmodel.profile(Given(read), (3, 2, 2), execution="meta")
