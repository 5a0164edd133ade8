"""Traces the step that a training runs, and says what of it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any

from costmodel.callbacks.like import like
from costmodel.errors import CostModelError, InputError
from costmodel.timing.peaks import OF_CUDA
from costmodel.training import TrainingStep, training_step

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def running_step(
    model: Any, inputs: Any, *, module: nn.Module, optimizer: Optimizer | None, say: Callable[[str], None], **how: Any
) -> TrainingStep:
    """A step of what is called, with an optimizer like the one given, without running the model.

    Of an optimizer that no other can be made like, the update is left out, and it is said.
    """
    if is_sharded(module):
        raise InputError("each process has a part of the parameters alone (FSDP, ZeRO or tensor parallelism)")
    how["execution"] = "meta"
    if optimizer is None:
        return training_step(model, inputs, optimizer=None, **how)
    try:
        return training_step(model, inputs, optimizer=like(optimizer, module), **how)
    except CostModelError as error:
        step = training_step(model, inputs, optimizer=None, **how)  # or it was something else
        say(f"the update is in no figure: {error}")
        return step


@contextmanager
def numbers_assumed(say: Callable[[str], None]) -> Iterator[None]:
    """A step that reads a floating number of a tensor, such as the loss to print it, reads 1.0 where it is traced."""
    from costmodel.trace.traced_tensor import TracedTensor

    thread = get_ident()

    def item(tensor: Any) -> Any:
        if get_ident() != thread or not tensor.is_floating_point():
            return super(TracedTensor, tensor).item()
        say("training_step reads a number of a tensor, for which its trace has 1.0: what depends on it is not known")
        return 1.0

    patched: Any = TracedTensor
    patched.item, patched.__float__ = item, lambda tensor: float(item(tensor))
    try:
        yield
    finally:
        del patched.item, patched.__float__


def is_sharded(module: nn.Module) -> bool:
    """Whether a process has but a part of the parameters."""
    wrappers = ("FSDP", "FullyShardedDataParallel")
    return any(type(child).__name__.startswith(wrappers) for child in module.modules()) or any(
        type(parameter).__name__ in ("DTensor", "FlatParameter") or hasattr(parameter, "ds_id")
        for parameter in module.parameters()
    )


def shapes(batch: Any) -> Hashable:
    """What is the same for batches on which a step costs the same: shapes and dtypes of the tensors in it."""
    return tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors(batch, set()))


def tensors(value: Any, seen: set[int]) -> Iterator[Any]:
    """The tensors in containers and objects, at any depth."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif id(value) not in seen:
        seen.add(id(value))
        inner = value.values() if hasattr(value, "keys") and hasattr(value, "values") else value
        if inner is value and not isinstance(value, list | tuple | set):
            inner = getattr(value, "__dict__", {}).values()
        for item in inner:
            yield from tensors(item, seen)


def device_of(module: nn.Module) -> tuple[str | None, str, str]:
    """Of a module's device: its name here, if it is known; how it computes products of float32; a GPU's own name."""
    import torch

    where = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    if where.type != "cuda":
        return None, "float32", ""
    name = torch.cuda.get_device_name(where)
    return OF_CUDA.get(name), "tf32" if uses_tf32() else "float32", name


def uses_tf32() -> bool:
    """Whether products of float32 tensors on a GPU are computed in TF32, however that was set."""
    import torch

    # torch.get_float32_matmul_precision raises where it was set by these newer names.
    products: Any = torch.backends.cuda.matmul
    setting = getattr(products, "fp32_precision", None)
    if setting is None:
        return bool(products.allow_tf32)
    every: Any = torch.backends
    return bool((every.fp32_precision if setting == "none" else setting) == "tf32")
