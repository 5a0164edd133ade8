"""How ops are answered in one trace: what an executor is given, and what it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

import torch

from costmodel.graph import Arguments, TensorSpec
from costmodel.records import dataclass
from costmodel.torch_private import without_modes
from costmodel.trace.dispatch_cache import CachedOutput, Dispatch
from costmodel.trace.plan import How, Plan
from costmodel.trace.tensor_meta import TensorMeta, meta_with_template
from costmodel.trace.tensor_table import TensorTable


@dataclass(frozen=True, slots=True)
class Direct:
    """An answer to one call alone."""

    value: Any
    """What the op returns."""
    outputs: tuple[TensorSpec, ...]
    """What is recorded as its outputs."""
    inplace: bool = False


class Executor(ABC):
    """Answers the ops of one trace."""

    is_real: ClassVar[bool] = False
    """Whether it computes."""
    fills_cache: ClassVar[bool] = False
    """Whether its answers hold in later traces too."""

    def __init__(self, table: TensorTable, model_device: str) -> None:
        self.table = table
        self.model_device = model_device
        """The type of device that the model takes its inputs on, wherever the trace has them."""
        self._saved: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        """Storages from before the first op that were written into, and what they held."""

    @abstractmethod
    def answer(self, plan: Plan, how: How, call: Dispatch, bound: Arguments) -> CachedOutput | Direct:
        """The answer to a call, whose arguments by name are ``bound``."""

    def close(self) -> None:
        """Lets go of every tensor, and restores values that may be the user's."""
        for storage, before in self._saved.values():
            if storage.nbytes() != before.nbytes():  # an op has resized it
                storage.resize_(before.nbytes())
            storage.copy_(before)
        self._saved.clear()

    def value_of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The values of a tensor on meta, where the trace can compute them."""
        return None

    def save(self, tensors: Iterable[torch.Tensor]) -> None:
        """Saves what tensors hold that an op is about to write into, where they are from before the first op."""
        for tensor in tensors:
            spec = self.table.spec(tensor)
            if self.table.log.allocated_at[spec.storage] < 0 and spec.storage not in self._saved:
                with suppress(RuntimeError):  # sparse tensors, and those made of others, have no storage of their own
                    storage = tensor.untyped_storage()
                    self._saved[spec.storage] = storage, storage.clone()

    def temporaries(self, plan: Plan, bound: Arguments) -> tuple[TensorMeta, ...]:
        """What the op allocates and frees before it returns."""
        return tuple([meta_with_template(spec) for spec in plan.temporaries(bound)])

    def observe(self, plan: Plan, call: Dispatch, bound: Arguments) -> None:
        """Adds to the arguments what the rule reads off their values, where all have values."""
        if plan.rule is not None and plan.rule.observe is not None and plan.composite is None:
            found = plan.rule.observe(plan.signature.bind(list(call.args), call.kwargs))
            if found:
                bound["observed"] = found

    def record_temporaries(self, plan: Plan, bound: Arguments) -> None:
        """Records them, where an answer is ``Direct``."""
        for meta in self.temporaries(plan, bound):
            self.table.record_temporary(meta)

    def on_model_device(self, call: Dispatch) -> Dispatch | None:
        """A copy as it is where the tensor lies on the model's device: None where that leaves nothing to copy.

        Only the trace has the tensor on another device; and under a dispatch mode torch copies what ``torch.tensor``
        has made to the device that it is on.
        """
        (x,), kwargs = call.args, call.kwargs
        device = kwargs.get("device")
        if device is None or torch.device(device).type not in ("meta", self.model_device):
            return call
        same_layout = kwargs.get("memory_format") in (None, torch.preserve_format)
        if same_layout and kwargs.get("dtype") in (None, x.dtype):
            return None
        return replace(call, kwargs={name: value for name, value in kwargs.items() if name != "device"})

    def is_assigned_number(self, call: Dispatch) -> bool:
        """Whether torch makes a tensor of a number that is assigned to a part of a meta tensor (``x[0] = 1``).

        For a tensor on the CPU or a GPU it makes one on the CPU, without an op, and fills the part with that. Calls
        from Python say whether memory is pinned.
        """
        device = call.kwargs.get("device")
        return (
            self.model_device in ("cpu", "cuda")
            and device is not None
            and torch.device(device).type == "meta"
            and "pin_memory" not in call.kwargs
        )


NUMBER = "aten.scalar_tensor.default"


def number_on_cpu(call: Dispatch) -> torch.Tensor:
    """What ``aten.scalar_tensor`` returns, on the CPU."""
    (number,) = call.args
    with without_modes():
        return torch.scalar_tensor(number, dtype=call.kwargs["dtype"])


def leaves(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in an op's arguments or results."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)


def map_leaves(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """Arguments or results of an op with every tensor changed and every other object kept."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map_leaves(item, change) for item in value)
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    return value
