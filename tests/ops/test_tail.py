"""Numbers of the tail's rules that can be checked by hand."""

from __future__ import annotations

import pytest
import torch

from costmodel.graph import TensorSpec
from costmodel.ops import RULES
from costmodel.ops.rule import example
from costmodel.quantities import Traffic, Work
from tests.ops._binding import RealCall

X = TensorSpec((2, 3, 4))
ROWS = TensorSpec((5,), "int64")


def priced(op: torch._ops.OpOverload, *args: object, **kwargs: object) -> tuple[Work, Traffic]:
    """Work and traffic of one real call."""
    call = RealCall.of(op, example(*args, **kwargs))
    record = call.record(call.copy().run())
    return RULES[record.op].work(record), RULES[record.op].traffic(record)


@pytest.mark.parametrize(
    ("op", "args", "work"),
    [
        (torch.ops.aten.sum.dim_IntList, (X, [1, 2]), Work(adds=2 * 11)),
        (torch.ops.aten.mean.dim, (X, [1, 2]), Work(adds=2 * 11, divides=2)),
        (torch.ops.aten.amax.default, (X, [-1]), Work(compares=6 * 3)),
        (torch.ops.aten.var.correction, (X, [-1]), Work(adds=6 * 10, multiplies=6 * 4, divides=6 * 2)),
        (torch.ops.aten.linalg_vector_norm.default, (X, 2, [-1]), Work(multiplies=24, adds=18, transcendentals=6)),
        (torch.ops.aten.cumsum.default, (X, 1), Work(adds=24 - 8)),
        (torch.ops.aten.logsumexp.default, (X, [-1]), Work(compares=18, adds=6 * 8, transcendentals=6 * 5)),
        (torch.ops.aten.sort.default, (X,), Work(compares=6 * 5)),
        (torch.ops.aten.topk.default, (X, 2), Work(compares=6 * (3 + 2))),
        (torch.ops.aten.all.default, (X,), Work()),
        (torch.ops.aten.native_dropout.default, (X, 0.5, True), Work(multiplies=48)),
        (torch.ops.aten.sum.dim_IntList, (TensorSpec((2, 0)), [1]), Work()),
        (torch.ops.aten.index_put.default, (X, [TensorSpec((5,), "int64")], TensorSpec((5, 3, 4))), Work()),
        (
            torch.ops.aten.index_put.default,
            (X, [TensorSpec((5,), "int64")], TensorSpec((5, 3, 4)), True),
            Work(adds=60),
        ),
    ],
)
def test_work(op: torch._ops.OpOverload, args: tuple[object, ...], work: Work) -> None:
    """The arithmetic of a small call is what the definition gives by hand."""
    assert priced(op, *args)[0] == work


@pytest.mark.parametrize(
    ("op", "args", "read", "written"),
    [
        (torch.ops.aten.view.default, (X, [-1]), 0, 0),
        (torch.ops.aten.empty.memory_format, ([5],), 0, 0),
        (torch.ops.aten.zeros.default, ([5],), 0, 5),
        (torch.ops.aten.cat.default, ([X, X], 1), 48, 48),
        (torch.ops.aten.copy_.default, (X, TensorSpec((4,))), 4, 24),
        (torch.ops.aten.index_select.default, (X, 1, TensorSpec((5,), "int64")), 5 + 40, 40),
        (torch.ops.aten.constant_pad_nd.default, (X, [1, 1]), 24, 36),
        (torch.ops.aten.native_dropout.default, (X, 0.5, True), 24, 48),
        (torch.ops.aten.scatter_.value, (X, 1, TensorSpec((2, 1, 4), "int64"), 1.0), 8, 8),
        (torch.ops.aten.scatter.value, (X, 1, TensorSpec((2, 1, 4), "int64"), 1.0), 8 + 24, 24),
    ],
)
def test_traffic(op: torch._ops.OpOverload, args: tuple[object, ...], read: int, written: int) -> None:
    """What moves: nothing for a view, only the rows looked up of a table, only what is written in place."""
    traffic = priced(op, *args)[1]
    assert (traffic.read, traffic.written) == (read, written)
