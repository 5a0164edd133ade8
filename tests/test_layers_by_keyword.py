"""A closed form is that of the arguments by their names, in whatever order a call gives them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel.inputs import Call, is_shape
from tests._module_database import Sample, as_it_is, database, samples
from tests.test_layers import LAYER_CASES
from tests.test_loss_layers import LOSS_CASES

GROUPS = 8
"""Tests that the database's entries are dealt out to."""


def backwards(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """The call with all arguments by keyword, the last one first; ``None`` where it takes one argument."""
    names = list(inspect.signature(type(model).forward).parameters)[1:]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return costmodel.call(**dict(reversed(given.items()))) if len(given) > 1 else None


def as_call(inputs: Any) -> Call:
    """The inputs of a case, of which a tuple of shapes is several."""
    if isinstance(inputs, Call):
        return inputs
    is_one = is_shape(inputs) or not isinstance(inputs, (tuple, list))
    return costmodel.call(inputs) if is_one else costmodel.call(*inputs)


def figures(model: nn.Module, call: Call) -> tuple[Any, ...]:
    """What both derivations say."""
    p = costmodel.profile(model, call)
    verdict = p.crosscheck()
    found = [(c.name, c.quantity, c.closed_form, c.traced) for c in verdict.mismatches]
    return verdict.checked, verdict.traced_only, found, p.params, p.macs, p.flops, p.memory_access, p.peak_memory


SEVERAL = [
    (model, call, turned)
    for model, inputs in (*LAYER_CASES, *LOSS_CASES)
    if (turned := backwards(model, (call := as_call(inputs)).args, dict(call.kwargs))) is not None
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("model", "call", "turned"), SEVERAL, ids=[f"{i} {type(model).__name__}" for i, (model, _, _) in enumerate(SEVERAL)]
)
def test_layers_by_keyword(model: nn.Module, call: Call, turned: Call) -> None:
    """The arguments of each tested layer and loss, backwards: the same verdict and the same figures."""
    assert figures(model, turned) == figures(model, call)


def turned_sample(sample: Sample) -> tuple[Call, Call] | None:
    """A sample's call as it is and backwards, where it takes several arguments."""
    args = tuple(map(as_it_is, sample.args))
    turned = backwards(sample.module, args, sample.kwargs)
    return None if turned is None else (costmodel.call(*args, **sample.kwargs), turned)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("group", range(GROUPS))
def test_the_module_database_by_keyword(group: int) -> None:
    """The samples of torch's own module database, backwards: the same verdict and the same figures."""
    different = []
    for entry in database()[group::GROUPS]:
        for sample in samples(entry, "float32", "eval"):
            both = turned_sample(sample)
            try:
                expected = None if both is None else figures(sample.module, both[0])
            except costmodel.CostModelError:
                continue  # test_module_database.py lists those
            if both is not None and figures(sample.module, both[1]) != expected:
                different.append(f"{sample.module}: {both[1]}")
    assert different == []


@pytest.mark.filterwarnings("ignore")
def test_states_by_keyword_before_the_sequence() -> None:
    """Recurrent layers of floating point and of 8 bits, with their states first."""
    from torch.ao.nn.quantized import dynamic

    x, h = torch.zeros(5, 3, 4), torch.zeros(1, 3, 6)
    for layer, hx in ((nn.LSTM(4, 6), (h, h)), (nn.GRU(4, 6), h), (dynamic.LSTM(4, 6), (h, h))):
        verdict = costmodel.crosscheck(layer, costmodel.call(hx=hx, input=x))
        assert (verdict.checked, verdict.mismatches, verdict.traced_only) == (1, [], ())


def test_a_users_closed_form_is_given_the_first_parameter_s_shape() -> None:
    """``register_layer`` passes the shape of the first input of the forward, in whatever order a call gives them."""
    from costmodel.formulas import linear
    from costmodel.layers import USER_LAYERS

    class Scaled(nn.Linear):
        def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return super().forward(x) + 0 * scale.sum()

    shapes = []

    @costmodel.register_layer(Scaled)
    def scaled(module: nn.Module, shape: tuple[int, ...]) -> Any:
        shapes.append(shape)
        return linear(in_features=4, out_features=4, rows=2)

    try:
        costmodel.profile(Scaled(4, 4), costmodel.call(scale=(9,), x=(2, 4)))
    finally:
        del USER_LAYERS[Scaled]
    assert set(shapes) == {(2, 4)}
