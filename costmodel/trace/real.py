"""The same trace with real tensors, for a model that asks a tensor for its value."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload

from costmodel.graph import Arguments
from costmodel.ops import Rule, Torch
from costmodel.trace.handlers import Args, Kwargs
from costmodel.trace.inputs import Make
from costmodel.trace.recorder import Recorder, leaves, map_leaves
from costmodel.trace.signature import signature


class RealRecorder(Recorder):
    """Records one execution with real tensors: every op is run by torch, and written down as on meta tensors."""

    notices_autocast = False

    def answer(
        self, op: str, rule: Rule, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments, only_first: bool
    ) -> Any:
        """Runs the op; outputs that only the rule knows of are written down as the rule tells them."""
        result = func(*args, **kwargs)
        outputs = self.adopt(result)
        if only_first and not isinstance(rule.outputs, Torch):
            told = rule.outputs(bound)
            rest = told[1:] if isinstance(told, tuple) else ()
            for spec in rest:
                self.passing(spec)
            outputs = (*outputs, *rest)
        self.record(op, bound, outputs)
        return result

    def run(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """Runs an op without a rule, or one that writes into its arguments: into a copy of what is a parameter."""
        spared = {
            id(t): t.clone() for t in leaves(signature(func).written(args, kwargs)) if self.spec(t).role == "parameter"
        }
        given = map_leaves((args, dict(kwargs)), lambda t: spared.get(id(t), t))
        result = func(*given[0], **given[1])
        self.record(op, bound, self.adopt(result))
        return result

    def inplace(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """Runs an in-place op, on anything but a parameter: buffers are clones, parameters must stay as they are."""
        spec = self.spec(args[0])
        if spec.role != "parameter":
            func(*args, **kwargs)
        self.record(op, bound, (spec,), inplace=True)
        return args[0]

    def read(self, op: str, func: OpOverload, args: Args, kwargs: Kwargs, bound: Arguments) -> Any:
        """Reads a value."""
        self.record(op, bound, ())
        return func(*args, **kwargs)


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
