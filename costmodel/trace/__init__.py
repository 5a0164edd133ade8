"""torch in, ``Graph`` out: what a model runs, read without computing anything and without touching the model."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from costmodel.errors import CostModelError, ForwardError, InputError, NeedsValuesError
from costmodel.graph import Graph, tensors_in
from costmodel.ops import versions
from costmodel.ops.defaults import default_float_is
from costmodel.trace.autocast import Autocast, AutocastSeenError
from costmodel.trace.calls import Calls, Capture
from costmodel.trace.forms import new_on_meta
from costmodel.trace.inputs import Input, arguments, asked_of
from costmodel.trace.keep import garbage_kept, mode_set, model_kept, one_at_a_time, plain_eager, randomness_kept
from costmodel.trace.modules import survey
from costmodel.trace.real import RealRecorder, buffers_cloned, make_real
from costmodel.trace.recorder import Recorder, below_autograd
from costmodel.trace.specs import DTYPE_NAME, map_tensors, twin_on_meta

__all__ = ["Execution", "Input", "Mode", "asked_of", "trace"]

versions.running(torch.__version__)

Mode = Literal["eval", "train"]
Execution = Literal["auto", "meta", "real"]


def trace(
    model: nn.Module,
    inputs: Any,
    *,
    mode: Mode = "eval",
    execution: Execution = "auto",
    capture: Capture = lambda module, given: None,
    recorder: Recorder | None = None,
) -> Graph:
    """The ops and module calls of one forward of ``model``.

    ``capture`` takes, after each module call, what the closed forms may know of it. Raises ``ForwardError`` where
    the model's forward fails, ``NeedsValuesError`` with ``execution="meta"`` where it asks for a tensor's value.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"costmodel prices a torch.nn.Module, not {type(model).__name__}: {model!r:.80}")
    if mode not in ("eval", "train"):
        raise InputError(f"mode is 'eval' or 'train', not {mode!r}")
    if execution not in ("auto", "meta", "real"):
        raise InputError(f"execution is 'auto', 'meta' or 'real', not {execution!r}")
    if inputs is None:
        inputs = asked_of(model)
    if execution == "real":
        return _run(model, inputs, mode, capture, RealRecorder(), "asked for")
    recorder = recorder or Recorder()
    try:
        try:
            return _run(model, inputs, mode, capture, recorder, "")
        except AutocastSeenError:
            recorder = type(recorder)()
            recorder.autocast = Autocast(model)
            return _run(model, inputs, mode, capture, recorder, "")
    except NeedsValuesError as error:
        if execution == "meta":
            raise
        if any(p.is_meta for p in model.parameters()):
            raise NeedsValuesError(
                f"{error}. {type(model).__name__} lies on the meta device and has no values: build it on the CPU"
            ) from error
        return _run(model, inputs, mode, capture, RealRecorder(), str(error))


@one_at_a_time()
def _run(model: nn.Module, inputs: Any, mode: Mode, capture: Capture, recorder: Recorder, reason: str) -> Graph:
    real = isinstance(recorder, RealRecorder)
    modules, tensors = survey(model, recorder)
    recorder.modules = modules
    with (
        garbage_kept(),
        _disable_current_modes(),  # the caller's, which would see other ops, or make tensors of another kind
        model_kept(modules, tensors),
        randomness_kept(modules),
        plain_eager(modules),
        default_float_is(DTYPE_NAME[torch.get_default_dtype()]),
        torch.no_grad(),
        mode_set(model, modules, mode == "train"),
    ):
        if isinstance(recorder, RealRecorder):
            buffers_cloned(model, recorder)
            args, kwargs = arguments(inputs, make_real(model), lambda t: t.detach().clone(), tensors)
        else:
            recorder.home = tensors[0].device.type if tensors else "cpu"  # where the model takes its inputs
            args, kwargs = arguments(
                inputs,
                lambda shape, dtype: new_on_meta(shape, DTYPE_NAME[dtype]),
                twin_on_meta,
                tensors,
            )
        # A real run may hand the modules' dictionaries on, to replicas on other devices.
        calls = Calls(recorder, capture, () if real else modules)
        graph = Graph(
            type(model).__name__, recorder.tape,
            tuple(map_tensors(args, recorder.know_input)),
            map_tensors(kwargs, recorder.know_input),
            None, "real" if real else "meta", mode, reason,
        )  # fmt: skip
        output = None
        try:
            with calls, below_autograd(), recorder.autocast or nullcontext(), recorder:
                output = model(*args, **kwargs)
            if recorder.wanted is not None:
                raise recorder.wanted
            graph.outputs = map_tensors(output, recorder.spec)
        except CostModelError:
            raise
        except Exception as error:
            if recorder.wanted is not None:
                raise recorder.wanted from error
            if not real and _wants_values(error):
                raise NeedsValuesError(f"{_where(calls, model)}: {_first_line(error)}") from error
            raise ForwardError(_explain(calls, model, graph, error)) from error
        finally:
            torch.clear_autocast_cache()  # casts of real weights that were made on meta must not reach a real run
            recorder.forget()
            del output, args, kwargs
    return graph


def _wants_values(error: Exception) -> bool:
    """Whether an exception comes of tensors having no values, or none on their device, rather than of the model."""
    if isinstance(error, NotImplementedError):
        return True
    text = str(error).lower()
    return isinstance(error, (RuntimeError, TypeError, ValueError, KeyError)) and any(word in text for word in _OF_META)


_OF_META = ("meta", "numpy()", "unallocated storage", "incompatible tensor type", "tensor.__format__", "no fake impl")
"""What torch says where a tensor without values is asked for them: of ``tolist()``, of assigning one to a real tensor's
``data``, of ``f"{tensor:.3f}"``, of an op of the user's without a fake implementation."""


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
