"""A trace that runs torch's own meta kernel beside every rule: shapes, dtypes and strides must be the same."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from costmodel.graph import Arguments, contiguous_strides
from costmodel.trace import trace
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch, NewTensor, NewTensors
from costmodel.trace.executor import Direct, leaves
from costmodel.trace.meta_executor import MetaExecutor
from costmodel.trace.plan import Plan
from costmodel.trace.specs import META, spec_of
from costmodel.trace.tensor_table import TensorTable
from costmodel.trace.traced_tensor import tensors_on

_LAYOUT_BY_KERNEL = frozenset({"aten.scaled_dot_product_attention.default"})
"""Ops recorded above torch's choice of a kernel: the layout of what they return depends on it."""


class VerifyingExecutor(MetaExecutor):
    """Answers as ``MetaExecutor`` does, and collects where a rule's outputs are not torch's."""

    fills_cache = False

    def __init__(self, table: TensorTable, model_device: str) -> None:
        super().__init__(table, model_device)
        self.verified = 0
        self.differences: list[str] = []

    def _by_rule(self, plan: Plan, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        with tensors_on(META):
            by_torch = call.func(*self._args_on_meta(call), **self._kwargs_on_meta(call))
        expected = [_facts(spec_of(tensor)) for tensor in leaves(by_torch)]
        answer = super()._by_rule(plan, call, bound)
        if isinstance(answer, NewTensor):
            found = [_facts(answer.result)]
        elif isinstance(answer, NewTensors):
            found = [_facts(meta) for meta in answer.results]
        else:
            assert isinstance(answer, Direct)
            found = [_facts(spec_of(tensor)) for tensor in leaves(answer.value)]
        if plan.op in _LAYOUT_BY_KERNEL:
            found, expected = [facts[:2] for facts in found], [facts[:2] for facts in expected]
        self.verified += 1
        if found != expected:
            self.differences.append(f"{plan.op} on {call.args}: the rule says {found}, torch {expected}")
        return answer


def verify(model: nn.Module, inputs: Any, mode: Literal["eval", "train"] = "eval") -> VerifyingExecutor:
    """Traces a model, and returns what was compared."""
    executors: list[VerifyingExecutor] = []

    def executor(table: TensorTable, model_device: str) -> VerifyingExecutor:
        executors.append(VerifyingExecutor(table, model_device))
        return executors[-1]

    trace(model, inputs, mode=mode, executor=executor)
    return executors[0]


def _facts(tensor: Any) -> tuple[Any, ...]:
    strides = contiguous_strides(tensor.shape) if tensor.strides is None else tensor.strides
    return tensor.shape, tensor.dtype, strides
