"""Ops on lists of tensors: the sum of what they do to each, worked by hand for 6 and 4 elements."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import costmodel
from costmodel.ops import RULES
from costmodel.quantities import Traffic, Work
from tests.ops._binding import RealCall, resolve

X = [torch.rand(2, 3) + 1, torch.rand(4) + 1]
Y = [torch.rand(2, 3), torch.rand(4)]


def priced(target: str, **arguments: Any) -> tuple[Work, Traffic]:
    """What the rule says of a real call."""
    op = resolve(target)
    assert op is not None
    call = RealCall(op, arguments)
    record = call.record(call.copy().run())
    return RULES[target].work(record), RULES[target].traffic(record)


@pytest.mark.parametrize(
    ("op", "arguments", "done"),
    [
        ("add{}.Scalar", {"scalar": 2.0}, Work(adds=10)),
        ("add{}.List", {"other": Y}, Work(adds=10)),
        ("sub{}.List", {"other": Y, "alpha": 2}, Work(adds=10, multiplies=10)),
        ("mul{}.Tensor", {"other": torch.tensor(2.0)}, Work(multiplies=10)),
        ("div{}.ScalarList", {"scalars": [2.0, 3.0]}, Work(divides=10)),
        ("maximum{}.List", {"other": Y}, Work(compares=10)),
        ("clamp_min{}.Scalar", {"scalar": 0.0}, Work(compares=10)),
        # x^3 of the first takes two multiplications each; x^0.5 of the second is a function.
        ("pow{}.ScalarList", {"exponent": [3.0, 0.5]}, Work(multiplies=12, transcendentals=4)),
        ("pow{}.ScalarList", {"exponent": [-1.0, 1.0]}, Work(divides=6)),
        ("pow{}.List", {"exponent": Y}, Work(transcendentals=10)),
        ("addcmul{}.Scalar", {"tensor1": Y, "tensor2": Y, "value": 1}, Work(multiplies=10, adds=10)),
        # Only the second's scale is not 1.
        ("addcdiv{}.ScalarList", {"tensor1": Y, "tensor2": X, "scalars": [1.0, 2.0]},
         Work(divides=10, adds=10, multiplies=4)),
        ("lerp{}.Scalar", {"tensors1": Y, "weight": 0.5}, Work(adds=20, multiplies=10)),
        ("sqrt{}.default", {}, Work(transcendentals=10)),
        ("sigmoid{}.default", {}, Work(transcendentals=10, adds=10, divides=10)),
        ("reciprocal{}.default", {}, Work(divides=10)),
        ("neg{}.default", {}, Work()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "_"])
def test_elementwise(op: str, arguments: dict[str, Any], done: Work, place: str) -> None:
    """The same arithmetic in place and out of place; in place the list is written over."""
    work, traffic = priced(f"aten._foreach_{op.format(place)}", self=X, **arguments)
    assert work == done
    given = sum(t.numel() for v in arguments.values() for t in (v if isinstance(v, list) else [v])
                if isinstance(t, torch.Tensor))  # fmt: skip
    assert (traffic.read, traffic.written) == (10 + given, 10)


def test_reductions() -> None:
    """A norm squares 10 elements, adds 5 and 3 times, and takes two roots; a maximum compares 5 and 3 times."""
    assert priced("aten._foreach_norm.Scalar", self=X)[0] == Work(multiplies=10, adds=8, transcendentals=2)
    assert priced("aten._foreach_norm.Scalar", self=X, ord=1)[0] == Work(adds=8)
    assert priced("aten._foreach_max.default", self=X)[0] == Work(compares=8)


def test_what_is_written_over_is_not_read() -> None:
    """A copy reads its source alone, and zeros nothing."""
    assert priced("aten._foreach_copy_.default", self=X, src=Y) == (
        Work(), Traffic(read=10, written=10, read_bytes=40, written_bytes=40)
    )  # fmt: skip
    assert priced("aten._foreach_zero_.default", self=X)[1] == Traffic(written=10, written_bytes=40)


class Updates(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        moments = [x.clone(), y.clone()]
        torch._foreach_mul_(moments, 0.9)
        torch._foreach_addcmul_(moments, [x, y], [x, y], 0.1)
        return list(torch._foreach_sqrt(moments))


def test_a_model_may_run_them() -> None:
    """An optimizer's moments in a forward: in place on lists, and a list that is returned."""
    profile = costmodel.profile(Updates(), ((2, 3), (4,)))
    assert profile.is_exact
    assert profile.flops == 10 * (1 + 3 + 1)
    assert [t.shape for t in profile.graph.outputs] == [(2, 3), (4,)]
