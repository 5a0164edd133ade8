"""The work of ops that do not work element by element, at the examples of their rules, counted by hand.

Each work is that of one example of the rule, in their order; one alone is that of the only one. ``X`` is a tensor of
shape (2, 3, 4): 24 elements. ``tests/ops/test_work.py`` holds the rules to it.
"""

from __future__ import annotations

from typing import Any

from costmodel.quantities import Work

W = Work


def of_examples(**counts: Any) -> tuple[Work, ...]:
    """A work for each example: ``of_examples(adds=(23, 22), divides=1)``."""
    n = max(len(c) for c in counts.values() if isinstance(c, tuple))
    return tuple(W(**{kind: c[i] if isinstance(c, tuple) else c for kind, c in counts.items()}) for i in range(n))


_SOFTMAX = W(compares=12 * 3, adds=48 + 12 * 3, transcendentals=48, divides=48)  # (2, 6, 4): 12 rows of 4

_SUMS = {
    # All; along two dimensions, 2 of 12; along the first, 12 of 2; along the middle, 8 of 3; along the last, 6 of 4.
    "sum": of_examples(adds=(23, 23, 23)),
    "sum.dim_IntList": of_examples(adds=(2 * 11, 12, 23, 23, 8 * 2, 8 * 2)),
    "nansum": of_examples(adds=(2 * 11, 12, 23)),
    "mean": W(adds=23, divides=1),
    "mean.dim": of_examples(adds=(2 * 11, 12, 23, 23), divides=(2, 12, 1, 1)),
    "prod": of_examples(multiplies=(23, 23)),
    "prod.dim_int": of_examples(multiplies=(8 * 2, 6 * 3, 8 * 2)),
    "amax amin": of_examples(compares=(2 * 11, 12, 23)),
    "max min": W(compares=23),
    "max.dim min.dim": of_examples(compares=(8 * 2, 6 * 3)),
    "argmax argmin": of_examples(compares=(23, 8 * 2, 6 * 3)),
    "aminmax": of_examples(compares=(2 * 23, 2 * 8 * 2, 2 * 6 * 3)),
    "count_nonzero": of_examples(compares=24, adds=(23, 8 * 2)),
    "count_nonzero.dim_IntList": W(compares=24, adds=3 * 7),
    "var.correction": (W(adds=23 + 24 + 23, multiplies=24, divides=2),
                       W(adds=2 * (11 + 12 + 11), multiplies=24, divides=4)),
    "std.correction": (W(adds=23 + 24 + 23, multiplies=24, divides=2, transcendentals=1),
                       W(adds=6 * (3 + 4 + 3), multiplies=24, divides=12, transcendentals=6)),
    "var_mean.correction": (W(adds=23 + 24 + 23, multiplies=24, divides=2),
                            W(adds=8 * (2 + 3 + 2), multiplies=24, divides=16)),
    "std_mean.correction": (W(adds=23 + 24 + 23, multiplies=24, divides=2, transcendentals=1),
                            W(adds=8 * (2 + 3 + 2), multiplies=24, divides=16, transcendentals=8)),
    "linalg_vector_norm": (
        W(multiplies=24, adds=23, transcendentals=1), W(multiplies=24, adds=2 * 11, transcendentals=2),
        W(adds=2 * 11), W(compares=24, adds=2 * 11),  # the 1-norm; how many are not 0
        W(compares=2 * 11), W(transcendentals=24 + 2, adds=2 * 11),  # the greatest; the 3-norm: powers and roots
        W(multiplies=24, adds=8 * 2, transcendentals=8),
        W(multiplies=2 * 6, adds=2 * 6 - 1, transcendentals=1),  # of 6 complex numbers
        W(multiplies=6 * 2, adds=6, transcendentals=6, compares=2 * 2),  # 6 absolute values, 2 rows of 3
    ),
    "norm.Scalar": (W(multiplies=24, adds=23, transcendentals=1), W(adds=23)),
    "norm.ScalarOpt_dim": (W(multiplies=24, adds=8 * 2, transcendentals=8),
                           W(multiplies=24, adds=6 * 3, transcendentals=6)),
    "logsumexp": (
        # The greatest, taken off and added again, of 2 rows of 12, and of 12 of 2.
        W(compares=2 * 11, adds=24 + 2 * 11 + 2, transcendentals=24 + 2),
        W(compares=12, adds=24 + 12 + 12, transcendentals=24 + 12),
        # 3 rows of 2 complex numbers: 12 additions of two each, 6 exponentials (3 tr, 2 mul), 3 logarithms
        # (3 tr, 2 mul, 1 add).
        W(compares=3, adds=2 * 12 + 3, multiplies=6 * 2 + 3 * 2, transcendentals=6 * 3 + 3 * 3),
    ),
    "cumsum": of_examples(adds=(24 - 8, 24 - 6)),
    "cumprod": of_examples(multiplies=(24 - 8, 24 - 6)),
    "cummax cummin": W(compares=24 - 8),
    "logcumsumexp": W(compares=16, adds=3 * 16, transcendentals=2 * 16),  # 16 times log(exp a + exp b)
    "trace": W(adds=2),
    "col2im": W(adds=2 * 12 * 12),
    "_softmax _safe_softmax": _SOFTMAX,
    "_log_softmax": W(compares=8 * 5, adds=48 + 8 * 5 + 48, transcendentals=48 + 8),  # 8 rows of 6
    "_softmax_backward_data": W(multiplies=24 + 24, adds=8 * 2 + 24),  # y (g - sum(g y)), 8 rows of 3
}  # fmt: skip


def _attention(heads: int, values: int, masked: int, dropped: int) -> Work:
    """Queries (5, 8), keys (7, 8), values (7, n) of each head: two products, a scale, a softmax of 5 rows of 7."""
    scores = 35 * heads
    return W(
        macs=scores * 8 + scores * values, multiplies=scores * (1 + 2 * dropped), divides=scores,
        adds=scores + 30 * heads + scores * masked, compares=30 * heads, transcendentals=scores,
    )  # fmt: skip


_PRODUCTS = {
    "mm": W(macs=3 * 4 * 5),
    "bmm": W(macs=2 * 3 * 4 * 5),
    "mv": W(macs=12),
    "dot vdot": W(macs=4),
    "addmm": (W(macs=60, adds=15), W(macs=60, multiplies=15), W(macs=60, adds=15, multiplies=15)),
    "baddbmm": W(macs=120, adds=30, multiplies=30),
    "addbmm": W(macs=120, adds=15),
    "addmv": W(macs=12, adds=3),
    "addr": (W(multiplies=12, adds=12), W(multiplies=3 * 12, adds=12)),
    "linear": (W(macs=6 * 4 * 5, adds=6 * 5), W(macs=3 * 4 * 5)),
    "bilinear": W(macs=3 * 5 * (4 * 2 + 2), adds=15),  # x^T W, then times the other
    "_grouped_mm": of_examples(macs=(6 * 8 * 4, 4 * 8 * 12, 4 * 8 * 12, 2 * 4 * 8 * 12)),
    "scaled_dot_product_attention": tuple(
        _attention(heads, values, masked, dropped)
        for heads, values, masked, dropped in (
            (8, 8, 0, 0), (8, 8, 0, 0), (8, 3, 0, 0), (8, 8, 1, 0), (8, 8, 0, 0), (8, 8, 0, 1), (1, 8, 0, 0),
            (8, 8, 0, 0), (8, 8, 0, 0),
        )
    ),
    "_scaled_dot_product_flash_attention_for_cpu": (_attention(8, 8, 0, 0), _attention(8, 8, 1, 0)),
    "convolution": (
        # 2 x 6 x 5 x 4 outputs of 4 x 9 taps; 2 of the 15 taps along the height lie on padding.
        W(macs=240 * 36, macs_on_padding=2 * 12 * (2 * 6 * 4)),
        # 2 x 8 x 9 x 9 outputs of 2 x 6 taps; 27 taps along the height of which 2, 18 along the width of which 2.
        W(macs=1296 * 12, adds=1296, macs_on_padding=(27 * 18 - 25 * 16) * (2 * 8 * 2)),
        # Transposed: 2 x 4 x 72 inputs onto 3 x 6 places each; the first row's first lies in the cropped part.
        W(macs=2 * 4 * 72 * 18, adds=2 * 6 * 18 * 16, macs_on_padding=1 * 16 * (2 * 4 * 3)),
        W(macs=2 * 4 * 72 * 27),
        W(macs=2 * 6 * 9 * 12, macs_on_padding=2 * (2 * 6 * 4)),
        W(macs=2 * 3 * (3 * 4 * 7) * 18),
    ),
    "affine_grid_generator": of_examples(macs=(2 * 30 * 6, 3 * 7200 * 6, 2 * 120 * 12)),
}  # fmt: skip

_ORDER = {
    # Merge sort of 4: 5 comparisons, of 3: 3, of 2: 1, of 6: 11. A tournament of n: n - 1, then ceil(log2 n).
    "sort": of_examples(compares=(6 * 5, 8 * 3)),
    "sort.stable": W(compares=12),
    "topk": of_examples(compares=(6 * (3 + 2), 8 * 2)),
    "kthvalue": of_examples(compares=(6 * (3 + 2), 12)),
    "median.dim": of_examples(compares=(8 * (2 + 2), 6 * (3 + 2))),
    "median": W(compares=23 + 11 * 5),
    "nanmedian": W(compares=24 + 23 + 11 * 5),
    "nanmedian.dim": of_examples(compares=(8 * (3 + 2 + 2), 6 * (4 + 3 + 2))),
    "mode": of_examples(compares=(6 * (5 + 3), 8 * (3 + 2))),
    **dict.fromkeys(("_unique", "_unique2"), W(compares=11 + 5)),
    "unique_consecutive": of_examples(compares=(5, 5)),
    # A value lies in one of six places among five bounds: three comparisons.
    "bucketize.Tensor": of_examples(compares=(24 * 3, 24 * 3)),
    "searchsorted.Tensor": of_examples(compares=(24 * 3, 6 * 3)),
    "searchsorted.Scalar": W(compares=3),
    "isin.Tensor_Tensor": W(compares=6 * 4),
    "isin.Tensor_Scalar": W(compares=6),
    "isin.Scalar_Tensor": W(compares=4),
    # In range (2), (x - low) * bins / width, and one more in the bin; least and greatest of 24 and of 7.
    "histc": (W(compares=24, adds=24, multiplies=12, divides=12),
              W(compares=14 + 2 * 6, adds=14, multiplies=7, divides=7)),
    "histogram.bin_ct": (
        W(compares=48 + 2 * 23, adds=48, multiplies=24, divides=24),
        W(compares=48, adds=48 + 4 + 5, multiplies=24 + 5, divides=24 + 5),  # the sum, 5 widths, 5 products
    ),
    # Four edges: three bins, and beyond either end.
    "histogram.bins_tensor": W(compares=24 * 3, adds=24),
    "_histogramdd_bin_edges": W(compares=2 * 2 * 4),
    "_histogramdd_from_bin_cts": W(compares=2 * 10, adds=10 + 5, multiplies=10, divides=10),
    "_histogramdd_from_bin_tensors": W(compares=10 * 3, adds=5),
    "bincount": of_examples(adds=(6, 6)),
    "multinomial": W(adds=2 * 4, divides=10, compares=6 * 3),  # sums of 5, normalised; six draws looked up
    # Five rows of (2, 4), or one of (1, 4), written.
    "index_put _index_put_impl _unsafe_index_put": of_examples(adds=(0, 0, 40)),
    "put": W(adds=5),
    "_unsafe_masked_index_put_accumulate": W(adds=40),
    "scatter_add": W(adds=8),
    "scatter_reduce.two": (W(compares=8), W(adds=8, divides=24)),
    "scatter.reduce scatter.value_reduce": W(multiplies=8),
    "index_reduce": (W(compares=40), W(adds=40, divides=24)),
    "index_add": (W(adds=40), W(adds=40, multiplies=40)),
    "_embedding_bag _embedding_bag_forward_only": (
        # Seven rows of 4 in three bags; of their own weights; in two bags.
        W(adds=4 * 4), W(adds=4 * 4, divides=3 * 4), W(compares=4 * 4), W(adds=4 * 4, multiplies=7 * 4), W(adds=5 * 4),
    ),
}  # fmt: skip

_NORMS = {
    # (2, 4, 5, 6): 240 elements; a group of n: (n - 1) + n + (n - 1) + 1 add, 2 n mul, 2 div, 1 tr.
    "_batch_norm_with_update": W(adds=3 * (7 + 8 + 7 + 1) + 24 + 3 * 2, multiplies=48 + 24 + 3 * 5, divides=6,
                                 transcendentals=3),
    "native_batch_norm": (
        W(adds=240, multiplies=240), W(adds=240, multiplies=240),
        W(adds=4 * 179 + 240 + 4 * 2, multiplies=480 + 240 + 4 * 5, divides=8, transcendentals=4),
        W(adds=4 * 179, multiplies=480, divides=8, transcendentals=4),
    ),
    "_native_batch_norm_legit": (
        W(adds=240, multiplies=240),
        W(adds=4 * 179 + 240 + 4 * 2, multiplies=480 + 240 + 4 * 5, divides=8, transcendentals=4),
    ),
    "_native_batch_norm_legit.no_stats": W(adds=4 * 179 + 240, multiplies=720, divides=8, transcendentals=4),
    "_native_batch_norm_legit_no_training": W(adds=240, multiplies=240),
    "native_layer_norm": (W(adds=40 * 17 + 240, multiplies=720, divides=80, transcendentals=40),
                          W(adds=8 * 89, multiplies=480, divides=16, transcendentals=8)),
    "native_group_norm": (W(adds=4 * 179 + 240, multiplies=720, divides=8, transcendentals=4),
                          W(adds=8 * 89, multiplies=480, divides=16, transcendentals=8)),
    "instance_norm": (
        W(adds=8 * 89 + 240, multiplies=720, divides=16, transcendentals=8),
        # Statistics of 8 instances, each averaged over the batch of 2 for 4 channels.
        W(adds=8 * 89 + 8 * 2 + 8, multiplies=480 + 8 * 5, divides=16 + 8, transcendentals=8),
        W(adds=240, multiplies=240),
    ),
    "rms_norm": (W(adds=40 * 6, multiplies=720, divides=40, transcendentals=40),
                 W(adds=8 * 30, multiplies=480, divides=8, transcendentals=8)),
    "_fused_rms_norm": W(adds=40 * 6, multiplies=720, divides=40, transcendentals=40),
    # g / |v| times v: 2 rows of 120, 6 of 40.
    "_weight_norm_interface": (W(adds=2 * 119, multiplies=480, divides=2, transcendentals=2),
                               W(adds=6 * 39, multiplies=480, divides=6, transcendentals=6)),
    # 2 slices of 12, 4 of 6, 2 of 3 complex numbers; 3 rows of 4: norm + eps, compared, divided by, multiplied in.
    "renorm": (W(multiplies=48, adds=2 * (11 + 1), divides=2, compares=2, transcendentals=2),
               W(multiplies=24, adds=4 * (5 + 1), divides=4, compares=4),
               W(multiplies=2 * (6 + 3 * 4), adds=2 * (5 + 1 + 3 * 2), divides=2, compares=2, transcendentals=2)),
    "embedding_renorm": W(multiplies=24, adds=3 * (3 + 1), divides=3, compares=3, transcendentals=3),
    "_cdist_forward": (
        # 18 or 30 pairs of vectors of 4.
        W(adds=18 * 7, multiplies=72, transcendentals=18), W(adds=30 * 7), W(adds=30 * 4, compares=30 * 3),
        W(adds=18 * 7, transcendentals=18 * 5),
    ),
    "_euclidean_dist": W(adds=18 * 7, multiplies=72, transcendentals=18),
    "_pdist_forward": W(adds=10 * 7, multiplies=40, transcendentals=10),
    "dist": W(adds=24 + 23, multiplies=24, transcendentals=1),
    # |x - y| < atol + rtol |y|; of complex numbers two absolute values, and real bounds counted as they are.
    "allclose": (W(adds=48, multiplies=24, compares=24),
                 W(adds=6 * (2 + 1 + 1 + 1), multiplies=6 * (2 + 2 + 1), compares=6, transcendentals=12)),
    "linalg_cross": W(multiplies=2 * 6, adds=2 * 3),
    # Of 10 elements, a weight decay of 0.5 being 1 mul + 1 add, or of AdamW 1 mul; every factor is 0.5.
    **dict.fromkeys(("_fused_sgd_", "_fused_sgd_.tensor_lr"), W(multiplies=10 * (1 + 2 + 1), adds=10 * (1 + 1 + 1))),
    **dict.fromkeys(("_fused_adam_", "_fused_adam_.tensor_lr"),
                    W(multiplies=10 * (1 + 1 + 3 + 1), adds=10 * (1 + 2 + 1 + 1 + 1), compares=10, transcendentals=10,
                      divides=20)),
    **dict.fromkeys(("_fused_adamw_", "_fused_adamw_.tensor_lr"),
                    W(multiplies=10 * (1 + 1 + 3 + 1), adds=10 * (2 + 1 + 1 + 1), compares=10, transcendentals=10,
                      divides=20)),
    **dict.fromkeys(("_fused_adagrad_", "_fused_adagrad_.tensor_lr"),
                    W(multiplies=10 * (1 + 1 + 1), adds=10 * (1 + 1 + 1 + 1), transcendentals=10, divides=10)),
    # Of one tensor: least and greatest of 24, 2 moving averages, a scale, a zero point; see test_counted.
    "_fused_moving_avg_obs_fq_helper": W(multiplies=48 + 2, adds=48 + 6, compares=48 + 46, divides=2),
    "_fake_quantize_learnable_per_tensor_affine": W(multiplies=48, adds=48, compares=48 + 2),
    "_fake_quantize_learnable_per_channel_affine": W(multiplies=48, adds=48, compares=48 + 6),
    # N / 2 log2 N butterflies of 4 mul + 6 add: of 32 points in 4 and 8, twice; halved where one side is real.
    "_fft_c2c": W(multiplies=2 * 80 * 4, adds=2 * 80 * 6),
    "_fft_r2c": W(multiplies=80 * 4 + 2 * 2 * 4 * 5, adds=80 * 6),  # scaled: 2 for each of 2 x 4 x 5 results
    "_fft_c2r": W(multiplies=80 * 4 + 64, adds=80 * 6),  # scaled: 1 for each of 64 real results
}  # fmt: skip

BY_EXAMPLE = {
    name: work if isinstance(work, tuple) else (work,)
    for table in (_SUMS, _PRODUCTS, _ORDER, _NORMS)
    for names, work in table.items()
    for name in names.split()
}
"""The work of each example of a rule by op."""
