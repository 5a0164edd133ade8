"""Answers ops by running them, on real tensors, for a model that reads a tensor's value."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from costmodel.graph import Arguments
from costmodel.ops import Torch
from costmodel.torch_private import BUFFERS
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch, Identity, View
from costmodel.trace.executor import Direct, Executor, leaves
from costmodel.trace.plan import How, Plan
from costmodel.trace.specs import copy_as_laid_out
from costmodel.trace.tensor_meta import meta_with_template
from costmodel.trace.tensor_table import LAZY, TensorTable


class RealExecutor(Executor):
    """Every op is run by torch, and recorded as on meta tensors."""

    is_real = True

    def answer(self, plan: Plan, how: How, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """The answer to a call."""
        match how:
            case How.IDENTITY:
                return Identity(plan.op, plan.bind)
            case How.VIEW:
                return View(plan.op, plan.bind)
            case How.INPLACE:
                self.save(call.args[:1])
                self.record_temporaries(plan, bound)
                call.func(*call.args, **call.kwargs)
                return Direct(None if plan.signature.returns_nothing else call.args[0], (call.given[0],), inplace=True)
            case How.INPLACE_LISTS:
                self.save(leaves(plan.signature.written(call.args, call.kwargs)))
                self.record_temporaries(plan, bound)
                call.func(*call.args, **call.kwargs)
                return Direct(None, plan.written(bound), inplace=True)
            case How.VALUE:
                return Direct(call.func(*call.args, **call.kwargs), ())
            case How.RULE:
                return self._run(plan, call, bound)
            case How.COPY:
                copy = self.on_model_device(call)
                return Identity(plan.op, plan.bind) if copy is None else self._run(plan, copy, bound)
            case _:
                self.observe(plan, call, bound)
                self.save(leaves(plan.signature.written(call.args, call.kwargs)))
                self.record_temporaries(plan, bound)
                result = call.func(*call.args, **call.kwargs)
                return Direct(result, self.table.adopt(result))

    def _run(self, plan: Plan, call: Dispatch, bound: Arguments) -> Direct:
        """Outputs that only the rule knows of are recorded as it says."""
        table = self.table
        self.observe(plan, call, bound)
        self.record_temporaries(plan, bound)
        if "running_mean" in bound:  # a norm may write its statistics, and its schema does not say so
            self.save(leaves(call.args[1:]))
        result = call.func(*call.args, **call.kwargs)
        outputs = table.adopt(result)
        if plan.composite is not None and plan.rule is not None and not isinstance(plan.rule.outputs, Torch):
            by_rule = plan.rule.outputs(bound)
            unused = by_rule[1:] if isinstance(by_rule, tuple) else ()
            metas = tuple([meta_with_template(spec) for spec in unused if spec is not None])
            outputs = (*outputs, *table.record_unused(metas, plan.allocates_unused))
        return Direct(result, outputs)


def clone_buffers(model: nn.Module, table: TensorTable) -> None:
    """Lets the model run on copies of its buffers and plain tensors; ``restored`` puts its own back."""
    clones: dict[int, torch.Tensor] = {}
    for module in model.modules():
        holders: list[Any] = [getattr(module, BUFFERS), module.__dict__]
        for holder in holders:
            if not isinstance(holder, dict):
                continue  # torch.jit's modules hold theirs in C++
            for name, buffer in holder.items():
                if not isinstance(buffer, torch.Tensor) or type(buffer) in LAZY:
                    continue
                clone = clones.get(id(buffer))
                if clone is None:
                    clone = clones[id(buffer)] = copy_as_laid_out(buffer).requires_grad_(buffer.requires_grad)
                    table.bind(clone, table.spec(buffer))
                holder[name] = clone
