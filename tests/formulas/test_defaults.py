"""What a formula takes for granted: one sample, torch's own defaults, and the papers' figures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from torch import nn, optim

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
    "sgd": (optim.SGD,),
    "momentum": (optim.SGD,),
    "adam": (optim.Adam,),
    "adamw": (optim.AdamW,),
    "adagrad": (optim.Adagrad,),
    "rmsprop": (optim.RMSprop,),
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
    "feature_dropout": (nn.Dropout2d,),
    "pairwise_distance": (nn.PairwiseDistance,),
    "fractional_max_pool": (nn.FractionalMaxPool2d,),
    "transformer_encoder_layer": (nn.TransformerEncoderLayer,),
    "transformer_decoder_layer": (nn.TransformerDecoderLayer,),
    "transformer_encoder": (nn.TransformerEncoder, nn.TransformerEncoderLayer),
    "transformer_decoder": (nn.TransformerDecoder, nn.TransformerDecoderLayer),
    "transformer": (nn.Transformer,),
    "lstm_cell": (nn.LSTMCell,),
    "gru_cell": (nn.GRUCell,),
    "rnn_cell": (nn.RNNCell,),
    "embedding": (nn.Embedding,),
    "elementwise_loss": (nn.MSELoss,),
    "binary_cross_entropy": (nn.BCELoss,),
    "poisson_nll_loss": (nn.PoissonNLLLoss,),
    "gaussian_nll_loss": (nn.GaussianNLLLoss,),
    "nll_loss": (nn.NLLLoss,),
    "cross_entropy": (nn.CrossEntropyLoss,),
    "linear_cross_entropy": (nn.CrossEntropyLoss,),
    "ctc_loss": (nn.CTCLoss,),
    "margin_ranking_loss": (nn.MarginRankingLoss,),
    "cosine_embedding_loss": (nn.CosineEmbeddingLoss,),
    "triplet_margin_loss": (nn.TripletMarginLoss,),
    "multi_margin_loss": (nn.MultiMarginLoss,),
    "multilabel_margin_loss": (nn.MultiLabelMarginLoss,),
    "multilabel_soft_margin_loss": (nn.MultiLabelSoftMarginLoss,),
    "quantised_conv": (nn.Conv2d,),
    "quantised_conv_transpose": (nn.ConvTranspose2d,),
    "quantised_activation": (nn.GLU,),
    "quantised_layer_norm": (nn.LayerNorm,),
    "quantised_group_norm": (nn.GroupNorm,),
    "quantised_lstm": (nn.RNNBase,),
    "quantised_gru": (nn.RNNBase,),
}
"""The torch layers whose cost a formula is."""

NAMES = {
    "norm_type": "p",
    "affine": "elementwise_affine",
    "output_size": "size",
    "factor": "scale_factor",
    "dropout_p": "dropout",
}
"""What torch calls some arguments, in some layers."""

OURS: dict[str, Any] = {
    "batch": 1, "rows": 1, "size": (), "batched": True,
    "stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "norm": True, "activation": "relu",
}  # fmt: skip
"""One sample, and a convolution or a block without anything special. Every other option is off: False, or None."""

OWN: dict[str, dict[str, Any]] = {
    "depthwise_conv": {"multiplier": 1},
    "depthwise_separable": {"kernel": 3},  # MobileNet
    "matmul": {"batch": (), "added": 0},
    # An optimizer's parameters of 32 bits, on a CPU; of its betas the second.
    **{key: {"itemsize": 4, "implementation": "for-loop"} for key in ("sgd", "adagrad", "rmsprop")},
    **{key: {"itemsize": 4, "implementation": "for-loop", "beta2": 0.999} for key in ("adam", "adamw")},
    "momentum": {"itemsize": 4, "implementation": "for-loop", "momentum": 0.9},  # the usual one
    "softmax": {"dim": -1},
    "scaled_dot_product_attention": {"dropout_p": 0.0},
    "multi_head_attention": {"inputs": "self"},
    "rnn": {"nonlinearity": "tanh"},
    "lstm": {"onednn": True},  # in single precision on the CPU, torch.nn.LSTM's default
    **{key: {"detects_causal": True, "norm": False} for key in ("transformer_encoder", "transformer_decoder")},
    "transformer": {"detects_src_causal": True, "detects_tgt_causal": True},
    "cosine_embedding_loss": {"rows": ()},  # a loss is of one sample without a batch where nothing is said
    "triplet_margin_loss": {"rows": ()},
    "pairwise_distance": {"rows": ()},
    **{
        key: {"batch": ()}
        for key in (
            "nll_loss", "cross_entropy", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
        )
    },
    "linear_cross_entropy": {"batch": (), "bias": False},
    # What torch.ao quantises by default: convolutions and linear layers statically, recurrent layers dynamically.
    "quantised_linear": {"how": "static", "fused": "none"},
    "quantised_conv": {"how": "static"},
    "quantised_conv_transpose": {"how": "static"},
    **{key: {"how": "dynamic"} for key in ("quantised_lstm", "quantised_gru", "quantised_cell")},
    "lp_pool": {"norm_type": 2},  # Euclid's
    "pad": {"before": 0, "after": 0, "mode": "constant"},  # the mode: torch.nn.functional.pad
    # Sandler et al., MobileNetV2, arXiv:1801.04381: t = 6, and ReLU6.
    "inverted_residual": {"expansion": 6, "kernel": 3, "activation": "relu6"},
    "grouped_bottleneck": {"cardinality": 32, "group_width": 4},  # Xie et al., arXiv:1611.05431: 32x4d
    "inception_module": {"norm": False},  # Szegedy et al., arXiv:1409.4842: before batch norm
    "squeeze_excitation": {"gate": "sigmoid"},  # Hu et al., arXiv:1709.01507
    "ghost_module": {"ratio": 2, "kernel": 1, "dw_kernel": 3},  # Han et al., arXiv:1911.11907: s = 2, d = 3
    "shuffle_unit_v1": {"groups": 3, "group_first": True},  # Zhang et al., arXiv:1707.01083: g = 3
    # Tan & Le, arXiv:1905.11946 and arXiv:2104.00298: MBConv6 with SE of a quarter of the input; Fused-MBConv4 without.
    "mbconv": {"expansion": 6, "kernel": 3, "activation": "silu", "gate": "sigmoid"},
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
    torchs |= {key: value.__name__ for key, value in torchs.items() if inspect.isfunction(value)}
    return OURS | torchs | OWN.get(name, {})


def is_off(value: Any) -> bool:
    """Whether an option is not asked for; 0 is a figure."""
    return value is None or value is False


@pytest.mark.parametrize("name", f.CATALOG)
def test_what_is_left_out_is_as_in_torch_or_in_the_paper(name: str) -> None:
    """Each default is torch's, or one sample's, or stands here with its source."""
    found, wanted = defaults(f.CATALOG[name]), expected(name)
    found.pop("sqrt", None)  # a function, not a figure
    other = {key: value for key, value in found.items() if not (is_off(value) and is_off(wanted.get(key)))}
    assert other == {key: wanted.get(key) for key in other}


@pytest.mark.parametrize("name", [name for name in f.CATALOG if defaults(f.CATALOG[name]).get("batch") == 1])
def test_a_batch_that_is_left_out_is_one_sample(name: str) -> None:
    """The cost of one sample, and a batch of three is of three."""
    arguments = {key: value for key, value in CALLS[name].items() if key != "batch"}
    formula = f.CATALOG[name]
    assert figures(formula(**arguments)) == figures(formula(**arguments, batch=1))
    one, three = (formula(**arguments, batch=batch) for batch in (1, 3))
    if isinstance(one, f.LayerCost | f.BlockCost):
        assert (three.macs, three.params) == (3 * one.macs, one.params)
