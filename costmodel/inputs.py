"""What users write inputs with: a shape with a dtype, and the arguments of one call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from difflib import get_close_matches
from functools import cache
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError, require_torch
from costmodel.records import dataclass

if TYPE_CHECKING:
    import torch


@cache
def _by_name() -> dict[str, torch.dtype]:
    import torch

    named = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
    return named | {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def dtype_of(value: Any) -> torch.dtype:
    """The dtype that is meant: torch's own, its name, a tensor type such as ``torch.FloatTensor``, or NumPy's.

    >>> import torch
    >>> dtype_of("torch.bfloat16"), dtype_of("half"), dtype_of(torch.LongTensor)
    (torch.bfloat16, torch.float16, torch.int64)
    """
    require_torch("a dtype")
    import torch

    if isinstance(value, torch.dtype):
        return value
    if isinstance(value, type(torch.FloatTensor)):
        found: torch.dtype = value.dtype
        return found
    name = value if isinstance(value, str) else _numpy_name(value)
    known = _by_name().get(name.removeprefix("torch.")) if name is not None else None
    if known is not None:
        return known
    close = get_close_matches(str(value).removeprefix("torch."), _by_name(), n=2)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    raise InputError(f"a dtype is torch's, such as torch.int64, or its name, such as 'int64'; not {value!r}{hint}")


def _numpy_name(value: Any) -> str | None:
    """The name of a dtype, or of a scalar type, of NumPy's."""
    if type(value).__module__.startswith("numpy"):
        return getattr(value, "name", None)
    is_scalar = isinstance(value, type) and value.__module__ == "numpy"
    return value.__name__ if is_scalar else None


@dataclass(frozen=True)
class Input:
    """The shape and dtype of an input, where a bare shape, of the model's own floating dtype, does not say enough.

    >>> Input((1, 128), "int64")
    Input(shape=(1, 128), dtype=torch.int64)
    >>> Input(())  # a number as a tensor of no dimension
    Input(shape=(), dtype=torch.float32)

    For ``costmodel.scaling`` a size may have a name instead: ``Input(("B", 128), "int64")``.
    """

    shape: tuple[Any, ...]
    dtype: torch.dtype

    def __init__(self, shape: Any, dtype: Any = "float32") -> None:
        if shape != () and not is_shape(shape) and not has_names(shape):
            raise InputError(f"Input takes a shape, a tuple of non-negative ints, not {shape!r}")
        object.__setattr__(self, "shape", tuple(n if isinstance(n, str) else int(n) for n in shape))
        object.__setattr__(self, "dtype", dtype_of(dtype))


@dataclass(frozen=True)
class Value:
    """An argument that the forward takes as it is: a list of integers, say, would be read as the shape of a tensor.

    >>> Value([5, 5])
    Value(value=[5, 5])
    """

    value: Any


def is_shape(value: Any) -> bool:
    """Whether a value reads as a shape: a non-empty tuple, list or torch.Size of non-negative ints, NumPy's too."""
    return (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and not any(isinstance(n, bool) for n in value)
        and all(isinstance(n, Integral) and int(n) >= 0 for n in value)
    )


def has_names(value: Any) -> bool:
    """Whether a value reads as a shape in which sizes have names.

    >>> has_names(("B", 3, "H", "H")), has_names((1, 3)), has_names((("B", 3), (1,)))
    (True, False, False)
    """
    return (
        isinstance(value, (tuple, list))
        and any(isinstance(n, str) and n.isidentifier() for n in value)
        and is_shape([0 if isinstance(n, str) and n.isidentifier() else n for n in value])
    )


@dataclass(frozen=True, repr=False)
class Call:
    """The arguments of one call of a model, positional and by keyword. ``costmodel.call`` makes one."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kwargs", MappingProxyType(dict(self.kwargs)))

    def __reduce__(self) -> tuple[type[Call], tuple[Any, ...]]:
        return Call, (self.args, dict(self.kwargs))

    def __repr__(self) -> str:
        return f"call({', '.join([*map(repr, self.args), *(f'{k}={v!r}' for k, v in self.kwargs.items())])})"


def call(*args: Any, **kwargs: Any) -> Call:
    """The inputs of a model that takes some by position and some by keyword, as its forward is called.

    Each argument is what ``costmodel.profile`` takes as one input: a shape, a tensor, an ``Input``, a nest of those, or
    a value that the forward takes as it is, which a list of integers is as ``costmodel.Value([7, 7])``.

    >>> call((2, 8), memory=Input((2, 4, 8)), causal=True)
    call((2, 8), memory=Input(shape=(2, 4, 8), dtype=torch.float32), causal=True)
    """
    return Call(args, kwargs)


_SHAPE = r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\(\)|\d+(?:\s*[,x×]\s*\d+)*,?)(?::(?P<dtype>\w+))?"
_SIZES = r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\w+(?:\s*,\s*\w+)*,?)(?::(?P<dtype>\w+))?"


def read_inputs(texts: list[str] | None, *, named_sizes: bool = False) -> Any:
    """Inputs as a command line has them, as ``costmodel.profile`` takes them, or ``costmodel.scaling`` with names.

    >>> read_inputs(["1,3,8,8"]), read_inputs(["a=1,3", "b=2x4"]), read_inputs(None)
    ((1, 3, 8, 8), {'a': (1, 3), 'b': (2, 4)}, None)
    >>> read_inputs(["B,3,H,H"], named_sizes=True)
    ('B', 3, 'H', 'H')
    """
    if not texts:
        return None
    read = [_read_input(text, named_sizes=named_sizes) for text in texts]
    values = [value for name, value in read if name is None]
    named = {name: value for name, value in read if name is not None}
    if len(values) + len(named) < len(read):
        raise InputError("an input is given twice by keyword: give each keyword once")
    if values and named:
        return Call(tuple(values), named)
    return named or (values[0] if len(values) == 1 else tuple(values))


def _read_input(text: str, *, named_sizes: bool) -> tuple[str | None, Any]:
    match = re.fullmatch(_SIZES if named_sizes else _SHAPE, text.strip())
    if match is None:
        wanted = "B,3,H,H or B,S:int64" if named_sizes else "1,3,224,224 or 1,128:int64 or name=1,128:int64"
        raise InputError(f"the input {text!r} is not a shape; write {wanted}")
    sizes = re.findall(r"\w+" if named_sizes else r"\d+", match["shape"])
    shape = tuple(int(n) if n.isdecimal() else n for n in sizes)
    if match["dtype"] is None:
        return match["name"], shape or Input(())
    try:
        return match["name"], Input(shape, dtype_of(match["dtype"]))
    except InputError as error:
        raise InputError(f"the input {text!r}: {error}") from error
