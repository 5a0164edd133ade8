"""An object that raises whatever it is asked for, as stand-ins for packages that are not installed do.

It is not in a file of tests, as pytest asks every object that it finds there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Optional:
    """A stand-in for a package."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError("an optional package is not installed")


optional = Optional()


class Holds(nn.Module):
    """A model with such an object beside its class, in it, and in what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.optional, self.config, self.example_inputs = optional, optional, (2, 4)

    def forward(self, x: torch.Tensor, other: Any = None) -> Any:
        """Twice the input."""
        return x * 2, other
