"""A loss of one tensor twice: its backward pass reads that once, and no formula says so."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import costmodel


class OfItself(nn.Module):
    """A loss of what a layer makes, from itself."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.loss = loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Zero."""
        y = self.layer(x)
        loss: torch.Tensor = self.loss(y, y)
        return loss


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss()], ids=str)
def test_the_backward_pass_of_one_tensor_twice_is_traced_only(loss: nn.Module) -> None:
    """Both wings agree in what both derive."""
    verdict = costmodel.training_step(OfItself(loss), (2, 4), optimizer=None).crosscheck()
    assert verdict.ok, verdict.mismatches
    compared = {(c.name, c.quantity) for c in verdict.comparisons}
    assert ("layer", "backward macs") in compared
    assert ("loss", "backward macs") not in compared
