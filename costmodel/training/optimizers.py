"""The optimizer of a training step: what a caller may name it by, and the closed form of its update."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeAlias

import torch
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from costmodel import formulas
from costmodel.arguments import short
from costmodel.errors import CostModelError, InputError
from costmodel.formulas import OptimizerCost
from costmodel.graph import TensorSpec
from costmodel.trace.traced_tensor import as_traced, tensors_on

MakeOptimizer: TypeAlias = Callable[[Iterable[torch.Tensor]], Optimizer]
"""Makes an optimizer of these parameters."""

NAMED: Mapping[str, MakeOptimizer] = {
    "sgd": partial(SGD, lr=1e-3),
    "momentum": partial(SGD, lr=1e-3, momentum=0.9),
    "adam": Adam,
    "adamw": AdamW,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
}
"""The optimizers that go by a word, with torch's own settings. What an update costs does not depend on its rate."""

_WITH_A_FORMULA = (SGD, Adam, AdamW, Adagrad, RMSprop)

_REMEDY = "functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)"


def resolve(optimizer: Any) -> tuple[str, MakeOptimizer | None]:
    """The name of an optimizer, and what makes it.

    Args:
        optimizer: a word of ``NAMED``; a class of optimizers, or a ``functools.partial`` of one; a function that takes
            parameters and returns an optimizer; or ``None``, for no update.

    Raises:
        InputError: for anything else. What is returned raises it too, where no optimizer comes of the parameters.

    >>> resolve("adamw")[0], resolve(partial(SGD, lr=0.1, momentum=0.9))[0], resolve(None)
    ('adamw', 'SGD(lr=0.1, momentum=0.9)', ('', None))
    """
    if optimizer is None:
        return "", None
    if isinstance(optimizer, str):
        if optimizer not in NAMED:
            raise InputError(_unknown(optimizer))
        return optimizer, _checked(optimizer, NAMED[optimizer])
    if isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        raise InputError(
            f"optimizer is an instance of {kind}, of your model's own parameters, which a traced step leaves alone: "
            f"pass what makes one, such as functools.partial(torch.optim.{kind}, lr=...)"
        )
    if not callable(optimizer):
        raise InputError(
            f"optimizer={short(optimizer)} makes no optimizer: pass one of {', '.join(NAMED)}, a class of torch.optim, "
            f"such as {_REMEDY}, or None"
        )
    made_of = optimizer.func if isinstance(optimizer, partial) else optimizer
    name = _name(optimizer, made_of)
    if inspect.isclass(made_of) and issubclass(made_of, Optimizer):
        if _needs_closure(made_of):
            raise InputError(_runs_all_itself(name))
    elif inspect.isclass(made_of):
        raise InputError(f"optimizer={name} is no class of optimizers: pass one of torch.optim, such as {_REMEDY}")
    return name, _checked(name, optimizer)


def _runs_all_itself(name: str) -> str:
    return (
        f"optimizer={name}: it runs forward and backward itself, as often as it likes within one step, so that its "
        f"step has no cost of its own: profile a step with another optimizer, or with optimizer=None"
    )


def _unknown(word: str) -> str:
    close = get_close_matches(word.lower(), NAMED, n=1)
    meant = f", did you mean {close[0]!r}" if close else ""
    return (
        f"no optimizer goes by {word!r}{meant}: there are {', '.join(NAMED)}; any other is given as a class of "
        f"torch.optim, such as {_REMEDY}"
    )


def _name(optimizer: Any, made_of: Any) -> str:
    name = getattr(made_of, "__name__", type(made_of).__name__)
    name = "optimizer" if name == "<lambda>" else name
    if not isinstance(optimizer, partial):
        return name
    settings = [*map(short, optimizer.args), *(f"{key}={short(value)}" for key, value in optimizer.keywords.items())]
    return f"{name}({', '.join(settings)})"


def _needs_closure(kind: type[Optimizer]) -> bool:
    closure = inspect.signature(kind.step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _checked(name: str, make: MakeOptimizer) -> MakeOptimizer:
    def made(parameters: Iterable[torch.Tensor]) -> Optimizer:
        try:
            optimizer = make(parameters)
        except CostModelError:
            raise
        except Exception as error:
            raise InputError(
                f"optimizer={name} cannot be made of the model's parameters: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(optimizer, Optimizer):
            raise InputError(
                f"optimizer={name} returned {short(optimizer)}, and no torch.optim.Optimizer: pass a class of "
                f"torch.optim, such as {_REMEDY}, or a function that takes parameters and returns an optimizer"
            )
        if _needs_closure(type(optimizer)):
            raise InputError(_runs_all_itself(type(optimizer).__name__))
        return optimizer

    return made


# -- the closed form -----------------------------------------------------------------------------------------------


def update_in_closed_form(
    make: MakeOptimizer, parameters: Sequence[TensorSpec], device: str = "cpu"
) -> OptimizerCost | None:
    """The cost of an update of parameters that have gradients; ``None`` where no formula covers the optimizer.

    Args:
        make: makes the optimizer. Its class and its settings are read off one that is made of stand-ins.
        parameters: those that have gradients, in the model's order.
        device: the type of device that they are on: torch's choice of an implementation depends on it.

    >>> update_in_closed_form(AdamW, [TensorSpec((8, 8)), TensorSpec((8,))]).state_bytes
    584
    """
    twins = {id(twin): (twin, spec) for spec in parameters for twin in [_stand_in(spec)]}
    with tensors_on(torch.device(device)):
        optimizer = make([twin for twin, _ in twins.values()])
    total = OptimizerCost()
    if any(id(p) not in twins for group in optimizer.param_groups for p in group["params"]):
        return None  # it chooses its parameters itself
    for group in optimizer.param_groups:
        specs = [twins[id(p)][1] for p in group["params"]]
        for dtype in dict.fromkeys(spec.dtype for spec in specs):
            cost = _of_group(type(optimizer), group, [spec for spec in specs if spec.dtype == dtype], device)
            if cost is None:
                return None
            total += cost
    return total


def _stand_in(spec: TensorSpec) -> torch.Tensor:
    return as_traced(torch.empty(spec.shape, dtype=getattr(torch, spec.dtype), device="meta")).requires_grad_()


def _of_group(
    kind: type[Optimizer], group: Mapping[str, Any], specs: Sequence[TensorSpec], device: str
) -> OptimizerCost | None:
    if kind not in _WITH_A_FORMULA:
        return None
    if group.get("capturable") or group.get("differentiable") or specs[0].dtype.startswith("complex"):
        return None
    numbers = [group.get("lr"), group.get("weight_decay"), *group.get("betas", ())]
    if any(isinstance(number, torch.Tensor) for number in numbers):
        return None
    given = {
        "elements": tuple(spec.size for spec in specs),
        "itemsize": specs[0].itemsize,
        "implementation": _implementation(group, device),
        "weight_decay": group["weight_decay"],
        "maximize": group["maximize"],
    }
    if kind is SGD:
        named = ("momentum", "dampening", "nesterov")
        return formulas.sgd(**given, **{name: group[name] for name in named})
    if torch.get_default_dtype() is torch.float64:
        return None  # counters of steps have 64 bits then
    if kind is Adam or kind is AdamW:
        given |= {"beta2": group["betas"][1], "amsgrad": group["amsgrad"]}
        if kind is Adam and not group.get("decoupled_weight_decay"):
            return formulas.adam(**given)
        if not issubclass(AdamW, Adam) and given["implementation"] == "for-loop":
            given["weight_decay"] = 1.0  # torch 2.6 multiplies the weights also where their decay is 0
        return formulas.adamw(**given)
    if kind is Adagrad:
        return formulas.adagrad(**given)
    return formulas.rmsprop(**given, **{name: group[name] for name in ("alpha", "momentum", "centered")})


def _implementation(group: Mapping[str, Any], device: str) -> str:
    """What torch runs: where nothing is asked for, a for-loop on a CPU and lists of tensors on a GPU."""
    if group.get("fused"):
        return "fused"
    is_default = group.get("foreach") is None and group.get("fused") is None
    return "foreach" if group.get("foreach") or (is_default and device in ("cuda", "xpu")) else "for-loop"
