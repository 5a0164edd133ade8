"""An index out of range, where the trace knows its value, is refused as torch refuses it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import costmodel
from costmodel.errors import ForwardError
from costmodel.ops import RULES
from tests.ops._binding import RealCall, runnable

ROWS = 1 << 9
FEATURES = 1 << 8
"""So large a table has no values in a trace."""

LOOK_UPS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "embedding": lambda table, index: F.embedding(index, table),
    "index": lambda table, index: table[index],
    "index_select": lambda table, index: torch.index_select(table, 0, index),
    "gather": lambda table, index: torch.gather(table, 0, index[:, None]),
    "take": lambda table, index: torch.take(table, index * FEATURES),
}


class Positions(nn.Module):
    """Looks up a learnt row for each position of its input, from ``first`` on."""

    def __init__(self, look_up: Callable[[Tensor, Tensor], Tensor], first: int = 0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(ROWS, FEATURES))
        self.first = first
        self._look_up = look_up

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (S,) to the sum of inputs and rows."""
        return x.sum() + self._look_up(self.table, torch.arange(len(x)) + self.first).sum()


TRACES: dict[str, Callable[..., Any]] = {"profile": costmodel.profile, "training_step": costmodel.training_step}


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_position_beyond_the_table(name: str, trace: str) -> None:
    """torch's own error, also where an op of the same shapes was answered before; the last row is there."""
    TRACES[trace](Positions(LOOK_UPS[name]), (ROWS,), execution="meta")
    beyond = Positions(LOOK_UPS[name], first=1)
    with pytest.raises((IndexError, RuntimeError)) as real:
        beyond(torch.zeros(ROWS))
    with pytest.raises(ForwardError) as told:
        TRACES[trace](beyond, (ROWS,), execution="meta")
    assert f"{type(real.value).__name__}: {str(real.value).splitlines()[0]}" in str(told.value)


def test_a_value_that_the_trace_does_not_know() -> None:
    """What is written from an input without values, and was out of range before, is not refused."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, FEATURES)

        def forward(self, x: Tensor) -> Tensor:
            index = torch.full((len(x),), ROWS)
            index.copy_(x.argmax(-1))
            found: Tensor = self.table(index)
            return found

    assert costmodel.profile(Written(), (4, 3)).execution == "meta"


def test_a_scaling_ends_with_the_table() -> None:
    """No formula of a length goes beyond the positions that were learnt."""
    assert costmodel.scaling(Positions(LOOK_UPS["embedding"]), ("S",)).range["S"] == (1, ROWS)


INDEXED = [(target, i) for target, rule in RULES.items() if rule.indices for i in range(len(rule.examples))]


@pytest.mark.parametrize(("target", "i"), INDEXED)
def test_a_range_is_torchs(target: str, i: int) -> None:
    """torch takes the least and the greatest index that a rule says, and neither the one before nor the one after."""
    rule, op = RULES[target], runnable(target)
    assert rule.indices is not None
    assert op is not None
    call = RealCall.of(op, rule.examples[i])
    for tensor, allowed in rule.indices(call.bound):
        for index in (allowed[0], allowed[-1]):
            tensor.fill_(index)
            call.run()
        for index in (allowed[0] - 1, allowed[-1] + 1):
            tensor.fill_(index)
            with pytest.raises((IndexError, RuntimeError), match="out of"):
                call.run()
        tensor.zero_()


def test_every_look_up_is_tried() -> None:
    """The rules that say a range are of the ops above."""
    assert {target.split(".")[1] for target, _ in INDEXED} == {
        "_unsafe_index", "embedding", "gather", "index", "index_select", "take",
    }  # fmt: skip
