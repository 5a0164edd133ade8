"""What a formula takes for granted: one sample, torch's own defaults, and the papers' figures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from costmodel import formulas as f
from tests.formulas.test_carriers import CALLS, figures

TORCH: dict[str, tuple[Callable[..., Any], ...]] = {
    "conv": (nn.Conv2d,),
    "depthwise_conv": (nn.Conv2d,),
    "pointwise_conv": (nn.Conv2d,),
    "grouped_conv": (nn.Conv2d,),
    "conv_macs_on_padding": (nn.Conv2d,),
    "conv_transpose": (nn.ConvTranspose2d,),
    "conv_output_size": (nn.Conv2d,),
    "conv_transpose_output_size": (nn.ConvTranspose2d,),
    "pool_output_size": (nn.MaxPool2d,),
    "linear": (nn.Linear,),
    "bilinear": (nn.Bilinear,),
    "batch_norm": (nn.BatchNorm2d,),
    "layer_norm": (nn.LayerNorm,),
    "group_norm": (nn.GroupNorm,),
    "instance_norm": (nn.InstanceNorm2d,),
    "rms_norm": (nn.RMSNorm,),
    "local_response_norm": (nn.LocalResponseNorm,),
    "max_pool": (nn.MaxPool2d,),
    "avg_pool": (nn.AvgPool2d,),
    "adaptive_max_pool": (nn.AdaptiveMaxPool2d,),
    "lp_pool": (nn.LPPool2d,),
    "activation": (nn.GLU, nn.PReLU),
    "glu": (nn.GLU,),
    "multi_head_attention": (nn.MultiheadAttention, nn.MultiheadAttention.forward),
    "lstm": (nn.RNNBase,),
    "gru": (nn.RNNBase,),
    "rnn": (nn.RNNBase,),
    "embedding_bag": (nn.EmbeddingBag,),
    "upsample": (nn.Upsample,),
    "dropout": (nn.Dropout,),
}
"""The torch layers whose cost a formula is."""

NAMES = {"affine": "elementwise_affine", "output_size": "size", "factor": "scale_factor"}
"""What torch calls some arguments, in some layers."""

OURS: dict[str, Any] = {
    "batch": 1, "rows": 1, "size": (), "training": False, "complex_valued": False,
    "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "norm": True, "activation": "relu",
}  # fmt: skip
"""One sample in evaluation, and a convolution or a block without anything special."""

OWN: dict[str, dict[str, Any]] = {
    "depthwise_conv": {"multiplier": 1},
    "depthwise_separable": {"kernel": 3},  # MobileNet
    "matmul": {"batch": (), "added": 0},
    "softmax": {"dim": -1, "log": False},
    "scaled_dot_product_attention": {
        "value_dim": None, "kv_heads": None, "mask": None, "mask_shape": None, "is_causal": False, "dropout_p": 0.0,
    },
    "multi_head_attention": {
        "keys": None, "inputs": "self",
        "attn_mask_per_head": False, "transposed_output": False,
        "always_copied_back": False, "dropout_p": 0.0,
    },
    "lstm": {"hx_given": False},
    "gru": {"hx_given": False},
    "rnn": {"hx_given": False, "nonlinearity": "tanh"},
    "lp_pool": {"norm_type": 2},  # Euclid's
    "pad": {"before": 0, "after": 0},
    "multiply": {"other": None},
    # Sandler et al., MobileNetV2, arXiv:1801.04381: t = 6, and ReLU6.
    "inverted_residual": {"expansion": 6, "kernel": 3, "activation": "relu6"},
    # The stride is in the 3x3, as in torchvision's networks; in He et al., arXiv:1512.03385, in the first 1x1.
    "bottleneck": {"stride_in_1x1": False},
    "grouped_bottleneck": {"cardinality": 32, "group_width": 4},  # Xie et al., arXiv:1611.05431: 32x4d
    "inception_module": {"norm": False},  # Szegedy et al., arXiv:1409.4842: before batch norm
    "squeeze_excitation": {"gate": "sigmoid", "convolutional": False},  # Hu et al., arXiv:1709.01507
    "ghost_module": {"ratio": 2, "kernel": 1, "dw_kernel": 3},  # Han et al., arXiv:1911.11907: s = 2, d = 3
    "shuffle_unit_v1": {"groups": 3, "group_first": True},  # Zhang et al., arXiv:1707.01083: g = 3
    # Tan & Le, arXiv:1905.11946 and arXiv:2104.00298: MBConv6 with SE of a quarter of the input; Fused-MBConv4 without.
    "mbconv": {"expansion": 6, "kernel": 3, "squeeze": None, "activation": "silu", "gate": "sigmoid"},
    "fused_mbconv": {"expansion": 4, "kernel": 3, "squeeze": 0, "activation": "silu", "gate": "sigmoid"},
}  # fmt: skip
"""What else a formula takes for granted, or takes otherwise than most."""


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that may be left out."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def expected(name: str) -> dict[str, Any]:
    """What should stand for each argument that is left out."""
    torchs = {key: value for layer in TORCH.get(name, ()) for key, value in defaults(layer).items()}
    torchs |= {ours: torchs[theirs] for ours, theirs in NAMES.items() if theirs in torchs}
    return OURS | torchs | OWN.get(name, {})


@pytest.mark.parametrize("name", f.CATALOG)
def test_what_is_left_out_is_as_in_torch_or_in_the_paper(name: str) -> None:
    """Each default is torch's, or one sample's, or stands here with its source."""
    found = defaults(f.CATALOG[name])
    found.pop("sqrt", None)  # a function, not a figure
    assert found == {key: value for key, value in expected(name).items() if key in found}


@pytest.mark.parametrize(
    "name", [name for name in f.CATALOG if "batch" in defaults(f.CATALOG[name]) and name != "matmul"]
)
def test_a_batch_that_is_left_out_is_one_sample(name: str) -> None:
    """The cost of one sample, and a batch of three is of three."""
    arguments = {key: value for key, value in CALLS[name].items() if key != "batch"}
    formula = f.CATALOG[name]
    assert figures(formula(**arguments)) == figures(formula(**arguments, batch=1))
    one, three = (formula(**arguments, batch=batch) for batch in (1, 3))
    if isinstance(one, f.LayerCost | f.BlockCost):
        assert (three.macs, three.params) == (3 * one.macs, one.params)
