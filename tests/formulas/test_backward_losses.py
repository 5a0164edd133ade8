"""Backward passes of losses, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel import formulas as f
from costmodel.formulas import _functions as fn
from costmodel.formulas._tape import Tape, Tensor, defined
from tests.formulas._backward import assert_same_on_arrays_and_symbols, needs, quantities, real
from tests.formulas.test_backward_layers import rand

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size", "ignore:reduction. 'mean' divides")

REDUCTIONS = ("none", "mean", "sum")
SHAPE = (2, 3, 4)

ELEMENTWISE: dict[str, Callable[..., torch.Tensor]] = {
    "l1": F.l1_loss, "mse": F.mse_loss, "smooth_l1": F.smooth_l1_loss, "huber": F.huber_loss,
    "soft_margin": F.soft_margin_loss, "hinge_embedding": F.hinge_embedding_loss, "kl_div": F.kl_div,
    "kl_div_log_target": lambda x, t, reduction: F.kl_div(x, t, reduction=reduction, log_target=True),
}  # fmt: skip
NO_TARGET = {"soft_margin", "hinge_embedding"}
"""Torch has no gradient of the target there."""


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("target", [SHAPE, (4,)], ids=str)
@pytest.mark.parametrize("name", sorted(f.LOSSES))
def test_losses_of_pairs(name: str, target: tuple[int, ...], reduction: str, wanted: dict[str, Any]) -> None:
    """Of the predictions, of the targets, and of both."""
    if (wanted["inputs"][1] and name in NO_TARGET) or (reduction == "batchmean" and "kl_div" not in name):
        return
    if name == "soft_margin" and target != SHAPE:
        return  # torch's kernel of the gradient does not broadcast
    cost = f.elementwise_loss(name=name, shape=SHAPE, target=target, reduction=reduction).backward(**wanted)
    found = real(
        lambda x, t: ELEMENTWISE[name](x, t, reduction=reduction), [rand(*SHAPE), rand(*target)], wanted=wanted
    )
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("logits", "weight", "pos_weight"),
    [
        (False, None, None), (False, (4,), None), (True, None, None), (True, (4,), None), (True, None, (4,)),
        (True, SHAPE, (4,)),
    ],
)  # fmt: skip
def test_binary_cross_entropy(
    logits: bool, weight: Any, pos_weight: Any, reduction: str, wanted: dict[str, Any]
) -> None:
    """Of probabilities and of logits, weighted and not."""
    given = {"weight": weight, "pos_weight": pos_weight}
    cost = f.binary_cross_entropy(shape=SHAPE, logits=logits, reduction=reduction, **given).backward(**wanted)

    def run(x: Any, t: Any, w: Any, p: Any) -> torch.Tensor:
        if logits:
            return F.binary_cross_entropy_with_logits(x, t, w, pos_weight=p, reduction=reduction)
        return F.binary_cross_entropy(x, t, w, reduction=reduction)

    buffers = [None if shape is None else rand(*shape) for shape in (weight, pos_weight)]
    found = real(run, [rand(*SHAPE), rand(*SHAPE)], buffers=buffers, wanted=wanted)
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("log_input", [False, True])
def test_poisson_nll_loss(log_input: bool, full: bool, reduction: str, wanted: dict[str, Any]) -> None:
    """Stirling's approximation is of the target alone."""
    cost = f.poisson_nll_loss(shape=SHAPE, log_input=log_input, full=full, reduction=reduction).backward(**wanted)
    found = real(
        lambda x, t: F.poisson_nll_loss(x, t, log_input, full, reduction=reduction),
        [rand(*SHAPE), rand(*SHAPE)],
        wanted=wanted,
    )
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("var", [SHAPE, (2, 3, 1), None], ids=str)
@pytest.mark.parametrize("full", [False, True])
def test_gaussian_nll_loss(full: bool, var: Any, reduction: str, wanted: dict[str, Any]) -> None:
    """Means, targets and variances, of which a number has no gradient."""
    if var is None:
        if not any(wanted["inputs"][:2]):
            return
        wanted = {**wanted, "inputs": wanted["inputs"][:2]}
    cost = f.gaussian_nll_loss(
        shape=SHAPE, var=var, var_is_number=var is None, full=full, reduction=reduction
    ).backward(**wanted)
    tensors = [rand(*SHAPE), rand(*SHAPE), *([] if var is None else [rand(*var) + 1])]
    found = real(
        lambda x, t, v=1.0: F.gaussian_nll_loss(x, t, v, full=full, reduction=reduction), tensors, wanted=wanted
    )
    assert quantities(cost) == found.quantities()


def _sum_of_itself_twice(k: Tape, shape: tuple[int, ...]) -> Tensor:
    y = fn.exp(k, k.input(shape))
    return fn.add(k, fn.total(k, y), fn.total(k, y))


def test_gradients_that_are_added_up_lie_in_memory() -> None:
    """Those of two sums are each one number, expanded; their sum has an element for each position."""
    wanted = {"inputs": True, "weight": True, "bias": True}
    found = real(lambda x: (y := x.exp()).sum() + y.sum(), [rand(3, 4)], wanted=wanted)
    assert quantities(defined(_sum_of_itself_twice, (3, 4)).backward()) == found.quantities()


CALLS: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    *((f.elementwise_loss, {"name": name, "shape": (2, 8), "target": (8,)}) for name in f.LOSSES),
    (f.binary_cross_entropy, {"shape": (2, 8), "weight": (8,)}),
    (f.binary_cross_entropy, {"shape": (2, 8), "logits": True, "weight": (8,), "pos_weight": (8,)}),
    (f.poisson_nll_loss, {"shape": (2, 8), "full": True}),
    (f.gaussian_nll_loss, {"shape": (2, 8), "var": (8,), "full": True}),
)


@pytest.mark.parametrize(("formula", "arguments"), CALLS)
def test_arrays_and_symbols(formula: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Backward passes are functions of counts, whatever those are."""
    for wanted in ({"inputs": True}, {"inputs": (True, False, False)}):
        assert_same_on_arrays_and_symbols(formula, arguments, wanted)
