"""An optimizer like that of a training, for the parameters of a trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


def like(optimizer: Optimizer, module: nn.Module) -> Callable[[Iterable[Tensor]], Optimizer]:
    """What makes an optimizer of the same class, groups and settings for what stands for the module's parameters.

    What it makes has no state. The optimizer itself and the parameters are only read.
    """
    own = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with_gradient: list[Tensor] = []

    def make(parameters: Iterable[Tensor]) -> Optimizer:
        given = list(parameters)
        # A trace asks twice: with all parameters, of which some have a gradient by then, and with those alone.
        if len(given) == len(own):
            with_gradient[:] = [mine for mine, its in zip(own, given, strict=True) if its.grad is not None]
        known = own if len(given) == len(own) else with_gradient
        if [parameter.shape for parameter in known] != [parameter.shape for parameter in given]:
            raise InputError(f"its parameters are not those of the {type(module).__name__} that is trained")
        twin = {id(mine): its for mine, its in zip(known, given, strict=True)}
        groups: list[dict[str, Any]] = [
            {**group, "params": [twin[id(mine)] for mine in group["params"] if id(mine) in twin]}
            for group in optimizer.param_groups
        ]
        takes = inspect.signature(type(optimizer)).parameters
        settings = {name: value for name, value in optimizer.defaults.items() if name in takes}
        return type(optimizer)([group for group in groups if group["params"]], **settings)

    make.__name__ = type(optimizer).__name__
    return make
