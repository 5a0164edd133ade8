"""How a profile was made: what reads its model once more, while that lives."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from costmodel.inputs import Call, Input, Value, is_shape

KEPT_ELEMENTS = 1 << 14
"""A tensor or an array with more elements is kept as its shape and dtype: a profile holds no data set."""


class Origin:
    """The model, which it does not keep alive, or the spec string that builds it; and the arguments of ``profile``."""

    def __init__(self, model: Any, inputs: Any, **options: Any) -> None:
        self.spec = model if isinstance(model, str) else None
        """The string that builds the model."""
        self.inputs = _without_data(inputs)
        """The inputs, large tensors as shapes; ``OWN`` where they are objects of the user's own."""
        self.options = options
        """The other arguments of ``profile``."""
        self.model: Callable[[], Any] = _gone if self.spec is not None else _reference(model)
        """Returns the model, or ``None`` where it is gone."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "model": _gone}


def _gone() -> None:
    """What a copy in another process has of a model."""


def _reference(model: Any) -> Callable[[], Any]:
    try:
        return weakref.WeakMethod(model) if isinstance(model, MethodType) else weakref.ref(model)
    except TypeError:
        return _gone


class _Own:
    """Stands for inputs that are objects of the user's own."""

    def __reduce__(self) -> str:
        return "OWN"


OWN = _Own()
"""Inputs that are objects of the user's own, of which a profile keeps nothing."""


def _without_data(inputs: Any) -> Any:
    """The inputs with each large tensor as its shape and dtype; ``OWN`` where another object is among them."""
    if type(inputs) is tuple and {*map(type, inputs)} == {int}:  # a shape, nearly always
        return inputs
    torch, numpy = sys.modules["torch"], sys.modules.get("numpy")
    if isinstance(inputs, torch.Tensor):
        if inputs.is_nested or (inputs.numel() > KEPT_ELEMENTS and inputs.layout is not torch.strided):
            return OWN  # no shape stands for it
        return inputs if inputs.numel() <= KEPT_ELEMENTS else Input(inputs.shape, inputs.dtype)
    if numpy is not None and isinstance(inputs, numpy.ndarray):
        return inputs if inputs.size <= KEPT_ELEMENTS else Input(inputs.shape, inputs.dtype)
    if inputs is None or is_shape(inputs) or isinstance(inputs, (bool, int, float, complex, str, Input, Value)):
        return inputs
    if isinstance(inputs, Call):
        args, kwargs = _without_data(inputs.args), _without_data(dict(inputs.kwargs))
        return OWN if OWN in (args, kwargs) else Call(args, kwargs)
    if type(inputs) in (tuple, list):
        items = [_without_data(item) for item in inputs]
        return OWN if any(item is OWN for item in items) else type(inputs)(items)
    if isinstance(inputs, Mapping):
        named = {name: _without_data(item) for name, item in inputs.items()}
        return OWN if any(item is OWN for item in named.values()) else named
    return OWN
