"""The cost of one call of an ``nn.Module`` in closed form: from its hyper-parameters and its inputs' shapes alone.

Nothing here uses an aten op: what the layer really ran is the other derivation. Importing this package fills the table
``LAYERS``, and needs no torch: ``capture.py`` reads modules, and is imported by whoever has some.
"""

from costmodel.layers import (
    torch_nn,
    torch_nn_attention,
    torch_nn_linear,
    torch_nn_losses,
    torch_nn_quantized,
    torch_nn_resampling,
    torch_nn_sequences,
    torch_nn_transformers,
)
from costmodel.layers.registry import LAYERS, USER_LAYERS, cost_of

__all__ = [
    "LAYERS",
    "USER_LAYERS",
    "cost_of",
    "torch_nn",
    "torch_nn_attention",
    "torch_nn_linear",
    "torch_nn_losses",
    "torch_nn_quantized",
    "torch_nn_resampling",
    "torch_nn_sequences",
    "torch_nn_transformers",
]
