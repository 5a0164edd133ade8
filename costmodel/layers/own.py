"""Closed forms that users give to modules of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from costmodel.declared import DECLARED, LAYER_OP, Declared
from costmodel.errors import InputError, require_torch
from costmodel.formulas import LayerCost
from costmodel.layers.registry import USER_LAYERS

if TYPE_CHECKING:
    from torch.nn import Module


def register_layer(
    module_type: type[Module], *, opaque: bool = False
) -> Callable[[Callable[[Any, tuple[int, ...]], LayerCost]], Callable[[Any, tuple[int, ...]], LayerCost]]:
    """Gives a module type of one's own a closed form, for the cross-check to hold the trace against.

    The decorated function takes the module and the shape of its first input, and returns a
    ``costmodel.formulas.LayerCost``.

    With ``opaque=True`` that is the layer's cost in the trace too, in the place of what runs inside: for a layer that
    calls kernels of its own, which cannot be seen. It returns one tensor of ``output_shape`` and of its first input's
    dtype; on meta tensors its forward does not run. Such a cost is declared, and the cross-check does not count it as
    derived twice.

    >>> from torch import nn
    >>> from costmodel.formulas import activation
    >>> class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return x + x
    >>> @register_layer(Twice)
    ... def twice(module, shape):
    ...     return activation(name="relu", shape=shape)
    >>> from costmodel.layers.capture import READERS
    >>> del USER_LAYERS[Twice]; READERS.clear()
    """
    require_torch("costmodel.register_layer")
    from torch import nn

    from costmodel.layers.capture import READERS

    if not isinstance(module_type, type) or not issubclass(module_type, nn.Module):
        raise InputError(f"register_layer takes a class of modules, such as MyLayer, not {module_type!r}")

    def register(function: Callable[[Any, tuple[int, ...]], LayerCost]) -> Callable[[Any, tuple[int, ...]], LayerCost]:
        if not callable(function):
            raise InputError(f"register_layer({module_type.__name__}) decorates a function, not {function!r}")
        USER_LAYERS[module_type] = function
        DECLARED.pop(module_type, None)
        if opaque:
            DECLARED[module_type] = Declared(op=LAYER_OP, target=module_type, cost=function)
        READERS.clear()  # subclasses may have readers already
        return function

    return register
