"""Turns what a user gives as inputs into the arguments that the forward pass is called with.

Nothing of the user's is handed to the model but numbers, texts, functions and modules: containers and objects are
copied, and tensors replaced, so that a forward that changes its inputs changes copies.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from functools import partial
from numbers import Number
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, TypeAlias

import torch
from torch import nn

from costmodel.errors import InputError
from costmodel.inputs import Call, Input, Value, has_names, is_shape

Make: TypeAlias = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]
"""Makes a tensor of a shape and a dtype."""
Keep: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Makes what replaces a tensor of the user's."""

FLOATING = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
"""The dtypes of computing in floating point: those of quantised tensors are not among them."""

_SHARED = (
    Number, str, bytes, type, Enum, FunctionType, BuiltinFunctionType, MethodType, ModuleType, nn.Module, torch.dtype,
    torch.device, torch.Generator, type(None),
)  # fmt: skip
"""Types of values that the model is given as they are."""
_UNCOPIED = (nn.Module, torch.Generator, ModuleType)
"""Those that a copy of an object that holds one would copy."""
_PLAIN_MAPPINGS = (dict, OrderedDict, MappingProxyType)


def arguments(
    inputs: Any,
    make: Make,
    keep: Keep,
    own: Iterable[torch.Tensor],
    forward: Callable[..., Any] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for the forward: shapes made into tensors, given tensors passed to ``keep``.

    ``own`` are the model's own tensors: a bare shape takes their floating dtype. ``forward`` is what is to be called:
    its signature tells positional and keyword arguments in one tuple from two inputs. With a ``dtype``, all floating
    inputs are of that.

    >>> make = lambda shape, dtype: torch.empty(shape, dtype=dtype, device="meta")
    >>> args, kwargs = arguments(((1, 3, 8, 8), [(2, 4)]), make, lambda t: t, own=[])
    >>> args[0].shape, args[1][0].shape, kwargs
    (torch.Size([1, 3, 8, 8]), torch.Size([2, 4]), {})
    """
    floating = dtype or next((t.dtype for t in own if t.dtype in FLOATING), torch.get_default_dtype())
    build = _Builder(make, keep, floating, dtype)
    given = _as_call(inputs, forward)
    return [build(item) for item in given.args], {name: build(item) for name, item in given.kwargs.items()}


def _as_call(inputs: Any, forward: Callable[..., Any] | None) -> Call:
    """The inputs as positional and keyword arguments."""
    if isinstance(inputs, Call):
        return inputs
    if isinstance(inputs, Mapping):
        if not all(isinstance(key, str) for key in inputs):
            raise InputError(
                f"a dict of inputs is keyword arguments by name, its keys are {list(inputs)}; a dict that is itself "
                f"the input is passed as costmodel.call(the_dict)"
            )
        return Call((), inputs)
    if is_shape(inputs) or _is_one_input(inputs):
        return Call((inputs,))
    if isinstance(inputs, (tuple, list)):
        if inputs and all(isinstance(item, Number) for item in inputs):
            raise InputError(f"a shape is a tuple of non-negative integers, not {tuple(inputs)}")
        if _is_args_and_kwargs(inputs, forward):
            return Call(tuple(inputs[0]), inputs[1])
        return Call(tuple(inputs))
    raise InputError(
        f"inputs must be a shape such as (1, 3, 224, 224), a tensor, an array, a costmodel.Input, an object that holds "
        f"tensors, a tuple or list of those, a dict of keyword inputs, or costmodel.call(...); got "
        f"{type(inputs).__name__}: {inputs!r:.80}"
    )


def _is_one_input(value: Any) -> bool:
    """Whether a value is one input: a tensor, an array, or an object of the user's that holds some."""
    if isinstance(value, (torch.Tensor, Input, Value)) or _is_array(value):
        return True
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return False
    return not isinstance(value, _SHARED) and any(
        isinstance(held, (torch.Tensor, Input)) or _is_array(held) for held in _walk(value)
    )


def _is_args_and_kwargs(inputs: tuple[Any, ...] | list[Any], forward: Callable[..., Any] | None) -> bool:
    """Whether a pair is ``(args, kwargs)``: a tuple of inputs, and a dict of keywords that the forward takes."""
    if len(inputs) != 2 or forward is None:
        return False
    args, kwargs = inputs
    if type(args) not in (tuple, list) or is_shape(args) or type(kwargs) is not dict or not kwargs:
        return False
    try:
        signature = inspect.signature(forward)
        signature.bind(*args, **kwargs)
    except (TypeError, ValueError):
        return False
    return True


class _Builder:
    """Makes an argument of what the user gave in its place."""

    def __init__(self, make: Make, keep: Keep, floating: torch.dtype, dtype: torch.dtype | None) -> None:
        self._make, self._keep, self._floating, self._dtype = partial(_made, make), keep, floating, dtype
        self._built: dict[int, Any] = {}
        """By the ``id()`` of what was given: a tensor that is given twice stays one, as attention looks whether query
        and key are the same."""
        self._given: list[Any] = []
        """Kept, so that no other object takes its ``id()``."""

    def __call__(self, value: Any) -> Any:
        if id(value) in self._built:
            return self._built[id(value)]
        if isinstance(value, torch.Tensor):
            return self._once(value, self._tensor(value))
        if isinstance(value, Input):
            return self._input(value)
        if isinstance(value, Value):
            return self._once(value, copy.deepcopy(value.value))
        if is_shape(value):
            return self._make(tuple(map(int, value)), self._floating)
        if isinstance(value, _SHARED):
            return value
        if _is_array(value):
            return self._once(value, self._tensor(_tensor_of(value)))
        if type(value) in _PLAIN_MAPPINGS:
            built = {key: self(item) for key, item in value.items()}
            return OrderedDict(built) if isinstance(value, OrderedDict) else built
        if type(value) is tuple or type(value) is list:
            return type(value)([self(item) for item in value])
        if isinstance(value, tuple) and hasattr(value, "_make"):  # a namedtuple
            return value._make([self(item) for item in value])
        return self._once(value, self._copy(value))

    def _once(self, value: Any, built: Any) -> Any:
        self._given.append(value)
        self._built[id(value)] = built
        return built

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        kept = self._keep(tensor)
        if self._dtype is not None and kept.dtype in FLOATING:
            return kept.to(self._dtype)
        return kept

    def _input(self, given: Input) -> torch.Tensor:
        if has_names(given.shape):
            raise InputError(f"{given} names a size: give numbers here, or use costmodel.scaling, which takes names")
        is_cast = self._dtype is not None and given.dtype in FLOATING
        return self._make(given.shape, self._floating if is_cast else given.dtype)

    def _copy(self, value: Any) -> Any:
        """A copy of an object, with other tensors in it; what cannot be copied is passed as it is."""
        memo: dict[int, Any] = {}
        for held in _walk(value):
            if isinstance(held, (torch.Tensor, Input)):
                memo[id(held)] = self(held)
            elif isinstance(held, _UNCOPIED):
                memo[id(held)] = held
        try:
            return copy.deepcopy(value, memo)
        except Exception:
            return value


def _made(make: Make, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    try:
        return make(shape, dtype)
    except (TypeError, RuntimeError, MemoryError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"torch makes no {dtype} tensor of shape {shape}: {reason}. A tensor has fewer than 2**63 bytes, and in a "
            f"real run must fit into memory: pass a smaller shape"
        ) from error


def record_of(argument: Any) -> Any:
    """An argument as a nest of tuples, lists and dicts: an object is the list of the tensors that it holds."""
    if isinstance(argument, (torch.Tensor, *_SHARED)):
        return argument
    if isinstance(argument, Mapping):
        return {key: record_of(item) for key, item in argument.items()}
    if isinstance(argument, (tuple, list)):
        items = [record_of(item) for item in argument]
        return tuple(items) if isinstance(argument, tuple) else items
    return [held for held in _walk(argument) if isinstance(held, torch.Tensor)] or argument


def _walk(value: Any) -> Iterator[Any]:
    """Every object that a value holds, itself first, each once; what a shared value holds is left out."""
    seen: dict[int, Any] = {}
    waiting = [value]
    while waiting:
        held = waiting.pop()
        if id(held) in seen:
            continue
        seen[id(held)] = held
        yield held
        if isinstance(held, (torch.Tensor, Input, *_SHARED)) or _is_array(held):
            continue
        if isinstance(held, Mapping):
            waiting += reversed(list(held.values()))
        elif isinstance(held, (tuple, list, set, frozenset, deque)):
            waiting += reversed(list(held))
        waiting += reversed(list(_attributes(held)))


def _attributes(value: Any) -> Iterator[Any]:
    """The values of an object's attributes. Its class is not asked, for that may run its code."""
    with suppress(AttributeError):
        yield from object.__getattribute__(value, "__dict__").values()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with suppress(AttributeError):
                yield object.__getattribute__(value, name)


def _is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy's, which may not be imported."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _tensor_of(array: Any) -> torch.Tensor:
    """A tensor on the memory of an array, or on that of a copy where torch cannot share it."""
    try:
        if not array.flags.writeable or any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise InputError(f"an array of dtype {array.dtype} is no tensor: {error}") from error
