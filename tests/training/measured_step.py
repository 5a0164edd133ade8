"""What a real training step on the CPU allocates: a step after the first, from the allocator's own events.

Not counted are, beside what ``tests/live_memory.py`` says, Python numbers that torch takes as tensors of one element,
and the states of random generators, which a checkpoint keeps: both lie in the CPU's memory, wherever the model is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from tests.live_memory import allocations, peak


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Every tensor in arguments, results or an optimizer's state."""
    if isinstance(value, torch.Tensor):
        return [value]
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    return [tensor for item in items for tensor in tensors_in(item)]


def total(output: Any) -> torch.Tensor:
    """A loss: what the model says that it is, or the sum of all that it returns and that has a gradient."""
    own = getattr(output, "loss", None)
    if own is not None:
        return own  # type: ignore[no-any-return]
    sums = [tensor.sum() for tensor in tensors_in(output) if tensor.requires_grad]
    return sum(sums[1:], sums[0])


def storage_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """The bytes of distinct storages."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def measured_step(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    make_optimizer: Callable[[Iterable[torch.Tensor]], torch.optim.Optimizer] | None = None,
    passes: int = 1,
    *,
    set_to_none: bool = True,
    first: bool = False,
) -> int:
    """The most bytes that are live at once in a step: parameters, buffers, state and inputs with it.

    With several ``passes``, their gradients are added up before the update. Without ``set_to_none`` gradients stay from
    step to step, and are filled with zeros. The ``first`` step finds no gradients and no state.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = None if make_optimizer is None else make_optimizer(parameters)
    if first:
        for parameter in parameters:
            parameter.grad = None

    def forward_and_loss() -> torch.Tensor:
        return total(model(*args, **kwargs))

    def step() -> None:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()
        with torch.enable_grad():
            for _ in range(passes):
                forward_and_loss().backward()  # type: ignore[no-untyped-call]
        if optimizer is not None:
            optimizer.step()

    if not first:
        step()  # the first makes the optimizer's state
    for parameter in parameters:
        parameter.grad = parameter.grad if not set_to_none else None
    state = [] if optimizer is None else tensors_in(optimizer.state)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    held = [*model.parameters(), *model.buffers(), *gradients, *state, *tensors_in((args, kwargs))]
    return storage_bytes(held) + peak(allocations(step, numbers=False))
