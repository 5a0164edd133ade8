"""Layers whose parameters are not those of their class are traced only: no formula covers what computes them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import costmodel
from tests._layer_types import TYPES
from tests.test_layers import LAYER_CASES, TOKENS
from tests.test_loss_layers import LOSS_CASES

CASES = {
    type(model).__name__: (model, inputs)
    for model, inputs in (*LAYER_CASES, *LOSS_CASES)
    if type(model) in TYPES and any(True for _ in model.parameters())
}
"""One of each type that has parameters."""

OTHERS = {
    "MultiheadAttention of one width": (nn.MultiheadAttention(5, 1, add_bias_kv=True), (TOKENS,) * 3),
    "MultiheadAttention of equal widths": (nn.MultiheadAttention(8, 2, kdim=6, vdim=6), ((4, 3, 8), *((4, 3, 6),) * 2)),
    "GRU of two directions": (nn.GRU(5, 7, 2, bidirectional=True), TOKENS),
}


class Same(nn.Module):
    """A parametrisation that changes nothing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1


def as_buffer(owner: nn.Module, name: str) -> None:
    """A buffer stands in the parameter's place."""
    value = getattr(owner, name).data
    delattr(owner, name)
    owner.register_buffer(name, value)


def as_attribute(owner: nn.Module, name: str) -> None:
    """A tensor that is not registered stands in the parameter's place."""
    value = getattr(owner, name).data
    delattr(owner, name)
    setattr(owner, name, value)


CHANGES: dict[str, Callable[[nn.Module, str], Any]] = {
    "pruned": lambda owner, name: prune.random_unstructured(owner, name, 0.3),
    "parametrised": lambda owner, name: parametrize.register_parametrization(owner, name, Same()),
    "weight-normed by a hook": lambda owner, name: nn.utils.weight_norm(owner, name),
    "a buffer": as_buffer,
    "an attribute": as_attribute,
    "one more": lambda owner, name: owner.register_parameter(f"{name}_more", nn.Parameter(torch.ones(3))),
}


def owned(model: nn.Module) -> Iterator[tuple[str, str, nn.Parameter]]:
    """The module that holds each parameter, by its path, and the parameter's name in it."""
    for path, parameter in model.named_parameters():
        owner, _, name = path.rpartition(".")
        yield owner, name, parameter


def is_traced_only(model: nn.Module, inputs: Any) -> bool:
    """Whether a lone layer runs, and has no closed form."""
    found = costmodel.crosscheck(model, inputs)
    return not found.checked and bool(found.traced_only) and found.unchecked_because.startswith("no formula covers")


# torch has a newer weight_norm, and a copy of a GRU with a weight that is not registered is no longer one chunk.
@pytest.mark.filterwarnings("ignore:.*weight_norm", "ignore:RNN module weights", "ignore:Using padding=.same.")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_a_parameter_that_is_not_as_the_class_registers_it_is_no_false_alarm(case: str, change: str) -> None:
    """Each parameter of each type in turn: computed by a hook or in the forward, or registered as something else."""
    model, inputs = (CASES | OTHERS)[case]
    for path, name, parameter in owned(model):
        if change == "weight-normed by a hook" and parameter.ndim < 2:
            continue  # torch takes the norm along the others
        changed = copy.deepcopy(model)
        CHANGES[change](changed.get_submodule(path), name)
        assert is_traced_only(changed, inputs), (path, name)


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_a_layer_without_any_parameter_of_its_class_is_no_false_alarm(case: str) -> None:
    """All are buffers, as in a frozen layer."""
    model, inputs = (CASES | OTHERS)[case]
    frozen = copy.deepcopy(model)
    for path, name, _ in owned(model):
        as_buffer(frozen.get_submodule(path), name)
    assert is_traced_only(frozen, inputs)


@pytest.mark.parametrize("case", [*CASES, *OTHERS])
def test_a_parameter_that_is_registered_twice_in_a_layer_is_no_false_alarm(case: str) -> None:
    """Each pair of parameters of one shape is made one: the layer holds fewer than a formula says."""
    model, inputs = (CASES | OTHERS)[case]
    every = list(owned(model))
    for at, (path, name, parameter) in enumerate(every):
        for other_path, other_name, other in every[at + 1 :]:
            if other.shape != parameter.shape:
                continue
            tied = copy.deepcopy(model)
            shared = getattr(tied.get_submodule(path), name)
            setattr(tied.get_submodule(other_path), other_name, shared)
            assert is_traced_only(tied, inputs), (name, other_name)


@pytest.mark.parametrize("normed", [parametrizations.spectral_norm, parametrizations.orthogonal])
@pytest.mark.parametrize(("model", "name"), [
    (nn.GRU(5, 5), "weight_hh_l0"), (nn.LSTMCell(5, 5), "weight_ih"), (nn.MultiheadAttention(5, 1), "in_proj_weight"),
], ids=["GRU", "LSTMCell", "MultiheadAttention"])  # fmt: skip
def test_torchs_own_parametrisations_are_no_false_alarm(normed: Any, model: nn.Module, name: str) -> None:
    """Norms by a power iteration, and orthogonal matrices."""
    inputs = {nn.GRU: TOKENS, nn.LSTMCell: (3, 5), nn.MultiheadAttention: (TOKENS,) * 3}[type(model)]
    assert is_traced_only(normed(copy.deepcopy(model), name), inputs)


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("hidden", [False, True])
def test_operations_of_hooks_before_a_layer_are_no_false_alarm(hidden: bool, execution: Any) -> None:
    """What a hook of the layer's own runs counts as the layer's; one that runs nothing leaves it derived twice."""

    class Holds(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.layers = [layer] if hidden else nn.ModuleList([layer])

        def forward(self, x: torch.Tensor) -> Any:
            return self.layers[0](x)

    def looks(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        given[0].abs().max()

    model = Holds(nn.Linear(5, 7))
    handle = model.layers[0].register_forward_pre_hook(looks)
    found = costmodel.crosscheck(model, TOKENS, execution=execution)
    assert (found.checked, found.mismatches) == (0, [])
    handle.remove()
    model.layers[0].register_forward_pre_hook(lambda *_: None)
    found = costmodel.crosscheck(model, TOKENS, execution=execution)
    # The hooks of a module that the model hides are seen to be there, and not what they run.
    assert (found.checked, found.mismatches) == (0 if hidden else 1, [])
    assert len(model.layers[0]._forward_pre_hooks) == 1
