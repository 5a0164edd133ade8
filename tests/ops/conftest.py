"""Rules depend on the version of torch, which the trace tells them when it is imported; some ops come with a module."""

from __future__ import annotations

import torch.ao.quantization.fx._decomposed  # noqa: F401  # the ops of quantized_decomposed

import costmodel.trace  # noqa: F401
