"""What raises in a training step is said to: the loss, the backward pass, the update; and torch's modes around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.errors import ForwardError, InputError, NeedsValuesError


def of_other_targets(output: Tensor) -> Tensor:
    """A loss that cannot be."""
    return nn.functional.cross_entropy(output, torch.zeros(7, dtype=torch.int64))


def test_the_loss_raises() -> None:
    """With the line in which it does, and what the model had returned."""
    with pytest.raises(ForwardError) as caught:
        costmodel.training_step(nn.Linear(4, 2), (3, 4), loss=of_other_targets)
    text = str(caught.value)
    line = of_other_targets.__code__.co_firstlineno + 2
    assert text.startswith(f"the loss failed, at {Path(__file__)}:{line}: ValueError: Expected input batch_size (3)")
    assert "The model had returned float32[3, 2]; a loss takes what the model returns alone" in text
    assert "forward" not in text


def test_a_module_raises_in_the_loss() -> None:
    """It is named."""
    with pytest.raises(ForwardError, match=r"the loss failed in layer '<CrossEntropyLoss>'.*missing 1 required"):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), loss=nn.CrossEntropyLoss())


def test_a_loss_that_reads_a_value_cannot_be_traced_without_values() -> None:
    """It is the loss, not the model."""
    with pytest.raises(NeedsValuesError, match=r"^in the loss: "):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), loss=lambda y: y * y.sum().item(), execution="meta")


class Refuses(torch.autograd.Function):
    """A function without a backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Twice the input."""
        return 2 * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """None."""
        raise ValueError("there is none")


def test_the_backward_pass_raises() -> None:
    """It is said to, and not the forward."""
    with pytest.raises(ForwardError, match=r"^the backward pass of Linear failed, at .*ValueError: there is none"):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), loss=lambda y: Refuses.apply(y).sum())


class Fails(torch.optim.SGD):
    """An optimizer whose step raises."""

    def step(self, closure: Any = None) -> Any:
        """Never."""
        raise ValueError("no step")


def test_the_update_raises() -> None:
    """Likewise."""
    with pytest.raises(ForwardError, match=r"^the optimizer's update failed, at .*ValueError: no step"):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), optimizer=lambda parameters: Fails(parameters, lr=1.0))


def test_a_loss_that_returns_a_number() -> None:
    """It is said what it returned."""
    with pytest.raises(InputError, match=r"the loss returned 3.5, and no tensor to differentiate"):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), loss=lambda y: 3.5)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("execution", ["meta", "real"])
def test_a_mode_around_a_step_is_not_the_steps(around: Callable[[], Any], execution: Any) -> None:
    """A step is traced as if it were outside of it, also of tensors made inside; the mode is on again afterwards."""
    expected = costmodel.training_step(nn.Linear(4, 2), (3, 4)).macs
    with around():
        step = costmodel.training_step(nn.Linear(4, 2), torch.ones(3, 4), execution=execution)
        assert not torch.is_grad_enabled()
    assert step.macs == expected


@pytest.mark.parametrize("within", [torch.no_grad, torch.inference_mode])
def test_a_mode_within_the_model_leaves_no_gradient(within: Callable[[], Any]) -> None:
    """And may be why there is none."""

    class Off(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
            """The layer, in the mode."""
            with within():
                return super().forward(input)

    with pytest.raises(InputError, match=r"under torch.no_grad\(\) or torch.inference_mode\(\)"):
        costmodel.training_step(Off(4, 2), (3, 4))


def test_an_optimizer_that_a_function_makes_may_need_a_closure() -> None:
    """As its class is, it is refused by name."""
    with pytest.raises(InputError, match="optimizer=LBFGS: it runs forward and backward itself"):
        costmodel.training_step(nn.Linear(4, 2), (3, 4), optimizer=lambda parameters: torch.optim.LBFGS(parameters))
