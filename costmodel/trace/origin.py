"""Tensors that something outside torch has made, whose work a trace cannot see."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from costmodel.trace.traced_tensor import TracedTensor
from costmodel.trace.wrapped import is_wrapper


def is_made_elsewhere(tensor: torch.Tensor, modules: Sequence[nn.Module], *, is_lifted: bool) -> bool:
    """Whether a tensor that no op made has memory of another library's, and came about during the trace.

    What torch makes of Python's numbers (``torch.tensor([1, 2])``) is lifted, and in memory of torch's own, which can
    be resized; that of NumPy, DLPack, a buffer of Python's or another library cannot. What lies in torch's memory and
    was not lifted is of another thread, or of a kernel. A single number is no work; and what the model holds in arrays
    was there before, as were the constants of torch.jit's modules, which come as new objects.
    """
    if tensor.layout is not torch.strided or tensor.numel() < 2:
        return False
    try:
        storage = tensor.untyped_storage()
    except RuntimeError:  # a tensor that wraps another, as torch.func's do
        return False
    if storage.resizable():
        # A new parameter is on memory that an op made; parts of distributed tensors come to light unlifted, too.
        is_plain = type(tensor) in (torch.Tensor, TracedTensor) and not any(map(_makes_tensors_unseen, modules))
        return not is_lifted and is_plain and _is_new(tensor)
    return _is_new(tensor) and not _lies_in(storage.data_ptr(), _arrays_of(modules))


def note_on(tensor: torch.Tensor) -> str:
    """What is not counted of it."""
    return (
        f"a tensor {tuple(tensor.shape)} was made where the trace cannot see, by NumPy, another thread or a kernel; "
        f"the work that made it is not counted"
    )


def _makes_tensors_unseen(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return True
    return any(is_wrapper(type(parameter)) for parameter in module.parameters(recurse=False))


def _is_new(tensor: torch.Tensor) -> bool:
    # A trace begins with none but old objects (``gc_paused``), and none grows old while it runs.
    return any(found is tensor for found in gc.get_objects(generation=0))


def _arrays_of(modules: Iterable[nn.Module]) -> Iterator[np.ndarray[Any, Any]]:
    for module in modules:
        for value in vars(module).values():
            held = value if isinstance(value, (list, tuple)) else value.values() if type(value) is dict else [value]
            for item in held:
                if isinstance(item, np.ndarray):
                    yield item


def _lies_in(address: int, arrays: Iterable[np.ndarray[Any, Any]]) -> bool:
    return any(array.ctypes.data <= address < array.ctypes.data + array.nbytes for array in arrays)
