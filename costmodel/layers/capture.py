"""Reads off a module, when it has just run, what the closed forms may know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from inspect import Parameter, signature
from itertools import repeat
from operator import is_not, itemgetter
from typing import TYPE_CHECKING, Any

from torch import nn

from costmodel.errors import InputError
from costmodel.graph import CapturedLayer, LayerSpec, tensors_in
from costmodel.layers.registry import USER_LAYERS, Called, Layer, by_name, layer_of
from costmodel.torch_private import CONVOLVE, PARAMETERS, registered_on

if TYPE_CHECKING:
    from costmodel.formulas import LayerCost


def capture(module: nn.Module, given: Any, called: Called = ((), {}), _output: Any = None) -> CapturedLayer | None:
    """What the closed forms may know of a module that has just run, if there is one for its type.

    It is read at once, as the model may change the module later. A ``LayerSpec`` is made of it on demand. ``given`` are
    the records of its arguments, ``called`` the arguments.
    """
    read = READERS[type(module)]
    return None if read is None or "forward" in module.__dict__ else read(module, given, called)


Reader = Callable[[nn.Module, Any, Called], CapturedLayer | None]


class _Readers(dict[type[nn.Module], Reader | None]):
    """How modules of the types that were met are captured, if they are. It keeps at most ``capacity`` types alive."""

    capacity = 1 << 10

    def __missing__(self, module_type: type[nn.Module]) -> Reader | None:
        if len(self) >= self.capacity:
            self.clear()
        reader = self[module_type] = _reader(module_type)
        return reader


READERS = _Readers()
"""How modules of each type are captured, if they are: of those that were met since layers were last registered."""


def _reader(module_type: type[nn.Module]) -> Reader | None:
    """For a user's closed form, or for one of the table.

    A type that inherits its forward unchanged from one in the table is priced as that one.
    """
    own = next((USER_LAYERS[t] for t in module_type.__mro__ if t in USER_LAYERS), None)
    if own is not None:
        return partial(_apply, own)
    bases = ((t, layer) for t in module_type.__mro__ if (layer := layer_of(t)) is not None)
    base = next((layer for t, layer in bases if _forward(t) == _forward(module_type)), None)
    return None if base is None else _reader_of(base)


def _forward(module_type: type[nn.Module]) -> tuple[Any, Any]:
    return module_type.forward, getattr(module_type, CONVOLVE, None)


@lru_cache(maxsize=1 << 10)
def _parameters_of(module_type: type[nn.Module]) -> tuple[str, ...]:
    """The names of the forward's parameters, in order."""
    try:
        found = signature(module_type.forward).parameters.values()
    except (TypeError, ValueError):  # no function of Python's
        return ()
    return tuple(p.name for p in found if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY))[1:]


def _apply(
    function: Callable[[nn.Module, tuple[int, ...]], LayerCost], module: nn.Module, given: Any, _: Called
) -> CapturedLayer | None:
    args, kwargs = given
    names = _parameters_of(type(module))  # type: ignore[arg-type]  # classes are hashable
    first = next(tensors_in((args, by_name(names, ((), kwargs)))), None)
    if first is None:
        return None
    try:
        return _spec_of_cost, function(module, first.shape)
    except Exception as error:
        raise InputError(
            f"the closed form registered for {type(module).__name__} failed on a layer that was given {first}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _spec_of_cost(cost: LayerCost) -> LayerSpec:
    return LayerSpec("", {"cost": cost})


def _reader_of(layer: Layer) -> Reader:
    key, kind, more = layer.key, layer.kind, layer.params
    hyper, present, usual = _getter(layer.hyper), _getter(layer.optional_params), len(layer.optional_params)

    def read(module: nn.Module, _given: Any, _called: Called) -> CapturedLayer | None:
        own = module.__dict__
        try:
            registered = own[PARAMETERS]
            # With as many, a KeyError says that a name is another.
            if len(registered) == usual if more is None else [*registered] == [*layer.optional_params, *more(module)]:
                # Whether parameters are there, not what they are: nothing may hold on to them.
                return to_spec, (hyper(own), (*map(is_not, present(registered), _NONES),))
        except KeyError:
            pass
        if not _has_parameters_of(layer, module):
            return None
        parameters = registered_on(module)[0]
        values = [getattr(module, attribute) for attribute in layer.hyper]
        return to_spec, (values, [parameters.get(name) is not None for name in layer.optional_params])

    def to_spec(found: tuple[tuple[Any, ...], tuple[bool, ...]]) -> LayerSpec:
        hyper, present = found
        by_name = dict(zip(layer.hyper, hyper, strict=True)) | dict(zip(layer.optional_params, present, strict=True))
        return LayerSpec(key, by_name, kind, layer.is_composite)

    if layer.also is not None or layer.values is not None:
        return partial(_read_more, layer, read)
    nothing = to_spec, ((), ())
    if layer.hyper or layer.optional_params:
        return read
    return lambda module, _given, _called: None if module.__dict__[PARAMETERS] else nothing


def _read_more(layer: Layer, read: Reader, module: nn.Module, given: Any, called: Called) -> CapturedLayer | None:
    found = read(module, given, called)
    more = {} if layer.also is None else layer.also(module)
    if found is None or more is None:
        return None
    to_spec, hyper = found
    values = {} if layer.values is None else layer.values(by_name(layer.takes, called))
    return _with_more, (to_spec, hyper, {**more, **values})


def _with_more(found: tuple[Callable[[Any], LayerSpec], Any, dict[str, Any]]) -> LayerSpec:
    to_spec, hyper, more = found
    spec = to_spec(hyper)
    return replace(spec, hyper={**spec.hyper, **more})


_NONES = repeat(None)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Gives what a mapping holds under the names."""
    if len(names) > 1:  # itemgetter of one name returns it bare
        return itemgetter(*names)
    return (lambda mapping: (mapping[names[0]],)) if names else lambda _: ()


def _has_parameters_of(layer: Layer, module: nn.Module) -> bool:
    """Whether a module has the parameters that its class registers, and no others.

    A layer that is pruned, parametrised or weight-normed computes some from others, which no formula covers.
    """
    parameters, buffers, _ = registered_on(module)
    names = (*layer.optional_params, *(layer.params(module) if layer.params is not None else ()))

    def is_replaced(name: str) -> bool:
        if name in parameters:
            return False
        in_its_place = module.__dict__.get(name, buffers.get(name))
        return in_its_place is not None or hasattr(type(module), name)

    return parameters.keys() <= set(names) and not any(map(is_replaced, names))
