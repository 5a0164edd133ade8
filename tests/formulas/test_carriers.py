"""One formula, three carriers: ints, NumPy arrays, sympy symbols. Proofs with the last."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
import sympy

from costmodel import formulas as f

SIZE = (14, 14)
SEQUENCE = {"queries": 6, "keys": 5, "batch": 2}
TRANSFORMER = {"d_model": 8, "nhead": 4, "dim_feedforward": 12, "batch": 2}
CELLS = {"input_size": 3, "hidden_size": 4, "length": 5, "batch": 2}

CALLS: dict[str, dict[str, Any]] = {
    "conv_output_size": {"size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "dilation": 2},
    "conv_transpose_output_size": {"size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "dilation": 2},
    "pool_output_size": {"size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "adaptive_window_elements": {"size": 14, "output_size": 5},
    "receptive_field": {"layers": ((3, 2, 1), (5, 1, 2))},
    "receptive_field_backwards": {"layers": ((3, 2, 1), (5, 1, 2))},
    "conv": {"c_in": 8, "c_out": 12, "kernel": 3, "size": SIZE, "stride": 2, "padding": 1, "groups": 4, "batch": 2},
    "conv_macs_on_padding": {"c_in": 8, "c_out": 12, "kernel": 3, "size": SIZE, "padding": 1, "groups": 4},
    "depthwise_conv": {"channels": 8, "kernel": 3, "size": SIZE, "multiplier": 2},
    "pointwise_conv": {"c_in": 8, "c_out": 12, "size": SIZE, "batch": 2},
    "grouped_conv": {"c_in": 8, "c_out": 12, "groups": 4, "kernel": 3, "size": SIZE},
    "conv_transpose": {"c_in": 8, "c_out": 12, "kernel": 3, "size": SIZE, "stride": 2, "padding": 1, "groups": 4},
    "linear": {"in_features": 8, "out_features": 12, "rows": (2, 5)},
    "bilinear": {"in1_features": 8, "in2_features": 9, "out_features": 12, "rows": 5},
    "matmul": {"m": 3, "n": 4, "k": 5, "batch": 2, "added": 6},
    "batch_norm": {"channels": 8, "size": SIZE, "batch": 2, "training": True},
    "layer_norm": {"normalized_shape": 8, "rows": (2, 5)},
    "group_norm": {"channels": 8, "groups": 4, "size": SIZE},
    "instance_norm": {"channels": 8, "size": SIZE, "batch": 2, "affine": True, "track_running_stats": True},
    "rms_norm": {"normalized_shape": 8, "rows": (2, 5)},
    "local_response_norm": {"channels": 8, "size": SIZE, "local_size": 5},
    "max_pool": {"channels": 8, "size": SIZE, "kernel": 3, "stride": 2, "padding": 1},
    "avg_pool": {"channels": 8, "size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    "adaptive_avg_pool": {"channels": 8, "size": SIZE, "output_size": 5},
    "adaptive_max_pool": {"channels": 8, "size": SIZE, "output_size": (5, None)},
    "global_avg_pool": {"channels": 8, "size": SIZE},
    "global_max_pool": {"channels": 8, "size": SIZE},
    "fractional_max_pool": {"channels": 8, "size": SIZE, "kernel": 2, "output_size": 5, "batch": 3},
    "lp_pool": {"channels": 8, "size": SIZE, "kernel": 2},
    "activation": {"name": "mish", "shape": (2, 8)},
    "softmax": {"shape": (2, 8)},
    "glu": {"shape": (2, 8)},
    "scaled_dot_product_attention": {"heads": 4, "head_dim": 8, "mask": "float", **SEQUENCE},
    "multi_head_attention": {"embed_dim": 8, "num_heads": 4, "inputs": "distinct", "kdim": 3, **SEQUENCE},
    "transformer_encoder_layer": {**TRANSFORMER, "length": 5},
    "transformer_decoder_layer": {**TRANSFORMER, "length": 5, "memory_length": 6, "tgt_mask": "bool"},
    "transformer_encoder": {**TRANSFORMER, "length": 5, "num_layers": 3, "norm": True, "mask": "bool"},
    "transformer_decoder": {**TRANSFORMER, "length": 5, "memory_length": 6, "num_layers": 3, "norm_first": True},
    "transformer": {**TRANSFORMER, "src_length": 5, "tgt_length": 6, "num_encoder_layers": 2, "activation": "gelu"},
    "sgd": {"elements": (8, 12), "momentum": 0.9, "nesterov": True},
    "momentum": {"elements": 8, "dampening": 0.5, "implementation": "fused"},
    "adam": {"elements": (8, 12, 9), "weight_decay": 0.1, "amsgrad": True, "itemsize": 2},
    "adamw": {"elements": (8, 12), "implementation": "foreach"},
    "adagrad": {"elements": (8, 12), "maximize": True},
    "rmsprop": {"elements": (8, 12), "centered": True, "momentum": 0.9},
    "lstm": {**CELLS, "num_layers": 2, "proj_size": 2},
    "gru": {**CELLS, "num_layers": 2, "bidirectional": True},
    "rnn": CELLS,
    "lstm_cell": {"input_size": 3, "hidden_size": 4, "batch": 2},
    "gru_cell": {"input_size": 3, "hidden_size": 4, "batch": 2, "hx_given": True},
    "rnn_cell": {"input_size": 3, "hidden_size": 4, "batch": 2},
    "embedding": {"num_embeddings": 9, "embedding_dim": 8, "shape": (2, 5), "renormalised": True},
    "embedding_bag": {"num_embeddings": 9, "embedding_dim": 8, "bags": 2, "bag_size": 5},
    "elementwise_loss": {"name": "kl_div", "shape": (2, 8), "target": 8, "reduction": "batchmean"},
    "binary_cross_entropy": {"shape": (2, 8), "logits": True, "weight": 8, "pos_weight": (2, 8)},
    "poisson_nll_loss": {"shape": (2, 8), "full": True},
    "gaussian_nll_loss": {"shape": (2, 8), "target": 8, "full": True},
    "nll_loss": {"classes": 5, "batch": 2, "size": SIZE, "weight": True},
    "cross_entropy": {"classes": 5, "batch": 2, "size": SIZE, "weight": True, "label_smoothing": 0.1},
    "linear_cross_entropy": {"in_features": 8, "classes": 5, "batch": 2, "bias": True, "weight": True, "chunked": True},
    "ctc_loss": {"classes": 5, "steps": 6, "input_lengths": (6, 5), "target_lengths": (2, 3), "padded_to": 4},
    "margin_ranking_loss": {"shape": (2, 8)},
    "cosine_embedding_loss": {"features": 8, "rows": 2},
    "triplet_margin_loss": {"features": 8, "rows": (2, 3), "swap": True},
    "multi_margin_loss": {"classes": 5, "batch": 2, "p": 2, "weight": True},
    "multilabel_margin_loss": {"classes": 5, "batch": 2},
    "multilabel_soft_margin_loss": {"classes": 5, "batch": 2, "weight": True},
    "quantise": {"shape": (2, 8)},
    "dequantise": {"shape": (2, 8)},
    "quantised_linear": {"in_features": 8, "out_features": 12, "rows": (2, 5), "how": "dynamic", "fused": "relu"},
    "quantised_conv": {"c_in": 8, "c_out": 12, "kernel": 3, "size": SIZE, "padding": 1, "groups": 4, "added": True},
    "quantised_conv_transpose": {"c_in": 8, "c_out": 12, "kernel": 3, "size": SIZE, "stride": 2, "how": "dynamic"},
    "quantised_activation": {"name": "prelu", "shape": (2, 8)},
    "quantised_batch_norm": {"channels": 8, "size": SIZE, "batch": 2},
    "quantised_layer_norm": {"normalized_shape": 8, "rows": (2, 5)},
    "quantised_group_norm": {"channels": 8, "groups": 4, "size": SIZE},
    "quantised_lstm": {**CELLS, "num_layers": 2},
    "quantised_gru": {**CELLS, "num_layers": 2, "bidirectional": True},
    "quantised_cell": {"cell": "rnn_relu", "input_size": 3, "hidden_size": 4, "batch": 2},
    "quantised_embedding": {"num_embeddings": 9, "embedding_dim": 8, "shape": (2, 5)},
    "quantised_embedding_bag": {"num_embeddings": 9, "embedding_dim": 8, "bags": 2, "bag_size": 5},
    "upsample": {"channels": 8, "size": SIZE, "factor": 2, "mode": "bilinear"},
    "pixel_shuffle": {"channels": 8, "size": SIZE, "factor": 2},
    "pixel_unshuffle": {"channels": 8, "size": SIZE, "factor": 2},
    "channel_shuffle": {"channels": 8, "size": SIZE, "groups": 4},
    "pad": {"channels": 8, "size": SIZE, "before": 1, "after": 2},
    "unfold": {"channels": 8, "size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "batch": 2},
    "fold": {"channels": 8, "output_size": SIZE, "kernel": 3, "stride": 2, "padding": 1, "batch": 2},
    "max_unpool": {"channels": 8, "size": (7, 7), "output_size": SIZE, "batch": 2},
    "pairwise_distance": {"features": 8, "rows": (2, 3)},
    "feature_dropout": {"shape": (2, 8, 5), "planes": 16, "training": True},
    "add": {"shape": (2, 8)},
    "multiply": {"shape": (2, 8), "other": (2, 1)},
    "concat": {"channels": (8, 4), "size": SIZE},
    "dropout": {"shape": (2, 8), "training": True},
    "copy": {"shape": (2, 8)},
    "view": {"shape": (2, 8)},
    "pointwise_memory_access": {"c_in": 8, "c_out": 12, "size": SIZE, "groups": 4},
    "pointwise_memory_access_bound": {"macs": 4096, "size": SIZE},
    "depthwise_separable": {"c_in": 8, "c_out": 12, "size": SIZE, "stride": 2},
    "inverted_residual": {"c_in": 8, "c_out": 8, "size": SIZE, "batch": 2},
    "basic_block": {"c_in": 8, "c_out": 8, "size": SIZE},
    "bottleneck": {"c_in": 8, "width": 4, "c_out": 8, "size": SIZE},
    "grouped_bottleneck": {"c_in": 8, "c_out": 8, "size": SIZE, "cardinality": 2, "group_width": 3},
    "inception_module": {
        "c_in": 8, "size": SIZE, "c1": 2, "c3_reduce": 3, "c3": 4, "c5_reduce": 1, "c5": 2, "pool_proj": 2
    },
    "squeeze_excitation": {"channels": 8, "squeeze": 2, "size": SIZE},
    "ghost_module": {"c_in": 8, "c_out": 9, "size": SIZE},
    "shuffle_unit_v1": {"c_in": 24, "c_out": 24, "size": SIZE, "groups": 3},
    "shuffle_unit_v2": {"c_in": 8, "c_out": 8, "size": SIZE},
    "mbconv": {"c_in": 8, "c_out": 8, "size": SIZE},
    "fused_mbconv": {"c_in": 8, "c_out": 8, "size": SIZE},
}  # fmt: skip

FREE_OF = {  # no sweep and no proof goes over these: they are visited one by one
    "adaptive_window_elements": {"output_size"},
    "adaptive_avg_pool": {"output_size"},
    "adaptive_max_pool": {"output_size"},
    "conv_macs_on_padding": {"kernel"},
}


def spread(value: Any, make: Any) -> Any:
    """Every int replaced, inside tuples as well; flags and words stay."""
    if isinstance(value, tuple):
        return tuple(spread(part, make) for part in value)
    return make(value) if isinstance(value, int) and not isinstance(value, bool) else value


def swept(name: str) -> dict[str, Any]:
    """The arguments of a call that may be arrays and symbols."""
    return {key: value for key, value in CALLS[name].items() if key not in FREE_OF.get(name, ())}


def figures(result: Any) -> list[Any]:
    """Every count that a formula returns, flat."""
    if isinstance(result, f.BlockCost):
        result = result.total
    if isinstance(result, f.LayerCost):
        work = [result.macs, result.flops]
        return [*result.output_shape, result.params, result.buffers, result.read, result.written, *work]
    if isinstance(result, f.OptimizerCost):
        memory = [result.state, result.state_bytes, result.temporaries]
        return [result.macs, result.flops, result.read, result.written, *memory]
    if isinstance(result, f.Field):
        return [result.size, result.stride, result.start]
    return list(result) if isinstance(result, tuple) else [result]


def test_every_formula_has_a_call_here() -> None:
    """A formula added to the catalogue is tested on three carriers once it is called in this file."""
    assert set(CALLS) == set(f.CATALOG)


def test_the_catalogue_is_public() -> None:
    """Every formula is exported, and nothing is exported twice."""
    assert set(f.CATALOG) <= set(f.__all__)
    assert len(set(f.__all__)) == len(f.__all__)
    assert all(hasattr(f, name) for name in f.__all__)


@pytest.mark.parametrize("name", f.CATALOG)
def test_docstring_is_good_enough_to_be_shown(name: str) -> None:
    """A summary, the formula in symbols, its source, and a number; keywords only."""
    formula = f.CATALOG[name]
    text = inspect.getdoc(formula) or ""
    assert re.search(r"^Source.*:", text, re.MULTILINE) or name in ("copy", "view", "adaptive_window_elements")
    assert ">>>" in text
    if inspect.signature(formula).return_annotation in ("LayerCost", "BlockCost", "OptimizerCost"):
        assert re.search(r"^(params|macs|flops|memory_access) = ", text, re.MULTILINE)
    assert {p.kind for p in inspect.signature(formula).parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("name", f.CATALOG)
def test_an_array_is_its_elements(name: str) -> None:
    """A sweep of two configurations gives what each gives alone."""
    other = {key: spread(value, lambda v: v) for key, value in CALLS[name].items()}
    array = {**other, **spread_all(swept(name), lambda v: np.array([v, v], dtype=np.int64))}
    options = {"sqrt": np.sqrt} if name == "pointwise_memory_access_bound" else {}
    alone = figures(f.CATALOG[name](**CALLS[name]))
    for whole, one in zip(figures(f.CATALOG[name](**array, **options)), alone, strict=True):
        assert np.all(np.asarray(whole) == one)


@pytest.mark.parametrize("name", f.CATALOG)
def test_a_symbol_is_any_number(name: str) -> None:
    """Symbols in, the ints put in afterwards: the same as ints in."""
    values: dict[sympy.Symbol, int] = {}

    def symbol(value: int) -> sympy.Symbol:
        made = sympy.Symbol(f"s{value}", integer=True, positive=True)
        values[made] = value
        return made

    options = {"sqrt": sympy.sqrt} if name == "pointwise_memory_access_bound" else {}
    symbolic = f.CATALOG[name](**{**CALLS[name], **spread_all(swept(name), symbol)}, **options)
    for expression, one in zip(figures(symbolic), figures(f.CATALOG[name](**CALLS[name])), strict=True):
        number = sympy.sympify(expression).subs(values)
        assert number == one if isinstance(one, int) else float(number) == pytest.approx(one)


def spread_all(arguments: dict[str, Any], make: Any) -> dict[str, Any]:
    """Every argument spread."""
    return {key: spread(value, make) for key, value in arguments.items()}


def test_a_million_configurations_are_one_call() -> None:
    """Channels against channels, 1000 by 1000, exact at the far corner."""
    channels = np.arange(1, 1001, dtype=np.int64)
    cost = f.conv(c_in=channels[:, None], c_out=channels[None, :], kernel=3, size=(224, 224), padding=1)
    assert cost.macs.shape == (1000, 1000)
    assert cost.macs[999, 999] == f.conv(c_in=1000, c_out=1000, kernel=3, size=(224, 224), padding=1).macs


def test_a_sweep_whose_configurations_run_other_layers_is_refused() -> None:
    """Where some configurations add a residual and some do not, one sum cannot stand for all."""
    widths = np.array([8, 16], dtype=np.int64)
    with pytest.raises(ValueError, match="c_in is c_out in some configurations of this sweep and not in others: sweep"):
        f.inverted_residual(c_in=8, c_out=widths, size=(7, 7))
    with pytest.raises(ValueError, match="queries is 1 in some configurations"):
        f.multi_head_attention(embed_dim=8, num_heads=2, queries=np.array([1, 2]))


def test_padding_is_counted_on_arrays_as_on_ints() -> None:
    """The clamp is arithmetic, so a sweep over sizes and strides is exact too."""
    sizes, strides = np.arange(3, 12, dtype=np.int64)[:, None], np.arange(1, 4, dtype=np.int64)[None, :]
    at = {"c_in": 2, "c_out": 3, "kernel": 3, "padding": 1}
    swept = f.conv(**at, size=(sizes,), stride=strides).work.macs_on_padding
    for row, size in enumerate(sizes[:, 0]):
        for column, stride in enumerate(strides[0]):
            alone = f.conv_macs_on_padding(**at, size=(int(size),), stride=int(stride))
            assert swept[row, column] == alone


def symbols(names: str) -> tuple[sympy.Symbol, ...]:
    """Positive whole numbers."""
    made: tuple[sympy.Symbol, ...] = sympy.symbols(names, integer=True, positive=True)
    return made


def test_separable_over_standard_is_1_over_n_plus_1_over_k_squared() -> None:
    """MobileNet's ratio holds for all channels, sizes and odd kernels."""
    m, n, d, half = symbols("m n d half")
    kernel = 2 * half + 1
    at = {"c_in": m, "c_out": n, "size": (d, d), "kernel": kernel}
    separable = f.depthwise_separable(**at)
    standard = f.conv(**at, padding=half, bias=False)
    ratio = sympy.simplify(separable.macs / standard.macs)
    assert sympy.simplify(ratio - (1 / n + sympy.Integer(1) / kernel**2)) == 0


def test_groups_divide_weights_and_macs() -> None:
    """g groups cost a g-th, for all sizes."""
    a, b, g, k, h, w = symbols("a b g k h w")
    at = {"c_in": a * g, "c_out": b * g, "kernel": k, "size": (h, w), "bias": False}
    whole, grouped = f.conv(**at), f.grouped_conv(**at, groups=g)
    assert sympy.simplify(whole.params / grouped.params) == g
    assert sympy.simplify(whole.macs / grouped.macs) == g


def test_pointwise_memory_access_is_shufflenets() -> None:
    """The layer's traffic is hw(c1 + c2) + c1 c2 / g, and reaches the bound where c1 = c2."""
    c1, c2, h, w, g = symbols("c1 c2 h w g")
    layer = f.pointwise_conv(c_in=c1, c_out=c2, size=(h, w), bias=False)
    assert sympy.expand(layer.memory_access - (h * w * (c1 + c2) + c1 * c2)) == 0
    grouped = f.pointwise_conv(c_in=c1 * g, c_out=c2 * g, size=(h, w), groups=g, bias=False)
    closed = f.pointwise_memory_access(c_in=c1 * g, c_out=c2 * g, size=(h, w), groups=g)
    assert sympy.expand(grouped.memory_access - closed) == 0
    bound = f.pointwise_memory_access_bound(macs=layer.macs, size=(h, w), sqrt=sympy.sqrt)
    gap = sympy.expand((layer.memory_access - bound) / (h * w))
    assert sympy.simplify(gap - (sympy.sqrt(c1) - sympy.sqrt(c2)) ** 2) == 0


def test_two_3x3_see_5x5_with_fewer_weights() -> None:
    """VGG's argument: the same field, 18 C^2 against 25 C^2."""
    (c,) = symbols("c,")
    at = {"c_in": c, "c_out": c, "size": (9, 9), "bias": False}
    assert f.receptive_field(layers=[(3,), (3,)]).size == f.receptive_field(layers=[(5,)]).size
    assert sympy.expand(2 * f.conv(**at, kernel=3).params - 18 * c**2) == 0
    assert sympy.expand(f.conv(**at, kernel=5).params - 25 * c**2) == 0


def test_receptive_field_is_the_same_from_both_ends_for_all_chains() -> None:
    """Forwards minus backwards is 0 for any three layers."""
    chain = [symbols(f"k{i} s{i} p{i} d{i}") for i in range(3)]
    forwards, backwards = f.receptive_field(layers=chain), f.receptive_field_backwards(layers=chain)
    for one, other in zip(figures(forwards), figures(backwards), strict=True):
        assert sympy.expand(one - other) == 0


def test_multi_head_attention_has_one_price_of_weights() -> None:
    """Needing the weights changes no MAC, for all sizes."""
    length, batch, heads, width = symbols("l n h e")
    at = {"embed_dim": heads * width, "num_heads": heads, "queries": length, "batch": batch}
    a, b = (f.multi_head_attention(**at, need_weights=flag) for flag in (True, False))
    assert sympy.expand(a.macs - b.macs) == 0
    closed = batch * (4 * length * (heads * width) ** 2 + 2 * length**2 * heads * width)
    assert sympy.expand(a.macs - closed) == 0


def test_further_keys_cost_multi_head_attention_the_same_for_all_sizes() -> None:
    """Each key more is 2 macs per query, sample and channel, and the learnt one a parameter for each of them."""
    length, batch, heads, width = symbols("l n h e")
    at = {"embed_dim": heads * width, "num_heads": heads, "queries": length, "batch": batch}
    plain, learnt, zeros, both = (
        f.multi_head_attention(**at, add_bias_kv=bias, add_zero_attn=zero)
        for bias, zero in ((False, False), (True, False), (False, True), (True, True))
    )
    one = 2 * batch * length * heads * width
    assert [sympy.expand(cost.macs - plain.macs) for cost in (learnt, zeros, both)] == [one, one, 2 * one]
    assert [sympy.expand(cost.params - plain.params) for cost in (learnt, zeros)] == [2 * heads * width, 0]
    # The learnt row is read, where zeros are only written.
    assert sympy.expand(learnt.memory_access - zeros.memory_access) == 2 * heads * width
