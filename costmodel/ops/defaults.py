"""torch's default floating dtype (``torch.get_default_dtype()``), which the trace sets here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FLOAT: ContextVar[str] = ContextVar("default floating dtype", default="float32")


def default_float() -> str:
    """The dtype of new tensors, of Python floats, and of functions of integers.

    >>> default_float()
    'float32'
    """
    return _FLOAT.get()


@contextmanager
def default_float_is(dtype: str) -> Iterator[None]:
    """Within, new tensors have this dtype.

    >>> with default_float_is("bfloat16"):
    ...     default_float()
    'bfloat16'
    """
    token = _FLOAT.set(dtype)
    try:
        yield
    finally:
        _FLOAT.reset(token)
