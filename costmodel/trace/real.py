"""The same trace with real tensors, for a model that asks a tensor for its value."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._ops import OpOverload

from costmodel.graph import TensorSpec
from costmodel.ops import Rule
from costmodel.trace.inputs import Make
from costmodel.trace.recorder import Recorder, Call


class RealRecorder(Recorder):
    """Records one execution with real tensors: every op is run by torch, and written down as on meta tensors."""

    def answer(self, op: str, rule: Rule, func: OpOverload, call: Call, only_first: bool) -> Any:
        """Runs the op; what the record says of its outputs is what the rule says, as on meta."""
        result = func(*call.args, **call.kwargs)
        if only_first and callable(rule.outputs):
            told = rule.outputs(call.bound)
            rest = told[1:] if isinstance(told, tuple) else ()
            outputs = self.adopt(result)
            for spec in rest:
                self.passing(spec)
            self.record(op, call.bound, (*outputs, *rest))
        else:
            self.record(op, call.bound, self.adopt(result))
        return result

    def run(self, op: str, func: OpOverload, call: Call) -> Any:
        """Runs an op without a rule."""
        result = func(*call.args, **call.kwargs)
        self.record(op, call.bound, self.adopt(result))
        return result

    def inplace(self, op: str, func: OpOverload, call: Call) -> Any:
        """Runs an in-place op, on anything but a parameter: buffers are clones, parameters must stay as they are."""
        spec = self.spec(call.args[0])
        if spec.role != "parameter":
            func(*call.args, **call.kwargs)
        self.record(op, call.bound, (spec,), inplace=True)
        return call.args[0]

    def read(self, op: str, func: OpOverload, call: Call) -> Any:
        """Reads a value."""
        self.record(op, call.bound, ())
        return func(*call.args, **call.kwargs)

    def _is_constant(self, func: OpOverload, call: Call) -> bool:
        return False


def buffers_cloned(model: nn.Module, recorder: Recorder) -> None:
    """Lets the model run on copies of its buffers; ``model_kept`` puts its own back."""
    clones: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is None:
                continue
            clone = clones.get(id(buffer))
            if clone is None:
                clone = clones[id(buffer)] = buffer.clone()
                spec: TensorSpec = recorder.spec(buffer)
                recorder.know(clone, spec.role, spec.name, same_as=spec)
            module._buffers[name] = clone


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
