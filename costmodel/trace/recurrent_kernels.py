"""Recurrent layers above autograd: oneDNN computes a layer of an LSTM at once on the CPU.

Source: aten/src/ATen/native/RNN.cpp and aten/src/ATen/native/mkldnn/RNN.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from costmodel.torch_private import onednn_computes
from costmodel.trace.recurrent_steps import padded

_LSTM = 2
"""oneDNN's number of the kind of cell."""

_step_by_step = padded("lstm")


def lstm_on_cpu(
    x: torch.Tensor,
    hx: Sequence[torch.Tensor],
    params: Sequence[torch.Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """By oneDNN, layer by layer and direction by direction, where it takes the arguments. Else step by step."""
    if not _fits_onednn(x, hx):
        return _step_by_step(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)
    x = (x.transpose(0, 1) if batch_first else x).contiguous()
    first_h, first_c = hx[0].contiguous(), hx[1].contiguous()
    directions, per_direction = 2 if bidirectional else 1, 4 if has_biases else 2
    last_h, last_c = [], []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            at = layer * directions + direction
            weights = list(params[at * per_direction : (at + 1) * per_direction])
            layer_h, layer_c = first_h[at], first_c[at]
            if not has_biases:  # oneDNN is given some all the same: C++ makes the last argument first
                weights += [_zeros_like(w) for w in reversed(weights)][::-1]
            # torch's kernel asks whether gradients are recorded, and only then keeps a workspace for them. Its last
            # argument, which it ignores, says so here: a rule knows arguments alone.
            y, h, c, _ = torch.ops.aten.mkldnn_rnn_layer.default(
                x, *weights, layer_h, layer_c, direction > 0, [], _LSTM, first_h.shape[2], num_layers,
                has_biases, bidirectional, batch_first, torch.is_grad_enabled(),
            )  # fmt: skip
            outputs.append(y)
            last_h.append(h)
            last_c.append(c)
        x = torch.cat(outputs, -1) if bidirectional else outputs[0]
        if dropout and train and layer < num_layers - 1:
            x = torch.dropout(x, dropout, True)
    h, c = torch.stack(last_h), torch.stack(last_c)
    return x.transpose(0, 1) if batch_first else x, h, c


def _zeros_like(weight: torch.Tensor) -> torch.Tensor:
    return torch.zeros(weight.shape, dtype=weight.dtype, device="meta")


def _fits_onednn(x: torch.Tensor, hx: Sequence[torch.Tensor]) -> bool:
    has_projection = hx[0].shape[2] != hx[1].shape[2]
    return x.numel() != 0 and not has_projection and onednn_computes(x.dtype)
