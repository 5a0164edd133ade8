"""The work of gradients at the examples of their rules, by hand; ``tests/ops/gradients/`` has them as loops."""

from __future__ import annotations

from costmodel.quantities import Work

W = Work
SIGMOID = W(transcendentals=1, adds=1, divides=1)

OF_ACTIVATIONS: dict[str, Work | tuple[Work, ...]] = {
    "threshold_backward": W(compares=1),
    "hardtanh_backward": W(compares=2),
    "leaky_relu_backward": W(compares=1, multiplies=1),
    "sigmoid_backward": W(multiplies=2, adds=1),  # g y (1 - y)
    "tanh_backward": W(multiplies=2, adds=1),  # g (1 - y y)
    "silu_backward": SIGMOID + W(multiplies=3, adds=2),  # g s (1 + x (1 - s))
    # exp, log, tanh and a sum; the sigmoid; x s, t t, their product, times g; 1 - t t, and the sum.
    "mish_backward": W(transcendentals=3, adds=1) + SIGMOID + W(multiplies=4, adds=2),
    # x / sqrt 2, erf, + 1, / 2; x x, times - 1/2, exp, over sqrt 2 pi; x pdf, + cdf, times g.
    "gelu_backward": W(multiplies=7, adds=2, transcendentals=2),
    "hardsigmoid_backward": W(compares=2, divides=1),
    "hardswish_backward": W(compares=2, adds=1, divides=1, multiplies=1),
    "softplus_backward": W(multiplies=2, transcendentals=1, adds=1, divides=1, compares=1),
    "hardshrink_backward": W(compares=2),
    "softshrink_backward": W(compares=2),
    "logit_backward": W(compares=2, adds=1, multiplies=1, divides=1),
    "log_sigmoid_backward": W(compares=1, adds=2, divides=1, multiplies=1),
    # alpha exp(x) g; a scale of the result is once more, that of the input twice; from the result, g (y + alpha).
    "elu_backward": (
        W(compares=1, transcendentals=1, multiplies=2), W(compares=1, transcendentals=1, multiplies=3),
        W(compares=1, transcendentals=1, multiplies=4), W(compares=1, adds=1, multiplies=1),
    ),
    "rrelu_with_noise_backward": W(multiplies=1),
    "_prelu_kernel_backward": W(compares=1, multiplies=2),
}  # fmt: skip

_CONVOLUTION = 2 * 6 * 7 * 6 * 4 * 9  # outputs of (2, 6, 7, 6), over 4 channels of 3 x 3 each
_DEPTHWISE = 2 * 4 * 9 * 8 * 9
# Along an axis of n, of 3 taps by 1 with padding 1, the first and the last window have one tap on padding.
_DEPTHWISE_INSIDE = 2 * 4 * (9 * 3 - 2) * (8 * 3 - 2)
_ROWS = 40 * 6  # 40 rows of 6
_ROW = W(adds=6, multiplies=6) + W(adds=5) + W(adds=5, multiplies=6) + W(divides=2, multiplies=12, adds=12)
_CHANNEL = W(adds=60, multiplies=60) + W(adds=59) + W(adds=59, multiplies=60)  # of a batch of 2 of 5 x 6
_GROUP = _CHANNEL + W(divides=2, multiplies=120, adds=120)


def of_examples(*works: Work) -> tuple[Work, ...]:
    """One for each example of the rule."""
    return works


def _pulls(sums: int) -> tuple[Work, ...]:
    """Of a pair of 4 components, by the norms 1, 2, 3 and infinity."""
    both = W(adds=4 + sums)
    return (both, both + W(divides=1, multiplies=4), both + W(transcendentals=5, divides=1, multiplies=8),
            both + W(compares=4))  # fmt: skip


# ((g + 1) size - 1) / 2
_COORDINATE = W(adds=2, multiplies=1, divides=1)
# Two inner taps, two outer ones, and the three other distances.
_CUBIC = W(multiplies=3, adds=2).times(2) + W(multiplies=3, adds=3).times(2) + W(adds=3)

OF_GRADIENTS: dict[str, tuple[Work, ...]] = {
    "_log_softmax_backward_data": of_examples(W(transcendentals=24, multiplies=24, adds=8 * 2 + 24)),
    # The half of (2, 6, 4).
    "glu_backward": of_examples(*[(SIGMOID + W(multiplies=3, adds=1)).times(24)] * 2),
    "convolution_backward": of_examples(
        W(macs=2 * _CONVOLUTION, adds=2 * 42 * 6 - 6),
        W(macs=_CONVOLUTION),
        W(macs=2 * _DEPTHWISE, macs_on_padding=2 * (_DEPTHWISE - _DEPTHWISE_INSIDE)),
        W(macs=2 * (2 * 4 * 72) * (6 * 9), adds=2 * 110 * 6 - 6),
        W(macs=2 * (60 * 6 * 31 * 30) * (4 * 9), adds=60 * 930 * 6 - 6),
        W(macs=2 * (2 * 4 * 72) * (3 * 9), adds=2 * 182 * 6 - 6),  # transposed, in 2 groups
        W(macs=2 * (2 * 6 * 7) * (4 * 3), adds=14 * 6 - 6),
    ),
    "native_batch_norm_backward": of_examples(
        (_CHANNEL + W(divides=2, multiplies=121, adds=120)).times(4),
        # 1 / sqrt(v + eps), times w; g times that; (x - m) r g summed, and g summed.
        (W(adds=1, transcendentals=1, multiplies=1 + 60) + _CHANNEL).times(4),
        (_CHANNEL + W(divides=2, multiplies=120, adds=120)).times(4),
        _CHANNEL.times(4),
    ),
    "native_layer_norm_backward": of_examples(
        _ROW.times(40) + W(multiplies=_ROWS) + W(multiplies=_ROWS, adds=_ROWS - 6) + W(adds=_ROWS - 6),
        _ROW.times(40),
    ),
    # 4 groups of 60, channels of 30 in each of 2 samples.
    "native_group_norm_backward": of_examples(
        _GROUP.times(4) + W(multiplies=240) + W(multiplies=240, adds=240 - 4) + W(adds=240 - 4),
        _GROUP.times(4),
    ),
    # 2 slices of 120: sum(d v), s / norm, g / norm, s / norm^2, and (d - v b) a.
    "_weight_norm_interface_backward": of_examples(W(multiplies=120 + 1 + 240, adds=119 + 120, divides=3).times(2)),
    "avg_pool2d_backward": of_examples(W(divides=72, adds=288)),
    "avg_pool3d_backward": of_examples(W(divides=144, adds=1152)),
    "_adaptive_avg_pool2d_backward": of_examples(W(divides=72, adds=288)),
    "_adaptive_avg_pool3d_backward": of_examples(W(divides=144, adds=1152)),
    **{
        f"{name}{axes}d{rest}_backward": of_examples(W(adds=72 if axes == 2 else 144))
        for axes in (2, 3)
        for name, rest in (("max_pool", "_with_indices"), ("adaptive_max_pool", ""), ("fractional_max_pool", ""))
    },
    **{
        f"{name}{axes}d_backward": of_examples(W(adds=6 * n))
        for axes, n in ((1, 10), (2, 120), (3, 1680))
        for name in ("upsample_nearest", "_upsample_nearest_exact")
    },
    "upsample_linear1d_backward": of_examples(W(adds=2, multiplies=2).times(60)),
    "upsample_bilinear2d_backward": of_examples(W(adds=4, multiplies=4).times(720)),
    "upsample_trilinear3d_backward": of_examples(W(adds=8, multiplies=8).times(10080)),
    "upsample_bicubic2d_backward": of_examples(W(adds=16, multiplies=16).times(720)),
    # Doubled from 5 to 10 and from 6 to 12, each output sees two inputs of each axis but for the first and the last.
    "_upsample_bilinear2d_aa_backward": of_examples(W(adds=6, multiplies=6).times(18 * 22)),
    # Four, but for two, three and three at each end.
    "_upsample_bicubic2d_aa_backward": of_examples(W(adds=6, multiplies=6).times(32 * 40)),
    **{
        f"{mode}_pad{axes}d_backward": of_examples(W(adds=6 * n))
        for mode in ("reflection", "replication")
        for axes, n in ((1, 9), (2, 56), (3, 378))
    },
    # (x - t) 2 g of 24 elements; a mean divides once.
    "mse_loss_backward": of_examples(*(W(adds=24, multiplies=48, divides=n) for n in (1, 0, 0))),
    "smooth_l1_loss_backward": of_examples(
        *(W(adds=24, compares=48, multiplies=24, divides=24 + n) for n in (1, 0, 0))
    ),
    "huber_loss_backward": of_examples(*(W(adds=24, compares=48, multiplies=24, divides=n) for n in (1, 0, 0))),
    "soft_margin_loss_backward": of_examples(
        *(W(adds=24, multiplies=72, transcendentals=24, divides=24 + n) for n in (1, 0, 0))
    ),
    "binary_cross_entropy_backward": of_examples(
        *(W(adds=48, multiplies=48, compares=24, divides=24 + n) for n in (1, 0, 0))
    ),
    "nll_loss_backward": of_examples(W(divides=4), W(multiplies=4)),
    "nll_loss2d_backward": of_examples(W(divides=24, multiplies=24)),
    # 4 samples of 5 classes: 4 others each.
    "multi_margin_loss_backward": of_examples(
        W(adds=3 * 16, compares=16, multiplies=20), W(adds=3 * 16, compares=16, multiplies=3 * 16 + 20)
    ),
    "multilabel_margin_loss_backward": of_examples(W(adds=4 * 24, compares=24, multiplies=20)),
    # 7 and 5 states, in 5 and 4 steps after the first, 6 and 5 in all; 11 steps of 5 classes.
    # Windows that overlap: each element of (2, 3, 3) is added; else each is copied.
    "unfold_backward": of_examples(W(adds=18), W()),
    # 6 results of 0 elements: a mean is divided, and a product multiplied by its gradient, all the same.
    "_segment_reduce_backward": of_examples(W(), W(divides=6), W(multiplies=6), W(), W()),
    # For each of 5 outputs: x1^T A, then times x2; g A, then times x2, summed; x1 g, then times x2; x1^T A, times g.
    "_trilinear": of_examples(
        W(macs=5 * (3 * 4 * 2 + 3 * 2)),
        W(multiplies=5 * 24, macs=5 * 24, adds=4 * 12),
        W(multiplies=5 * 12, macs=5 * 24),
        W(macs=5 * 24, multiplies=5 * 6, adds=4 * 6),
    ),
    "_ctc_loss_backward": of_examples(
        W(compares=2, adds=7, transcendentals=4).times(7 * 5 + 5 * 4)
        + W(compares=1, adds=5, transcendentals=3).times(7 * 6 + 5 * 5)
        + W(transcendentals=2, adds=3, multiplies=1).times(55)
    ),
    "_ctc_loss_backward.Tensor": of_examples(W()),  # which depends on the lengths' values
    # 8 heads of 5 x 7 scores of 8 features: 5 products; scaled, times dP - D, scaled; less lse and D; exp; rows of o g.
    "_scaled_dot_product_flash_attention_for_cpu_backward": of_examples(
        *[W(macs=5 * 280 * 8, multiplies=3 * 280 + 40 * 8, adds=2 * 280 + 40 * 7, transcendentals=280)] * 2
    ),
    # 30 pairs of 4 components, or 10 pairs that pull both points: the difference, by the order, and the sum.
    "_cdist_backward": tuple(w.times(30) for w in _pulls(sums=4)),
    "_pdist_backward": tuple(w.times(10) for w in _pulls(sums=8)),
    # 24 points of 3 channels: two coordinates each, then by hand in tests/ops/gradients/test_warping.py.
    "grid_sampler_2d_backward": of_examples(
        _COORDINATE.times(48)
        + W(
            adds=4 * 24,
            multiplies=4 * 24 + 4 * 72,
        )
        + W(adds=4 * 72)
        + W(multiplies=24 * (12 + 2 * (4 + 1)), adds=24 * (8 + 2 * 3)),
        _COORDINATE.times(48) + W(adds=72),
        _COORDINATE.times(48)
        + (W(adds=1) + _CUBIC).times(48)
        + W(multiplies=16 * 24 + 16 * 72, adds=16 * 72)
        + W(multiplies=8, adds=6).times(48)
        + W(multiplies=24 * (48 + 2 * (32 + 1)), adds=24 * (32 + 2 * 15)),
    ),
    # 48 points of 3 channels, 3 coordinates each, 8 corners.
    "grid_sampler_3d_backward": of_examples(
        _COORDINATE.times(144)
        + W(adds=6 * 48, multiplies=16 * 48 + 8 * 144)
        + W(adds=8 * 144)
        + W(multiplies=48 * (24 + 3 * (16 + 1)), adds=48 * (16 + 3 * 7)),
        _COORDINATE.times(144) + W(adds=144),
    ),
    "batch_norm_backward": of_examples((_CHANNEL + W(divides=2, multiplies=121, adds=120)).times(4)),
    "_embedding_bag_backward": of_examples(W(adds=28)),
    "log_sigmoid_forward": of_examples(W(transcendentals=2, adds=1).times(48)),
    "embedding_dense_backward": of_examples(W(adds=24), W(adds=24, divides=24)),
    "_embedding_bag_dense_backward": of_examples(W(adds=28), W(adds=28, divides=28)),
    "_embedding_bag_per_sample_weights_backward": of_examples(W(multiplies=28, adds=21)),
    # An LSTM's 10 steps of 4 units on 3 features: each weight twice. Of a unit, what the next step made of its output
    # is added; tanh(c); dc from two sources; three gates by s (1 - s), one by 1 - g g, each times two factors; dc
    # times f. A bias sums 10 rows.
    "mkldnn_rnn_layer_backward": of_examples(
        *[
            W(macs=10 * 2 * (16 * 3 + 16 * 4), adds=9 * 16)
            + W(adds=1 + 2 + 4, multiplies=3 + 4 * 3 + 1, transcendentals=1).times(40)
        ]
        * 2
    ),
}
