"""The work of real ops by their rules, as a dispatch mode sees them run."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from costmodel.graph import OpCall
from costmodel.ops import rule_of
from costmodel.quantities import Work
from costmodel.trace.executor import leaves, map_leaves
from costmodel.trace.plan import How, plans
from costmodel.trace.signature import signature
from costmodel.trace.specs import spec_of


class Costs(TorchDispatchMode):
    """Adds up the work of every op that runs below autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has not annotated it
        self.of_ops: dict[str, Work] = {}

    @property
    def work(self) -> Work:
        """Of all ops."""
        return sum(self.of_ops.values(), Work())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        plan = plans().of(func)
        bound = signature(func).bind(*map_leaves((list(args), dict(kwargs)), spec_of))
        result = func(*args, **kwargs)
        call = OpCall(plan.op, bound, tuple(map(spec_of, leaves(result))), inplace=plan.how is How.INPLACE)
        rule = rule_of(call)
        assert rule is not None, f"{plan.op} has no rule"
        self.of_ops[plan.op] = self.of_ops.get(plan.op, Work()) + rule.work(call)
        return result


def backward_of(y: torch.Tensor, gradient: torch.Tensor, *inputs: torch.Tensor) -> tuple[tuple[Any, ...], Work]:
    """The gradients that autograd computes, and the work of the ops that it runs for them."""
    costs = Costs()
    with costs:
        found = torch.autograd.grad(y, inputs, gradient)
    return found, costs.work
