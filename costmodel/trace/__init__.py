"""Traces one forward pass into a ``Graph``, on meta tensors. The model is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from costmodel.default_inputs import default_inputs
from costmodel.errors import CostModelError, ForwardError, InputError, NeedsValuesError
from costmodel.graph import Graph, tensors_in
from costmodel.inputs import dtype_of
from costmodel.ops import versions
from costmodel.ops.defaults import default_float_is
from costmodel.torch_private import autocast_nesting, below_autograd, without_modes
from costmodel.trace.calls import Calls, Capture
from costmodel.trace.cast import cast_model
from costmodel.trace.events import EventLog
from costmodel.trace.executor import Executor
from costmodel.trace.inputs import arguments, record_of
from costmodel.trace.isolation import gc_paused, model_restored, one_at_a_time, plain_eager, rng_restored, training_mode
from costmodel.trace.lazy import materialised
from costmodel.trace.meta_executor import MetaExecutor
from costmodel.trace.modules import register_module_tree
from costmodel.trace.real_executor import RealExecutor, clone_buffers, make_real
from costmodel.trace.recorder import Recorder
from costmodel.trace.specs import DTYPE_NAME, copy_as_laid_out, map_tensors, twin_on_meta
from costmodel.trace.target import Target, target_of
from costmodel.trace.tensor_meta import new_on_meta
from costmodel.trace.tensor_table import TensorTable

__all__ = ["Execution", "Mode", "trace"]

versions.running(torch.__version__)

Mode = Literal["eval", "train"]
Execution = Literal["auto", "meta", "real"]
MakeExecutor: TypeAlias = Callable[[TensorTable, str], Executor]
"""Takes the trace's tensors and the type of device that the model is on."""


def trace(
    model: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    mode: Mode = "eval",
    execution: Execution = "auto",
    dtype: Any = None,
    capture: Capture = lambda module, given: None,
    executor: MakeExecutor = MetaExecutor,
) -> Graph:
    """The ops and module calls of one forward of ``model``, or of one call where it is a method or a function.

    With a ``dtype``, the model and its floating inputs are taken to be of that. ``capture`` reads off each module that
    was called what the closed forms may know of it. Raises ``ForwardError`` where the model's forward fails,
    ``NeedsValuesError`` with ``execution="meta"`` where it reads a tensor's value.
    """
    target = target_of(model)
    if mode not in ("eval", "train"):
        raise InputError(f"mode is 'eval' or 'train', not {mode!r}")
    if execution not in ("auto", "meta", "real"):
        raise InputError(f"execution is 'auto', 'meta' or 'real', not {execution!r}")
    if inputs is None:
        inputs = default_inputs(target.module)
    as_if = None if dtype is None else dtype_of(dtype)
    if execution == "real":
        return _run(target, inputs, mode, as_if, capture, RealExecutor, "asked for")
    try:
        return _run(target, inputs, mode, as_if, capture, executor, "")
    except NeedsValuesError as error:
        if execution == "meta":
            raise
        if any(p.is_meta for p in target.module.parameters()):
            raise NeedsValuesError(
                f"{error}. {target.name} lies on the meta device and has no values: build it on the CPU"
            ) from error
        return _run(target, inputs, mode, as_if, capture, RealExecutor, str(error))


@one_at_a_time()
def _run(
    target: Target,
    inputs: Any,
    mode: Mode,
    dtype: torch.dtype | None,
    capture: Capture,
    make_executor: MakeExecutor,
    reason: str,
) -> Graph:
    model = target.module
    log = EventLog()
    table = TensorTable(log)
    modules, tensors = register_module_tree(model, table)
    table.modules = modules
    own = tensors or list(model.parameters())  # those of lazy modules, too
    executor = make_executor(table, own[0].device.type if own else "cpu")
    real = executor.is_real
    with (
        gc_paused(),
        without_modes(),
        model_restored(modules, tensors),
        rng_restored(modules),
        plain_eager(modules),
        default_float_is(DTYPE_NAME[torch.get_default_dtype()]),
        torch.no_grad(),
        training_mode(model, modules, mode == "train"),
        materialised(modules, table, real=real),
    ):
        if dtype is not None:
            cast_model(modules, table, dtype, real=real)
        if real:
            clone_buffers(model, table)
            args, kwargs = arguments(inputs, make_real(model), copy_as_laid_out, own, target.forward, dtype)
        else:
            args, kwargs = arguments(
                inputs,
                lambda shape, dtype: new_on_meta(shape, DTYPE_NAME[dtype]),
                twin_on_meta,
                own,
                target.forward,
                dtype,
            )
        # A real run may hand the modules' dictionaries on, to replicas on other devices.
        calls = Calls(table, capture, () if real else modules)
        recorder = Recorder(table, executor)
        graph = Graph(
            target.name, log,
            tuple(map_tensors(record_of(args), table.add_input)),
            map_tensors(record_of(kwargs), table.add_input),
            None, "real" if real else "meta", mode, reason,
        )  # fmt: skip
        output = None
        try:
            if autocast_nesting():
                torch.clear_autocast_cache()  # casts that a real run made in the same block are none of this trace's
            with calls, below_autograd(), recorder:
                if target.method is None:
                    output = model(*args, **kwargs)
                else:
                    output = calls.enclose(model, target.method, args, kwargs)
            if recorder.needs_values is not None:
                raise recorder.needs_values
            graph.outputs = map_tensors(output, table.spec)
        except CostModelError:
            raise
        except Exception as error:
            if recorder.needs_values is not None:
                raise recorder.needs_values from error
            if not real and _wants_values(error):
                raise NeedsValuesError(f"{_where(calls, model)}: {_first_line(error)}") from error
            raise ForwardError(_explain(calls, model, graph, error)) from error
        finally:
            torch.clear_autocast_cache()  # casts of real weights that were made on meta must not reach a real run
            executor.close()
            table.forget()
            del output, args, kwargs
    return graph


def _wants_values(error: Exception) -> bool:
    """Whether an exception is due to tensors that have no values, or none on their device, and not to the model."""
    if isinstance(error, NotImplementedError):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, TypeError, ValueError, KeyError)) and any(word in text for word in _OF_META)


_OF_META = ("meta", "numpy()", "unallocated storage", "incompatible tensor type", "tensor.__format__", "no fake impl")
"""What torch says where it needs the values of a tensor that has none: in ``tolist()``, in assigning one to a real
tensor's ``data``, in ``f"{tensor:.3f}"``, of an op of the user's without a fake implementation."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _where(calls: Calls, model: nn.Module) -> str:
    broken = calls.broken()
    if not broken:
        return f"in {type(model).__name__}"
    call = broken[-1]
    return f"in layer {call.name!r} ({call.type})" if call.name else f"in {call.type}'s own forward"


def _explain(calls: Calls, model: nn.Module, graph: Graph, error: Exception) -> str:
    broken = calls.broken()
    taken = ", ".join(str(t) for t in tensors_in(broken[-1].args)) if broken else ""
    given = ", ".join(str(t) for t in tensors_in((graph.inputs, graph.kwargs))) or "no tensors"
    return (
        f"the forward of {type(model).__name__} failed {_where(calls, model)}"
        f"{f', which was given {taken}' if taken else ''}: {type(error).__name__}: {_first_line(error)}. "
        f"The model's inputs were {given}; {_remedy(error)}."
    )


def _remedy(error: Exception) -> str:
    text = str(error)
    if "does not require grad" in text:
        return "a forward that differentiates cannot be traced, for ops are seen below autograd"
    if "HigherOrderOperator" in text:
        return "torch's operators that take functions cannot be traced"
    return "pass the shapes that it takes"
