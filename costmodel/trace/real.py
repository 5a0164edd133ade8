"""The same trace with real tensors, for a model that asks a tensor for its value."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from costmodel.graph import Arguments
from costmodel.ops import Torch
from costmodel.trace.forms import as_form
from costmodel.trace.handlers import Plan
from costmodel.trace.inputs import Make
from costmodel.trace.patterns import Dispatch
from costmodel.trace.recorder import Recorder, leaves, map_leaves
from costmodel.trace.signature import signature


class RealRecorder(Recorder):
    """Records one execution with real tensors: every op is run by torch, and written down as on meta tensors."""

    notices_autocast = False
    remembers = False

    def answer(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs the op; outputs that only the rule knows of are written down as the rule tells them."""
        for spec in plan.temporaries(bound):
            self.passing(as_form(spec))
        result = call.func(*call.args, **call.kwargs)
        outputs = self.adopt(result)
        if plan.only_first and plan.rule is not None and not isinstance(plan.rule.outputs, Torch):
            told = plan.rule.outputs(bound)
            rest = told[1:] if isinstance(told, tuple) else ()
            outputs = (*outputs, *[self.passing(as_form(spec)) for spec in rest])
        self.record(plan.op, bound, outputs)
        return result

    def idle(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Nothing runs."""
        return call.args[0]

    def run(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs an op without a rule, or one that writes into its arguments: into a copy of what is a parameter."""
        written = leaves(signature(call.func).written(call.args, call.kwargs))
        spared = {id(t): t.clone() for t in written if self.spec(t).role == "parameter"}
        given = map_leaves((call.args, dict(call.kwargs)), lambda t: spared.get(id(t), t))
        result = call.func(*given[0], **given[1])
        self.record(plan.op, bound, self.adopt(result))
        return result

    def inplace(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs an in-place op, on anything but a parameter: buffers are clones, parameters must stay as they are."""
        spec = call.given[0]
        if spec.role != "parameter":
            call.func(*call.args, **call.kwargs)
        self.record(plan.op, bound, (spec,), inplace=True)
        return call.args[0]

    def read(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Reads a value."""
        self.record(plan.op, bound, ())
        return call.func(*call.args, **call.kwargs)


def buffers_cloned(model: nn.Module, recorder: Recorder) -> None:
    """Lets the model run on copies of its buffers and plain tensors; ``model_kept`` puts its own back."""
    clones: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for holder in (module._buffers, module.__dict__):
            for name, buffer in holder.items():
                if not isinstance(buffer, torch.Tensor):
                    continue
                clone = clones.get(id(buffer))
                if clone is None:
                    clone = clones[id(buffer)] = buffer.clone()
                    recorder.stands_for(clone, recorder.spec(buffer))
                holder[name] = clone


def make_real(model: nn.Module) -> Make:
    """Makes inputs of random numbers (zeros where they are integers) on the model's device."""
    tensor = next(iter(model.parameters()), None)
    device = torch.device("cpu") if tensor is None else tensor.device
    generator = torch.Generator().manual_seed(0)

    def make(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype, device=device)
        return torch.randn(shape, generator=generator).to(dtype=dtype, device=device)

    return make
