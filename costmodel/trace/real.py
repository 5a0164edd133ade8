"""The same trace with real tensors, for a model that asks a tensor for its value."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from costmodel.graph import Arguments
from costmodel.ops import Torch
from costmodel.trace.forms import as_form
from costmodel.trace.handlers import Plan
from costmodel.trace.inputs import Make
from costmodel.trace.patterns import Dispatch
from costmodel.trace.recorder import Recorder, leaves, returned
from costmodel.trace.signature import signature


class RealRecorder(Recorder):
    """Records one execution with real tensors: every op is run by torch, and written down as on meta tensors."""

    notices_autocast = False
    remembers = False

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        """Storages from before the first op that the model wrote into, and what they held."""

    def answer(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs the op; outputs that only the rule knows of are written down as the rule tells them."""
        self._pass(plan, bound)
        if "running_mean" in bound:  # a norm may write its statistics, and its schema does not say so
            self._keep(leaves(call.args[1:]))
        result = call.func(*call.args, **call.kwargs)
        outputs = self.adopt(result)
        if plan.only_first and plan.rule is not None and not isinstance(plan.rule.outputs, Torch):
            told = plan.rule.outputs(bound)
            rest = told[1:] if isinstance(told, tuple) else ()
            outputs = (*outputs, *self.unreceived(tuple(map(as_form, rest)), plan.allocates_rest))
        self.record(plan.op, bound, outputs)
        return result

    def idle(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Nothing runs."""
        return call.args[0]

    def run(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs an op without a rule, or one that writes into its arguments."""
        self._keep(leaves(signature(call.func).written(call.args, call.kwargs)))
        self._pass(plan, bound)
        result = call.func(*call.args, **call.kwargs)
        self.record(plan.op, bound, self.adopt(result))
        return result

    def _pass(self, plan: Plan, bound: Arguments) -> None:
        for form in self._temporaries(plan, bound):
            self.passing(form)

    def inplace(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs an in-place op."""
        self._keep(call.args[:1])
        self._pass(plan, bound)
        call.func(*call.args, **call.kwargs)
        self.record(plan.op, bound, (call.given[0],), inplace=True)
        return returned(call)

    def resize(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Runs it: what it returns is known by another shape from now on."""
        return self.run(plan, call, bound)

    def read(self, plan: Plan, call: Dispatch, bound: Arguments) -> Any:
        """Reads a value."""
        self.record(plan.op, bound, ())
        return call.func(*call.args, **call.kwargs)

    def forget(self) -> None:
        """Lets go of every tensor, and puts values back that are the user's."""
        for storage, before in self._written.values():
            storage.copy_(before)
        self._written.clear()
        super().forget()

    def _keep(self, tensors: Iterable[torch.Tensor]) -> None:
        """Notes what tensors hold that an op is about to write into, where they are from before the first op."""
        for tensor in tensors:
            spec = self.spec(tensor)
            if self.tape.born[spec.storage] < 0 and spec.storage not in self._written:
                with suppress(RuntimeError):  # sparse tensors, and those made of others, have no storage of their own
                    storage = tensor.untyped_storage()
                    self._written[spec.storage] = storage, storage.clone()


def buffers_cloned(model: nn.Module, recorder: Recorder) -> None:
    """Lets the model run on copies of its buffers and plain tensors; ``model_kept`` puts its own back."""
    clones: dict[int, torch.Tensor] = {}
    for module in model.modules():
        holders: list[Any] = [module._buffers, module.__dict__]
        for holder in holders:
            if not isinstance(holder, dict):
                continue  # torch.jit's modules hold theirs in C++
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
