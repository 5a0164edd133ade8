"""A slower trace that asks torch's own meta kernel beside every rule: shape, dtype and strides must be the same."""

from __future__ import annotations

from typing import Any

import torch

from costmodel.graph import Arguments
from costmodel.trace.handlers import Plan
from costmodel.trace.patterns import Dispatch
from costmodel.trace.recorder import Recorder, leaves, map_leaves
from costmodel.trace.specs import META, spec_of

_BY_KERNEL = frozenset({"aten.scaled_dot_product_attention.default"})
"""Ops recorded above torch's choice of a kernel: the layout of what they return depends on it."""


class VerifyingRecorder(Recorder):
    """Records as ``Recorder`` does, and collects where a rule's outputs are not torch's."""

    remembers = False

    def __init__(self) -> None:
        super().__init__()
        self.verified = 0
        self.differences: list[str] = []

    def answer(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Answers by the rule, then compares with torch's meta kernel on the same arguments."""
        meta_args, meta_kwargs = map_leaves(call.args, self._twin), map_leaves(dict(call.kwargs), self._twin)
        if "device" in meta_kwargs:
            meta_kwargs["device"] = META
        expected = [_facts(t) for t in leaves(call.func(*meta_args, **meta_kwargs))]
        result = super().answer(plan, call, bound)
        told = [_facts(t) for t in leaves(result)]
        if plan.op in _BY_KERNEL:
            told, expected = [t[:2] for t in told], [t[:2] for t in expected]
        self.verified += 1
        if told != expected:
            self.differences.append(f"{plan.op} on {call.args}: the rule says {told}, torch {expected}")
        return result


def _facts(tensor: torch.Tensor) -> tuple[object, ...]:
    spec = spec_of(tensor)
    return spec.shape, spec.dtype, spec.full_strides
