"""Closed forms: what a layer or a block costs, from its hyper-parameters alone.

Pure functions of keywords, written with ``+ - * //``, so the same line serves Python ints, NumPy integer arrays (a
sweep over a million configurations is one call) and sympy symbols (declare them ``integer=True, positive=True``).

>>> from costmodel.formulas import conv
>>> conv(c_in=3, c_out=64, kernel=3, size=(224, 224), padding=1).params                       # VGG-16's first
1792
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from costmodel import late

if TYPE_CHECKING:
    from costmodel.formulas._updates import OptimizerCost
    from costmodel.formulas.activations import ACTIVATIONS, activation, glu, softmax
    from costmodel.formulas.attention import multi_head_attention, scaled_dot_product_attention
    from costmodel.formulas.blocks import (
        basic_block,
        bottleneck,
        depthwise_separable,
        grouped_bottleneck,
        inception_module,
        inverted_residual,
    )
    from costmodel.formulas.classification_losses import cross_entropy, ctc_loss, linear_cross_entropy, nll_loss
    from costmodel.formulas.columns import fold, max_unpool, unfold
    from costmodel.formulas.composite_normalisation import local_response_norm, rms_norm
    from costmodel.formulas.convolution import conv, conv_macs_on_padding, depthwise_conv, grouped_conv, pointwise_conv
    from costmodel.formulas.cost import BlockCost, LayerCost, total
    from costmodel.formulas.distance import pairwise_distance
    from costmodel.formulas.efficient_blocks import (
        fused_mbconv,
        ghost_module,
        mbconv,
        shuffle_unit_v1,
        shuffle_unit_v2,
        squeeze_excitation,
    )
    from costmodel.formulas.elementwise import add, concat, copy, dropout, feature_dropout, multiply, view
    from costmodel.formulas.embeddings import embedding, embedding_bag
    from costmodel.formulas.geometry import (
        Field,
        Window,
        adaptive_window_elements,
        conv_output_size,
        conv_transpose_output_size,
        pool_output_size,
        receptive_field,
        receptive_field_backwards,
    )
    from costmodel.formulas.gradient import BackwardCost, Needs, Saved
    from costmodel.formulas.losses import (
        LOSSES,
        binary_cross_entropy,
        elementwise_loss,
        gaussian_nll_loss,
        poisson_nll_loss,
    )
    from costmodel.formulas.margin_losses import (
        cosine_embedding_loss,
        margin_ranking_loss,
        multi_margin_loss,
        multilabel_margin_loss,
        multilabel_soft_margin_loss,
        triplet_margin_loss,
    )
    from costmodel.formulas.memory import pointwise_memory_access, pointwise_memory_access_bound
    from costmodel.formulas.normalisation import (
        batch_norm,
        group_norm,
        instance_norm,
        layer_norm,
    )
    from costmodel.formulas.optimizers import adagrad, adam, adamw, momentum, rmsprop, sgd
    from costmodel.formulas.pooling import (
        adaptive_avg_pool,
        adaptive_max_pool,
        avg_pool,
        fractional_max_pool,
        global_avg_pool,
        global_max_pool,
        lp_pool,
        max_pool,
    )
    from costmodel.formulas.products import bilinear, linear, matmul
    from costmodel.formulas.quantisation import (
        dequantise,
        quantise,
        quantised_activation,
        quantised_batch_norm,
        quantised_conv,
        quantised_conv_transpose,
        quantised_group_norm,
        quantised_layer_norm,
        quantised_linear,
    )
    from costmodel.formulas.quantised_sequences import (
        quantised_cell,
        quantised_embedding,
        quantised_embedding_bag,
        quantised_gru,
        quantised_lstm,
    )
    from costmodel.formulas.recurrent import gru, lstm, rnn
    from costmodel.formulas.recurrent_cells import gru_cell, lstm_cell, rnn_cell
    from costmodel.formulas.resampling import channel_shuffle, pad, pixel_shuffle, pixel_unshuffle, upsample
    from costmodel.formulas.transformers import (
        transformer,
        transformer_decoder,
        transformer_decoder_layer,
        transformer_encoder,
        transformer_encoder_layer,
    )
    from costmodel.formulas.transposed_convolution import conv_transpose
    from costmodel.side_by_side import compare as compare

_NAMES = {
    "_updates": "OptimizerCost",
    "activations": "ACTIVATIONS activation glu softmax",
    "attention": "multi_head_attention scaled_dot_product_attention",
    "blocks": "basic_block bottleneck depthwise_separable grouped_bottleneck inception_module inverted_residual",
    "classification_losses": "cross_entropy ctc_loss linear_cross_entropy nll_loss",
    "columns": "fold max_unpool unfold",
    "composite_normalisation": "local_response_norm rms_norm",
    "convolution": "conv conv_macs_on_padding depthwise_conv grouped_conv pointwise_conv",
    "cost": "BlockCost LayerCost total",
    "distance": "pairwise_distance",
    "efficient_blocks": "fused_mbconv ghost_module mbconv shuffle_unit_v1 shuffle_unit_v2 squeeze_excitation",
    "elementwise": "add concat copy dropout feature_dropout multiply view",
    "embeddings": "embedding embedding_bag",
    "geometry": (
        "Field Window adaptive_window_elements conv_output_size conv_transpose_output_size pool_output_size "
        "receptive_field receptive_field_backwards"
    ),
    "gradient": "BackwardCost Needs Saved",
    "products": "bilinear linear matmul",
    "losses": "LOSSES binary_cross_entropy elementwise_loss gaussian_nll_loss poisson_nll_loss",
    "margin_losses": (
        "cosine_embedding_loss margin_ranking_loss multi_margin_loss multilabel_margin_loss "
        "multilabel_soft_margin_loss triplet_margin_loss"
    ),
    "memory": "pointwise_memory_access pointwise_memory_access_bound",
    "normalisation": "batch_norm group_norm instance_norm layer_norm",
    "optimizers": "adagrad adam adamw momentum rmsprop sgd",
    "pooling": (
        "adaptive_avg_pool adaptive_max_pool avg_pool fractional_max_pool global_avg_pool global_max_pool lp_pool "
        "max_pool"
    ),
    "quantisation": (
        "dequantise quantise quantised_activation quantised_batch_norm quantised_conv quantised_conv_transpose "
        "quantised_group_norm quantised_layer_norm quantised_linear"
    ),
    "quantised_sequences": ("quantised_cell quantised_embedding quantised_embedding_bag quantised_gru quantised_lstm"),
    "recurrent": "gru lstm rnn",
    "recurrent_cells": "gru_cell lstm_cell rnn_cell",
    "resampling": "channel_shuffle pad pixel_shuffle pixel_unshuffle upsample",
    "transformers": (
        "transformer transformer_decoder transformer_decoder_layer transformer_encoder transformer_encoder_layer"
    ),
    "transposed_convolution": "conv_transpose",
}
"""The names by the file that defines them: what type checkers read above. A file is imported when first needed."""

_FILE_OF = {name: file for file, names in _NAMES.items() for name in names.split()}

_GROUPS = {
    "convolutions": (
        "conv depthwise_conv pointwise_conv grouped_conv depthwise_separable conv_transpose conv_macs_on_padding"
    ),
    "linear layers": "linear bilinear matmul",
    "norms": "batch_norm layer_norm group_norm instance_norm rms_norm local_response_norm",
    "pooling": (
        "max_pool avg_pool adaptive_avg_pool adaptive_max_pool global_avg_pool global_max_pool lp_pool "
        "fractional_max_pool"
    ),
    "activations": "activation softmax glu",
    "attention": "scaled_dot_product_attention multi_head_attention",
    "transformers": (
        "transformer_encoder_layer transformer_decoder_layer transformer_encoder transformer_decoder transformer"
    ),
    "recurrent layers": "lstm gru rnn lstm_cell gru_cell rnn_cell",
    "embeddings": "embedding embedding_bag",
    "losses": (
        "elementwise_loss binary_cross_entropy poisson_nll_loss gaussian_nll_loss nll_loss cross_entropy "
        "linear_cross_entropy ctc_loss margin_ranking_loss cosine_embedding_loss triplet_margin_loss "
        "multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss"
    ),
    "quantised layers": (
        "quantise dequantise quantised_linear quantised_conv quantised_conv_transpose quantised_activation "
        "quantised_batch_norm quantised_layer_norm quantised_group_norm quantised_lstm quantised_gru "
        "quantised_cell quantised_embedding quantised_embedding_bag"
    ),
    "resampling": "upsample pixel_shuffle pixel_unshuffle channel_shuffle pad unfold fold max_unpool",
    "elementwise and moving data": "add multiply concat dropout feature_dropout copy view",
    "distances": "pairwise_distance",
    "optimizers": "sgd momentum adam adamw adagrad rmsprop",
    "blocks": (
        "inverted_residual basic_block bottleneck grouped_bottleneck inception_module squeeze_excitation "
        "ghost_module shuffle_unit_v1 shuffle_unit_v2 mbconv fused_mbconv"
    ),
    "sizes and receptive fields": (
        "conv_output_size conv_transpose_output_size pool_output_size adaptive_window_elements receptive_field "
        "receptive_field_backwards"
    ),
    "memory access": "pointwise_memory_access pointwise_memory_access_bound",
}

GROUPS: Mapping[str, tuple[Callable[..., Any], ...]]
"""Every formula, in groups of one purpose."""

CATALOG: Mapping[str, Callable[..., Any]]
"""Every formula by name; its docstring says the formula in symbols, its source, and one number."""

__all__ = [
    "ACTIVATIONS",
    "CATALOG",
    "GROUPS",
    "LOSSES",
    "BackwardCost",
    "BlockCost",
    "Field",
    "LayerCost",
    "Needs",
    "OptimizerCost",
    "Saved",
    "Window",
    "activation",
    "adagrad",
    "adam",
    "adamw",
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "adaptive_window_elements",
    "add",
    "avg_pool",
    "basic_block",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "bottleneck",
    "channel_shuffle",
    "compare",
    "concat",
    "conv",
    "conv_macs_on_padding",
    "conv_output_size",
    "conv_transpose",
    "conv_transpose_output_size",
    "copy",
    "cosine_embedding_loss",
    "cross_entropy",
    "ctc_loss",
    "depthwise_conv",
    "depthwise_separable",
    "dequantise",
    "dropout",
    "elementwise_loss",
    "embedding",
    "embedding_bag",
    "feature_dropout",
    "fold",
    "fractional_max_pool",
    "fused_mbconv",
    "gaussian_nll_loss",
    "ghost_module",
    "global_avg_pool",
    "global_max_pool",
    "glu",
    "group_norm",
    "grouped_bottleneck",
    "grouped_conv",
    "gru",
    "gru_cell",
    "inception_module",
    "instance_norm",
    "inverted_residual",
    "layer_norm",
    "linear",
    "linear_cross_entropy",
    "local_response_norm",
    "lp_pool",
    "lstm",
    "lstm_cell",
    "margin_ranking_loss",
    "matmul",
    "max_pool",
    "max_unpool",
    "mbconv",
    "momentum",
    "multi_head_attention",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "multiply",
    "nll_loss",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pointwise_conv",
    "pointwise_memory_access",
    "pointwise_memory_access_bound",
    "poisson_nll_loss",
    "pool_output_size",
    "quantise",
    "quantised_activation",
    "quantised_batch_norm",
    "quantised_cell",
    "quantised_conv",
    "quantised_conv_transpose",
    "quantised_embedding",
    "quantised_embedding_bag",
    "quantised_group_norm",
    "quantised_gru",
    "quantised_layer_norm",
    "quantised_linear",
    "quantised_lstm",
    "receptive_field",
    "receptive_field_backwards",
    "rms_norm",
    "rmsprop",
    "rnn",
    "rnn_cell",
    "scaled_dot_product_attention",
    "sgd",
    "shuffle_unit_v1",
    "shuffle_unit_v2",
    "softmax",
    "squeeze_excitation",
    "total",
    "transformer",
    "transformer_decoder",
    "transformer_decoder_layer",
    "transformer_encoder",
    "transformer_encoder_layer",
    "triplet_margin_loss",
    "unfold",
    "upsample",
    "view",
]


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        with late.uncollected():
            value = getattr(import_module(f"{__name__}.{_FILE_OF[name]}"), name)
    elif name == "GROUPS":
        value = {group: tuple(__getattr__(formula) for formula in names.split()) for group, names in _GROUPS.items()}
    elif name == "CATALOG":
        value = {formula.__name__: formula for group in __getattr__("GROUPS").values() for formula in group}
    else:  # ``compare``, which costmodel/__init__.py provides: that runs before this file, however it is imported
        return late.provided(__name__, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
