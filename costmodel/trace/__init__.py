"""Traces one forward pass into a ``Graph``, on meta tensors. The model is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from costmodel.errors import InputError
from costmodel.graph import Graph
from costmodel.inputs import dtype_of
from costmodel.machine import available_memory
from costmodel.trace.calls import Capture
from costmodel.trace.failure import Failure
from costmodel.trace.forward import Attempt, MakeExecutor, MakeRecorder, Mode, Program, run
from costmodel.trace.meta_executor import MetaExecutor
from costmodel.trace.target import Target, target_of

__all__ = ["Execution", "Mode", "trace"]


Execution = Literal["auto", "meta", "real"]


def trace(
    model: nn.Module | Callable[..., Any],
    inputs: Any,
    *,
    mode: Mode = "eval",
    execution: Execution = "auto",
    dtype: Any = None,
    capture: Capture = lambda module, given, called, output: None,
    executor: MakeExecutor = MetaExecutor,
    program: Program | None = None,
    recorder: MakeRecorder | None = None,
    autograd: bool = False,
) -> Graph:
    """The ops and module calls of one forward of ``model``, or of one call where it is a method or a function.

    A ``program`` runs more than that, such as a training step, and a ``recorder`` may note more of each op. With
    ``autograd`` it records the forward, as it does otherwise where the forward fails without. With a ``dtype``, the
    model and its floating inputs are taken to be of that. ``capture`` reads off each module that was
    called what the closed forms may know of it. Raises ``ForwardError`` where the model's forward fails,
    ``NeedsValuesError`` with ``execution="meta"`` where it reads a tensor's value.
    """
    target = target_of(model)
    if mode not in ("eval", "train"):
        raise InputError(f"mode is 'eval' or 'train', not {mode!r}")
    if execution not in ("auto", "meta", "real"):
        raise InputError(f"execution is 'auto', 'meta' or 'real', not {execution!r}")
    if inputs is None:
        from costmodel.default_inputs import default_inputs

        inputs = default_inputs(target.module, outputs_of)
    as_if = None if dtype is None else dtype_of(dtype)

    def attempt(way: Attempt) -> Graph:
        way = replace(way, autograd=autograd or way.autograd)
        try:
            return run(target, inputs, mode, as_if, capture, way)
        except Failure as failure:
            if not failure.wants_gradient or way.autograd:
                raise
        return attempt(replace(way, autograd=True))

    if execution == "real":
        try:
            return attempt(Attempt(_real_executor(), reason="asked for", program=program, recorder=recorder))
        except Failure as failure:
            raise failure.error() from failure.cause
    try:
        return attempt(Attempt(executor, program=program, recorder=recorder))
    except Failure as failure:
        first = failure
    if first.wants_values and first.could_have_values:
        try:
            return attempt(Attempt(executor, integers_are_zeros=True, program=program, recorder=recorder))
        except Failure as failure:
            first = failure
    why_not = "" if execution == "meta" else _why_no_real_run(target, first)
    if execution == "meta" or why_not:
        raise first.error(why_not) from first.cause
    try:
        return attempt(Attempt(_real_executor(), reason=first.reason, program=program, recorder=recorder))
    except Failure as failure:
        # Where it fails for real as it did before, rules say better why than torch's kernels.
        told = first if first.is_confirmed_by(failure) else failure
        raise told.error() from told.cause


def _real_executor() -> MakeExecutor:
    from costmodel.trace.real_executor import RealExecutor

    return RealExecutor


def outputs_of(method: Callable[..., Any], inputs: Any) -> Any:
    """What a method of a model returns, records in the place of tensors."""
    return trace(method, inputs).outputs


def _why_no_real_run(target: Target, failure: Failure) -> str:
    """Why a forward that fails without values cannot be tried with them; nothing, where it can."""
    if any(p.is_meta for p in target.module.parameters()):
        return f"{target.name} lies on the meta device and has no values: build it on the CPU"
    memory = available_memory()
    if failure.needed_bytes > memory:
        return (
            f"A real run was not tried: its tensors take {failure.needed_bytes / 2**30:,.1f} GiB and more, and this "
            f"machine has {memory / 2**30:,.1f} GiB free"
        )
    return ""
