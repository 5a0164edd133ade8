"""Backward passes of losses of classes, of margins and of sequences, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from costmodel import formulas as f
from tests.formulas._backward import assert_same_on_arrays_and_symbols, needs, quantities, real
from tests.formulas.test_backward_layers import rand

REDUCTIONS = ("none", "mean", "sum")
OF_SCORES = {"inputs": (True, False), "weight": False, "bias": False}
SIZES = ((), (4,), (4, 5), (2, 3, 2))


def indices(*shape: int) -> torch.Tensor:
    """Classes, all of them the first."""
    return torch.zeros(shape, dtype=torch.int64)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
def test_nll_loss(batch: tuple[int, ...], size: tuple[int, ...], weight: bool, reduction: str) -> None:
    """One number at each target, and zeros."""
    if size and not batch:
        return
    cost = f.nll_loss(classes=3, batch=batch, size=size, weight=weight, reduction=reduction).backward(**OF_SCORES)
    found = real(
        lambda x, t, w: F.nll_loss(x, t, w, reduction=reduction),
        [rand(*batch, 3, *size), indices(*batch, *size)], buffers=[rand(3) if weight else None], wanted=OF_SCORES,
    )  # fmt: skip
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("batch", [(), (2,)], ids=str)
def test_cross_entropy_of_indices(
    batch: tuple[int, ...], size: tuple[int, ...], weight: bool, smoothing: float, reduction: str
) -> None:
    """Through the negative log-likelihood and the log-softmax, and through the loss of a uniform distribution."""
    if size and not batch:
        return
    cost = f.cross_entropy(
        classes=3, batch=batch, size=size, weight=weight, label_smoothing=smoothing, reduction=reduction
    ).backward(**OF_SCORES)
    found = real(
        lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=smoothing, reduction=reduction),
        [rand(*batch, 3, *size), indices(*batch, *size)], buffers=[rand(3) if weight else None], wanted=OF_SCORES,
    )  # fmt: skip
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("size", SIZES[:3], ids=str)
def test_cross_entropy_of_probabilities(
    size: tuple[int, ...], weight: bool, smoothing: float, reduction: str, wanted: dict[str, Any]
) -> None:
    """The probabilities may have a gradient, too."""
    cost = f.cross_entropy(
        classes=3, batch=2, size=size, probabilities=True, weight=weight, label_smoothing=smoothing,
        reduction=reduction,
    ).backward(**wanted)  # fmt: skip
    x = rand(2, 3, *size)
    found = real(
        lambda x, t, w: F.cross_entropy(x, t, w, label_smoothing=smoothing, reduction=reduction),
        [x, x.clone()], buffers=[rand(3) if weight else None], wanted=wanted,
    )  # fmt: skip
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2, weight=True, bias=True)[1:], ids=str)
def test_linear_cross_entropy_is_a_linear_layer_and_its_cross_entropy(wanted: dict[str, Any]) -> None:
    """What flows into the linear layer comes from the loss."""
    if wanted["inputs"][1]:
        return  # of class indices
    cost = f.linear_cross_entropy(in_features=5, classes=3, batch=4, bias=True).backward(**wanted)

    def run(x: Any, t: Any, w: Any, b: Any) -> torch.Tensor:
        return F.cross_entropy(F.linear(x, w, b), t)

    found = real(run, [rand(4, 5), indices(4)], [rand(3, 5)], [rand(3)], wanted=wanted)
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("lengths", [((6, 5), (2, 3)), ((4, 6), (3, 0))], ids=str)
def test_ctc_loss(lengths: tuple[tuple[int, ...], ...], reduction: str, zero_infinity: bool) -> None:
    """The states are visited once more, from the end."""
    cost = f.ctc_loss(
        classes=5, steps=6, input_lengths=lengths[0], target_lengths=lengths[1], padded_to=3, reduction=reduction,
        zero_infinity=zero_infinity,
    ).backward(**OF_SCORES)  # fmt: skip
    found = real(
        lambda x, t: F.ctc_loss(x, t, *lengths, reduction=reduction, zero_infinity=zero_infinity),
        [rand(6, 2, 5).log_softmax(2), indices(2, 3) + 1], wanted=OF_SCORES,
    )  # fmt: skip
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("other", [(4,), (1,)], ids=str)
def test_margin_ranking_loss(other: tuple[int, ...], reduction: str, wanted: dict[str, Any]) -> None:
    """Of two scores and of the target."""
    cost = f.margin_ranking_loss(shape=4, other=other, target=4, reduction=reduction).backward(**wanted)
    found = real(
        lambda a, b, t: F.margin_ranking_loss(a, b, t, reduction=reduction),
        [rand(4), rand(*other), rand(4)],
        wanted=wanted,
    )
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cosine_embedding_loss(reduction: str, wanted: dict[str, Any]) -> None:
    """Both vectors are in all three products."""
    wanted = {**wanted, "inputs": (*wanted["inputs"], False)}
    cost = f.cosine_embedding_loss(features=3, rows=4, reduction=reduction).backward(**wanted)
    found = real(
        lambda a, b, t: F.cosine_embedding_loss(a, b, t, reduction=reduction),
        [rand(4, 3), rand(4, 3), torch.ones(4)],
        wanted=wanted,
    )
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("p", [0.5, 1, 2, 3, float("inf")])
def test_triplet_margin_loss(p: float, swap: bool, wanted: dict[str, Any]) -> None:
    """Through the distances that each vector is in."""
    cost = f.triplet_margin_loss(features=3, rows=4, p=p, swap=swap).backward(**wanted)
    found = real(
        lambda a, b, c: F.triplet_margin_loss(a, b, c, p=p, swap=swap),
        [rand(4, 3), rand(4, 3), rand(4, 3)],
        wanted=wanted,
    )
    assert quantities(cost) == found.quantities()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("batch", [(), (4,)], ids=str)
def test_losses_of_classes_with_margins(batch: tuple[int, ...], reduction: str) -> None:
    """One kernel each."""
    x, weight = rand(*batch, 5), rand(5)
    for p, weighted in ((1, False), (2, True)):
        cost = f.multi_margin_loss(classes=5, batch=batch, p=p, weight=weighted, reduction=reduction)
        found = real(
            lambda x, t, w, p=p: F.multi_margin_loss(x, t, p=p, weight=w, reduction=reduction),
            [x, indices(*batch)], buffers=[weight if weighted else None], wanted=OF_SCORES,
        )  # fmt: skip
        assert quantities(cost.backward(**OF_SCORES)) == found.quantities()
    cost = f.multilabel_margin_loss(classes=5, batch=batch, reduction=reduction)
    found = real(
        lambda x, t: F.multilabel_margin_loss(x, t, reduction=reduction), [x, indices(*batch, 5)], wanted=OF_SCORES
    )
    assert quantities(cost.backward(**OF_SCORES)) == found.quantities()


@pytest.mark.parametrize("wanted", needs(2), ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [False, True])
def test_multilabel_soft_margin_loss(weight: bool, reduction: str, wanted: dict[str, Any]) -> None:
    """Of each class its own."""
    cost = f.multilabel_soft_margin_loss(classes=3, batch=4, weight=weight, reduction=reduction).backward(**wanted)
    found = real(
        lambda x, t, w: F.multilabel_soft_margin_loss(x, t, w, reduction=reduction),
        [rand(4, 3), rand(4, 3)], buffers=[rand(3) if weight else None], wanted=wanted,
    )  # fmt: skip
    assert quantities(cost) == found.quantities()


CALLS: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    (f.nll_loss, {"classes": 5, "batch": 2, "size": (3, 4), "weight": True}),
    (f.cross_entropy, {"classes": 5, "batch": 2, "size": (3, 4), "weight": True, "label_smoothing": 0.1}),
    (f.cross_entropy, {"classes": 5, "batch": 2, "probabilities": True, "weight": True}),
    (f.linear_cross_entropy, {"in_features": 8, "classes": 5, "batch": 2}),
    (f.ctc_loss, {"classes": 5, "steps": 6, "input_lengths": (6, 5), "target_lengths": (2, 3), "padded_to": 4}),
    (f.margin_ranking_loss, {"shape": (2, 8)}),
    (f.cosine_embedding_loss, {"features": 8, "rows": 3}),
    (f.triplet_margin_loss, {"features": 8, "rows": (2, 3), "swap": True}),
    (f.multi_margin_loss, {"classes": 5, "batch": 2, "weight": True}),
    (f.multilabel_margin_loss, {"classes": 5, "batch": 2}),
    (f.multilabel_soft_margin_loss, {"classes": 5, "batch": 2, "weight": True}),
)


@pytest.mark.parametrize(("formula", "arguments"), CALLS)
def test_arrays_and_symbols(formula: Callable[..., Any], arguments: dict[str, Any]) -> None:
    """Backward passes are functions of counts, whatever those are."""
    assert_same_on_arrays_and_symbols(formula, arguments, {"inputs": (True, False, False)}, free_of={"axis"})
