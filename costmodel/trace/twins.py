"""Twins: tensors of the trace's own that stand for parameters, so that nothing of a training step reaches the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import nn

from costmodel.torch_private import hooks_after_accumulation, hooks_on_gradient, no_torch_function, registered_on
from costmodel.trace.tensor_meta import TENSOR_METAS
from costmodel.trace.tensor_table import LAZY, TensorTable
from costmodel.trace.traced_tensor import TracedTensor
from costmodel.trace.wrapped import is_wrapper


class TracedParameter(TracedTensor):
    """A parameter on meta, for those who ask: ``isinstance(x, torch.nn.Parameter)``."""

    _is_param = True
    __torch_function__ = no_torch_function


Replaced: TypeAlias = list[tuple[dict[str, Any], str, torch.Tensor]]
"""Where parameters were, and which."""


def replace_parameters(modules: Iterable[nn.Module], table: TensorTable, *, real: bool) -> Replaced:
    """Gives modules twins of their parameters, which require a gradient where those do; ``put_back`` ends that.

    Shared parameters have one twin. On meta a twin has no values, in a real run it is a copy. Lazy parameters, which
    are of the trace already, and those of classes that are made of other tensors, stay as they are.

    Hooks on gradients run on the twins' gradients. Those that run once a gradient is accumulated do not, and a note
    says so: the optimizer that they step, or what they look up by the parameter, has the model's own parameters.
    """
    not_run: list[str] = []
    replaced: Replaced = []
    twins: dict[int, torch.Tensor] = {}
    for module in modules:
        parameters = registered_on(module)[0]
        for name, parameter in parameters.items():
            if parameter is None or type(parameter) in LAZY or is_wrapper(type(parameter)):
                continue
            if id(parameter) not in twins:
                twin = twins[id(parameter)] = _twin(parameter, table, real)
                if twin.requires_grad:
                    for hook in (hooks_on_gradient(parameter) or {}).values():
                        twin.register_hook(hook)
                    if hooks_after_accumulation(parameter):
                        not_run.append(table.spec(twin).name)
            parameters[name] = twins[id(parameter)]
            replaced.append((parameters, name, parameter))
    if not_run:
        table.log.add_note(
            f"hooks of register_post_accumulate_grad_hook are not run, as they act on the model's own parameters "
            f"({len(not_run)} have one, {not_run[0]!r} first): an optimizer's step in them is not counted"
        )
    return replaced


def put_back(replaced: Replaced) -> None:
    """Gives modules their own parameters: ``restored``, which does it after an error, takes ten times as long."""
    for parameters, name, parameter in replaced:
        parameters[name] = parameter


def _twin(parameter: torch.Tensor, table: TensorTable, real: bool) -> torch.Tensor:
    spec = table.spec(parameter)
    twin: torch.Tensor
    if real:
        twin = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
    else:
        twin = torch.empty_strided(parameter.shape, parameter.stride(), dtype=parameter.dtype, device="meta")
        twin.__class__ = TracedParameter
        twin.requires_grad_(parameter.requires_grad)
        # Ops on it are cached as ops on any tensor without values.
        spec.meta = TENSOR_METAS[spec.shape, spec.dtype, spec.sparse or spec.strides, "activation"]
    table.bind(twin, spec)
    return twin


def learnt(modules: Iterable[nn.Module]) -> Iterator[torch.Tensor]:
    """The parameters that require a gradient, each once."""
    seen: set[int] = set()
    for module in modules:
        for parameter in registered_on(module)[0].values():
            if parameter is not None and parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter
