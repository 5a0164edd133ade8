"""Tensors that elementwise gradients are tried on: numbers, the gradients that arrive, and probabilities."""

from __future__ import annotations

import torch

RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(2, 6, 4, generator=RANDOM)
G = torch.randn(2, 6, 4, generator=RANDOM)
P = torch.rand(2, 6, 4, generator=RANDOM)
