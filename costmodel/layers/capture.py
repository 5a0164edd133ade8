"""What the closed forms may know of a module, taken while it runs; and closed forms that users add."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import repeat
from operator import is_not, itemgetter
from typing import Any

from torch import nn

from costmodel.errors import InputError
from costmodel.formulas import LayerCost
from costmodel.graph import LayerSpec, ModuleCall, Told, tensors_in
from costmodel.layers.registry import LAYERS, USER_LAYERS, Layer


def capture(module: nn.Module, given: Any) -> Told | None:
    """Takes what the closed forms may know of a module that has just run, if its type has one.

    It is taken at once, as the model may change the module afterwards; a record is made of it when it is asked for.
    """
    take = _TAKES.get(type(module), _UNSEEN)
    if take is _UNSEEN:
        take = _TAKES[type(module)] = _take(type(module))
    return None if take is None or "forward" in module.__dict__ else take(module, given)


Take = Callable[[nn.Module, Any], Told | None]
_TAKES: dict[type[nn.Module], Take | None] = {}


def _UNSEEN(module: nn.Module, given: Any) -> None:  # noqa: N802  # a mark, not a function
    """Stands for a type that was not met before."""


def _take(module_type: type[nn.Module]) -> Take | None:
    """How modules of a type are captured: by a user's closed form, by the table, or not at all.

    A type that inherits its forward unchanged from one in the table is priced as that one.
    """
    own = next((USER_LAYERS[t] for t in module_type.__mro__ if t in USER_LAYERS), None)
    if own is not None:
        return partial(_take_own, own)
    bases = (t for t in module_type.__mro__ if t in LAYERS)
    base = next((t for t in bases if _ways(t) == _ways(module_type)), None)
    return None if base is None else _known(base.__name__, LAYERS[base])


def _ways(module_type: type[nn.Module]) -> tuple[Any, Any]:
    return module_type.forward, getattr(module_type, "_conv_forward", None)  # which a convolution's forward calls


def _take_own(
    function: Callable[[nn.Module, tuple[int, ...]], LayerCost], module: nn.Module, given: Any
) -> Told | None:
    first = next(tensors_in(given), None)
    if first is None:
        return None
    try:
        return _tell_own, function(module, first.shape)
    except Exception as error:
        raise InputError(
            f"the closed form registered for {type(module).__name__} failed on a layer that was given {first}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _tell_own(_: ModuleCall, cost: LayerCost) -> LayerSpec:
    return LayerSpec("", {"cost": cost})


def _known(name: str, layer: Layer) -> Take:
    kind = layer.kind
    hyper, present = _values(layer.hyper), _values(layer.present)

    def take(module: nn.Module, _: Any) -> Told | None:
        own = module.__dict__
        try:
            # Whether parameters are there, not what they are: nothing may hold on to them.
            return tell, (hyper(own), (*map(is_not, present(own["_parameters"]), _NONES),))
        except KeyError:
            if any(_is_made(module, attribute) for attribute in layer.present):
                return None
            values = [getattr(module, attribute) for attribute in layer.hyper]
            return tell, (values, [module._parameters.get(name) is not None for name in layer.present])

    def tell(_: ModuleCall, taken: tuple[tuple[Any, ...], tuple[bool, ...]]) -> LayerSpec:
        hyper, present = taken
        found = dict(zip(layer.hyper, hyper, strict=True)) | dict(zip(layer.present, present, strict=True))
        return LayerSpec(name, found, kind)

    nothing = tell, ((), ())
    return take if layer.hyper or layer.present else lambda _module, _given: nothing


_NONES = repeat(None)


def _values(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """What a mapping holds under the names."""
    if len(names) > 1:  # itemgetter of one name returns it bare
        return itemgetter(*names)
    return (lambda mapping: (mapping[names[0]],)) if names else lambda _: ()


def _is_made(module: nn.Module, attribute: str) -> bool:
    """Whether a parametrised or weight-normed layer makes this of other parameters: not the layer of the formula."""
    if attribute in module._parameters:
        return False
    return module.__dict__.get(attribute) is not None or hasattr(type(module), attribute)


def register_layer(
    module_type: type[nn.Module],
) -> Callable[[Callable[[Any, tuple[int, ...]], LayerCost]], Callable[[Any, tuple[int, ...]], LayerCost]]:
    """Gives a module type of one's own a closed form, for the cross-check to hold the trace against.

    The decorated function takes the module and the shape of its first input, and returns a
    ``costmodel.formulas.LayerCost``.

    >>> from costmodel.formulas import activation
    >>> class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return x + x
    >>> @register_layer(Twice)
    ... def twice(module, shape):
    ...     return activation(name="relu", shape=shape)
    >>> del USER_LAYERS[Twice]; _TAKES.clear()
    """

    def register(function: Callable[[Any, tuple[int, ...]], LayerCost]) -> Callable[[Any, tuple[int, ...]], LayerCost]:
        USER_LAYERS[module_type] = function
        _TAKES.clear()  # subclasses may have been met before
        return function

    return register
