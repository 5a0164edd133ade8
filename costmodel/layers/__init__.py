"""One call of an ``nn.Module``, priced by the closed forms from its hyper-parameters and its input's shape alone.

Nothing here knows an aten op; what the layer really ran is the business of the other wing. Importing this package
fills the table ``LAYERS``.
"""

from costmodel.layers import torch_nn
from costmodel.layers.capture import capture, register_layer
from costmodel.layers.registry import LAYERS, USER_LAYERS, price

__all__ = ["LAYERS", "USER_LAYERS", "capture", "price", "register_layer", "torch_nn"]
