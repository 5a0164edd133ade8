"""Every loss of torch.nn: both wings agree to the last integer."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import costmodel
from costmodel import Input, Value, call

X, ROWS, MAP = (2, 3, 4), (5, 7), (5, 7, 2, 3)
W, P = torch.rand(7), torch.rand(7)


def of_classes(*shape: int) -> Input:
    """Class indices, or other whole numbers."""
    return Input(shape, torch.int64)


LOSS_CASES: list[tuple[nn.Module, Any]] = [
    (nn.L1Loss(), (X, X)),
    (nn.L1Loss(reduction="none"), (X, X)),
    (nn.L1Loss(), ((5, 1), (1, 7))),
    (nn.MSELoss(reduction="sum"), (X, X)),
    (nn.MSELoss(), (ROWS, (7,))),
    (nn.MSELoss(), (Input(()), Input(()))),
    (nn.SmoothL1Loss(), (X, X)),
    (nn.SmoothL1Loss(beta=0.0), (X, X)),
    (nn.SmoothL1Loss(reduction="none"), (X, X)),
    (nn.HuberLoss(delta=2.0), (X, X)),
    (nn.SoftMarginLoss(), (X, X)),
    (nn.HingeEmbeddingLoss(), (ROWS, (7,))),
    (nn.HingeEmbeddingLoss(margin=0.5, reduction="none"), (X, X)),
    *((nn.KLDivLoss(reduction=r, log_target=log), (ROWS, ROWS))
      for r in ("none", "sum", "mean", "batchmean") for log in (False, True)),
    (nn.KLDivLoss(reduction="batchmean"), ((5, 1), (1, 7))),
    (nn.KLDivLoss(reduction="batchmean"), (Input(()), Input(()))),
    (nn.BCELoss(), (torch.rand(ROWS), torch.rand(ROWS))),
    (nn.BCELoss(weight=W, reduction="none"), (torch.rand(ROWS), torch.rand(ROWS))),
    (nn.BCEWithLogitsLoss(), (X, X)),
    (nn.BCEWithLogitsLoss(pos_weight=P), (ROWS, ROWS)),
    (nn.BCEWithLogitsLoss(weight=torch.rand(5, 1), pos_weight=P, reduction="sum"), (ROWS, ROWS)),
    *((nn.PoissonNLLLoss(log_input=log, full=full), (ROWS, (7,))) for log in (False, True) for full in (False, True)),
    *((nn.GaussianNLLLoss(full=full), (ROWS, ROWS, torch.ones(shape)))
      for shape in (ROWS, (5, 1), (5,)) for full in (False, True)),
    (nn.NLLLoss(), (ROWS, of_classes(5))),
    (nn.NLLLoss(weight=W, reduction="none"), (MAP, of_classes(5, 2, 3))),
    (nn.NLLLoss(weight=W, ignore_index=2), ((5, 7, 4), of_classes(5, 4))),
    (nn.NLLLoss(reduction="none"), ((5, 7, 2, 3, 4), of_classes(5, 2, 3, 4))),
    (nn.NLLLoss(), ((7,), of_classes())),
    *((nn.CrossEntropyLoss(weight=w, label_smoothing=e, reduction=r), (x, t))
      for w in (None, W) for e in (0.0, 0.1) for r in ("none", "mean", "sum") for x, t in (
          (ROWS, of_classes(5)), (MAP, of_classes(5, 2, 3)), ((5, 7, 4), of_classes(5, 4)), ((7,), of_classes()),
          (ROWS, ROWS), ((5, 7, 4), (5, 7, 4)), ((7,), (7,)))),
    (nn.MultiMarginLoss(), (ROWS, of_classes(5))),
    (nn.MultiMarginLoss(p=2, weight=W, reduction="none"), (ROWS, of_classes(5))),
    (nn.MultiMarginLoss(), ((7,), of_classes())),
    (nn.MultiLabelMarginLoss(), (ROWS, of_classes(5, 7))),
    (nn.MultiLabelMarginLoss(reduction="none"), ((7,), of_classes(7))),
    (nn.MultiLabelSoftMarginLoss(), (ROWS, ROWS)),
    (nn.MultiLabelSoftMarginLoss(weight=W, reduction="none"), (ROWS, ROWS)),
    (nn.MultiLabelSoftMarginLoss(), ((7,), (7,))),
    (nn.MarginRankingLoss(margin=0.5), (ROWS, ROWS, (5, 1))),
    (nn.MarginRankingLoss(reduction="none"), ((5,), (5,), (5,))),
    (nn.CosineEmbeddingLoss(), (ROWS, ROWS, (5,))),
    (nn.CosineEmbeddingLoss(margin=0.5, reduction="none"), ((7,), (7,), Input(()))),
    *((nn.TripletMarginLoss(p=p, swap=swap), (ROWS, ROWS, ROWS))
      for p in (1.0, 2.0, 3.0, math.inf) for swap in (False, True)),
    (nn.TripletMarginLoss(reduction="none"), ((7,), (7,), (7,))),
    (nn.TripletMarginWithDistanceLoss(), (ROWS, ROWS, ROWS)),
    (nn.TripletMarginWithDistanceLoss(distance_function=nn.PairwiseDistance(p=1.0), swap=True, reduction="sum"),
     (ROWS, ROWS, ROWS)),
    *((nn.CTCLoss(reduction=r, zero_infinity=zero), call((9, 3, 5), of_classes(*t), Value([9, 8, 7]), Value([4, 0, 2])))
      for r in ("none", "mean", "sum") for zero in (False, True) for t in ((3, 4), (6,))),
    (nn.CTCLoss(), call((9, 5), of_classes(4), Value((9,)), Value((4,)))),
]  # fmt: skip

if hasattr(nn, "LinearCrossEntropyLoss"):
    LOSS_CASES += [
        (nn.LinearCrossEntropyLoss(6, 7, bias=bias, weight=w, reduction=r, options=options, out_features=size),
         ((5, 6), target))
        for bias in (False, True) for w in (None, W) for r in ("none", "mean", "sum")
        for options in (None, nn.LinearCrossEntropyOptions())
        for size, target in (((), of_classes(5)), ((), (5, 7)), ((2, 3), of_classes(5, 2, 3)))
    ]  # fmt: skip
    LOSS_CASES += [
        (nn.LinearCrossEntropyLoss(6, 7, options=nn.LinearCrossEntropyOptions()), ((6,), of_classes())),
        (nn.LinearCrossEntropyLoss(6, 7, label_smoothing=0.1), ((5, 6), of_classes(5))),
        *((nn.GaussianNLLLoss(full=full), call(ROWS, ROWS, 2.0)) for full in (False, True)),  # no number in torch 2.6
    ]


def check(model: nn.Module, inputs: Any, mode: Any = "eval", execution: Any = "auto") -> None:
    """One layer, every op of it known, agrees in every quantity."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says what it thinks of sizes that are broadcast, and of options
        p = costmodel.profile(model, inputs, mode=mode, execution=execution)
    verdict = p.crosscheck()
    assert p.is_exact, p.coverage
    assert verdict.checked == 1
    assert verdict.mismatches == []


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("model", "inputs"), LOSS_CASES, ids=[f"{i} {type(m).__name__}" for i, (m, _) in enumerate(LOSS_CASES)]
)
def test_closed_form_and_trace_agree(model: nn.Module, inputs: Any, mode: Any) -> None:
    """Output shape, parameters, MACs, FLOPs and memory access are the same from hyper-parameters and from the trace."""
    check(model, inputs, mode)


class Itself(nn.Module):
    """A loss that is given one tensor twice."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: torch.Tensor) -> Any:
        return self.loss(x, x)


@pytest.mark.parametrize(
    "loss",
    [
        nn.L1Loss(), nn.MSELoss(), nn.HuberLoss(), nn.KLDivLoss(reduction="sum"), nn.BCEWithLogitsLoss(pos_weight=P),
        nn.KLDivLoss(reduction="sum", log_target=True), nn.CrossEntropyLoss(weight=W),
    ],
    ids=str,
)  # fmt: skip
def test_one_tensor_as_prediction_and_target_is_read_once(loss: nn.Module) -> None:
    """Where a kernel takes both, it reads the tensor once."""
    check(Itself(loss), ROWS)


class Turned(nn.Module):
    """A loss of scores whose classes come last, as language models have them."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, x: torch.Tensor, target: torch.Tensor) -> Any:
        return self.loss(x.transpose(1, 2), target)


def test_what_no_formula_of_a_loss_describes_is_traced_only() -> None:
    """Copies that torch makes first, distances of one's own, weights that repeat themselves in memory."""
    repeated = nn.BCELoss(weight=torch.rand(1).expand(7))
    own = nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: (a - b).abs().sum(-1))
    for loss, inputs in (
        (Turned(nn.NLLLoss()), ((5, 4, 7), of_classes(5, 4))),
        (Itself(nn.HingeEmbeddingLoss()), ROWS),
        (repeated, (torch.rand(ROWS), torch.rand(ROWS))),
        (own, (ROWS, ROWS, ROWS)),
        (nn.PoissonNLLLoss(), (Input(ROWS, torch.complex64), Input(ROWS, torch.complex64))),
    ):
        found = costmodel.crosscheck(loss, inputs)
        assert found.checked == 0
        assert found.ok


@pytest.mark.parametrize("execution", ["meta", "real"])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_of_complex_numbers(reduction: str, execution: Any) -> None:
    """Absolute differences, which are real, and Gaussian likelihoods, whose variances are read, and real."""
    z = Input(ROWS, torch.complex64)
    check(nn.L1Loss(reduction=reduction), (z, z), execution=execution)
    for full in (False, True):
        check(nn.GaussianNLLLoss(reduction=reduction, full=full), (z, z, torch.ones(5, 1)))


def test_ctc_of_lengths_in_tensors_runs_on_values() -> None:
    """How many states there are stands in the lengths: with lists, and with tensors of the same values, it is one."""
    targets, loss = torch.randint(1, 5, (6,)), nn.CTCLoss(reduction="sum")
    by_lists = costmodel.profile(loss, call((9, 3, 5), targets, Value([9, 8, 7]), Value([4, 0, 2])))
    by_tensors = costmodel.profile(loss, ((9, 3, 5), targets, torch.tensor([9, 8, 7]), torch.tensor([4, 0, 2])))
    assert (by_lists.execution, by_tensors.execution) == ("meta", "real")
    assert by_lists.is_exact
    assert by_tensors.is_exact
    states = 8 * 9 + 7 * 1 + 6 * 5
    assert by_lists.flops == by_tensors.flops == 13 * states + 8 * 2 + 2
    assert by_tensors.memory_access - by_lists.memory_access == 6  # the lengths
    for p in (by_lists, by_tensors):
        assert p.crosscheck().checked == 1
        assert p.crosscheck().ok
    with pytest.raises(costmodel.NeedsValuesError, match=r"_ctc_loss\.Tensor needs the values"):
        costmodel.profile(loss, ((9, 3, 5), targets, of_classes(3), of_classes(3)), execution="meta")
