"""``training_step``: traces a step, and returns a ``TrainingStep``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING, Any, TypeAlias

from costmodel.arguments import short
from costmodel.errors import InputError, require_torch
from costmodel.inputs import dtype_of
from costmodel.profiling import require_exact
from costmodel.training.step import TrainingStep

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from costmodel.step_record import StepRecord
    from costmodel.trace import Execution

Loss: TypeAlias = "Callable[[Any], Any]"


def training_step(
    model: nn.Module | Callable[..., Any] | str,
    inputs: Any = None,
    *,
    loss: Loss | None = None,
    optimizer: str | Callable[[Iterable[Tensor]], Optimizer] | None = "adamw",
    autocast: Any = None,
    dtype: Any = None,
    steps: int = 1,
    set_to_none: bool = True,
    strict: bool = False,
    execution: Execution = "auto",
) -> TrainingStep:
    """Traces one training step, and says what it costs: forward, loss, backward and update. The model is not changed.

    Args:
        model: as for ``costmodel.profile``. Parameters that do not require a gradient are not trained.
        inputs: as for ``costmodel.profile``.
        loss: takes the model's output and returns what is differentiated: a tensor of one element, or several.
            ``None``: the output's ``loss`` where it has one, or else the sum of its floating tensors.
        optimizer: ``"sgd"``, ``"momentum"``, ``"adam"``, ``"adamw"``, ``"adagrad"`` or ``"rmsprop"``, a class of
            ``torch.optim`` or what makes an optimizer of parameters, or ``None`` for no update.
        autocast: the dtype of an autocast block around forward and loss, ``"bfloat16"`` or ``torch.bfloat16``.
        dtype: as for ``costmodel.profile``.
        steps: forward and backward passes whose gradients are added up before the update.
        set_to_none: whether gradients are freed before the step, as ``optimizer.zero_grad()`` does; else they stay,
            and are filled with zeros.
        strict: raise where an op has no rule or a figure is a lower bound.
        execution: as for ``costmodel.profile``.

    Figures are those of a step after the first, when the optimizer's state is there. Hooks of ``register_hook`` on
    parameters run, and are counted. Those of ``register_post_accumulate_grad_hook`` do not, as they would act on the
    model itself; the step is then not exact, and ``coverage`` says so.

    Raises what ``costmodel.profile`` raises, and ``InputError`` for an optimizer that has no name here, and where no
    gradient leads from the loss to a parameter.

    >>> from torch import nn
    >>> step = training_step(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (2, 8), optimizer="sgd")
    >>> step.forward.macs, step.backward.macs
    (64, 64)
    """
    require_torch("costmodel.training_step")
    from costmodel.layers.capture import capture
    from costmodel.trace.step import trace_step
    from costmodel.training.optimizers import resolve, update_in_closed_form

    if type(steps) is not int or steps < 1:
        raise InputError(
            f"steps={short(steps)}: a step has one forward and backward pass, or several: give an int from 1"
        )
    optimizer_name, make = resolve(optimizer)
    cast = None if autocast is None else _autocast(autocast)

    def traced(inputs: Any, module: nn.Module | Callable[..., Any]) -> StepRecord:
        record = trace_step(
            module, inputs, loss=loss or _default_loss, optimizer=make, autocast=cast, steps=steps,
            set_to_none=set_to_none, execution=execution, dtype=dtype, capture=capture,
        )  # fmt: skip
        if make is not None and record.updated:
            update = update_in_closed_form(make, record.updated, record.device)
            if update is not None:
                record.update = {name: int(getattr(update, name)) for name in ("flops", "memory_access", "state_bytes")}
        record.optimizer = optimizer_name
        record.loss = "" if loss is None else getattr(loss, "__name__", type(loss).__name__)
        return record

    def step(inputs: Any) -> TrainingStep:
        if isinstance(model, str):
            from costmodel.loading import apply

            return TrainingStep(apply(partial(traced, inputs), model, weights=execution == "real"), model, step)
        record = traced(inputs, model)
        return TrainingStep(record, record.graph.model, step)

    result = step(inputs)
    if strict:
        require_exact(result.whole)
    return result


def _default_loss(output: Any) -> Any:
    """The output's own loss, or the sum of its floating tensors."""
    from costmodel.trace.executor import leaves
    from costmodel.trace.specs import map_tensors

    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if own is not None:
        return own
    found: list[Any] = []
    map_tensors(output, found.append)
    floating = [tensor for tensor in (found or list(leaves(output))) if tensor.is_floating_point()]
    if not floating:
        raise InputError("the output has no floating tensor to differentiate: pass loss=lambda output: ...")
    return reduce(add, [tensor.sum() for tensor in floating])


def _autocast(given: Any) -> Any:
    dtype = dtype_of(given)
    if str(dtype) not in ("torch.bfloat16", "torch.float16"):
        raise InputError(f"autocast={short(given)}: autocast computes in bfloat16 or float16")
    return dtype
