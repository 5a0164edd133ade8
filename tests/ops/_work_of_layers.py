"""The work of pools, recurrent layers, resampling, losses and factorisations at the examples of their rules, by hand.

As in ``tests/ops/_work_of_examples.py``.
"""

from __future__ import annotations

from costmodel.quantities import Work
from tests.ops._work_of_examples import W, of_examples

STEP = {
    # One step of 4 units on 3 inputs: two products and two biases a gate; four gates of an LSTM: three sigmoids and
    # a tanh, then c = f c + i g and h = o tanh(c).
    "lstm": W(macs=16 * 3 + 16 * 4, adds=32 + 16 + 12 + 4, multiplies=8 + 4, divides=12, transcendentals=12 + 8),
    # Two sigmoids and a tanh; r times a part, and n + z (h - n).
    "gru": W(macs=12 * 3 + 12 * 4, adds=24 + 12 + 8 + 4 + 4, multiplies=4 + 8, divides=8, transcendentals=8 + 4),
    "rnn_tanh": W(macs=4 * 3 + 4 * 4, adds=8 + 4, transcendentals=4),
    "rnn_relu": W(macs=4 * 3 + 4 * 4, adds=8 + 4, compares=4),
}
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def _recurrent() -> dict[str, tuple[Work, ...]]:
    """Batches of 2, 5 steps: one layer; two of two directions, with dropout between; two without biases."""
    found = {}
    for cell, gates in GATES.items():
        step, rows = STEP[cell], 4 * gates
        wider = step + W(macs=rows * (8 - 3))
        # Inputs of the second layer are the 4 outputs of the first.
        bare = (step + W(adds=-2 * rows)).times(10) + (step + W(adds=-2 * rows, macs=rows * (4 - 3))).times(10)
        layers = [step.times(10), (step + wider).times(20) + W(multiplies=2 * 2 * 5 * 8), bare]
        if cell == "lstm":  # of two directions, projected from 4 units to 3: the second layer has 6 inputs
            projected = step + W(macs=16 * (3 - 4) + 3 * 4)
            layers.append((projected + projected + W(macs=16 * (6 - 3))).times(20))
        found[f"{cell}.input"] = tuple(layers)
        found[f"{cell}_cell"] = (step.times(2), (step + W(adds=-2 * rows)).times(2))
    found["mkldnn_rnn_layer"] = STEP["lstm"].times(10), (STEP["lstm"] + W(adds=-2 * 16)).times(10)
    return found


# Outputs and taps of windows on (2, 3, 9), (2, 3, 9, 8), (2, 3, 9, 8, 7), or a batch of one: 3 wide by 2 with padding
# 1; 2 wide; 2 wide, apart by 2, step by step; 2 wide by 3 with padding, rounded up. Of each: (outputs, taps).
_WINDOWS = {
    1: ((6 * 5, 3), (6 * 4, 2), (6 * 7, 2), (6 * 4, 2)),
    2: ((6 * 5 * 4, 9), (6 * 4 * 4, 4), (6 * 7 * 6, 4), (6 * 4 * 3, 4)),
    3: ((6 * 5 * 4 * 4, 27), (6 * 4 * 4 * 3, 8), (6 * 7 * 6 * 5, 8), (6 * 4 * 3 * 3, 8)),
}


def _sizes(n: int, outputs: int) -> list[int]:
    """How long the windows of an adaptive pool are."""
    edges = [(n * i // outputs, -(-n * (i + 1) // outputs)) for i in range(outputs)]
    return [end - start for start, end in edges]


def _pools() -> dict[str, tuple[Work, ...]]:
    found = {}
    for axes, windows in _WINDOWS.items():
        maxima = tuple(W(compares=outputs * (taps - 1)) for outputs, taps in windows)
        found[f"max_pool{axes}d"] = found[f"max_pool{axes}d_with_indices"] = maxima
        last = windows[3]
        averages = (windows[0], windows[1], (last[0] // 2, last[1]), last)  # the third has no batch
        found[f"avg_pool{axes}d"] = tuple(W(adds=n * (taps - 1), divides=n) for n, taps in averages)
    # To 4 a side: windows of 3 of 9, 2 of 8, and 2 + 3 + 3 + 2 of 7; to one: all of 9, 72 and 504, without a batch.
    assert (_sizes(9, 4), _sizes(8, 4), _sizes(7, 4)) == ([3] * 4, [2] * 4, [2, 3, 3, 2])
    for axes, seen in ((1, 12), (2, 12 * 8), (3, 12 * 8 * 10)):
        whole, cells = 9 * (1, 8, 56)[axes - 1], 4**axes
        met = (6 * (seen - cells), 3 * (whole - 1))
        found[f"adaptive_max_pool{axes}d"] = of_examples(compares=met)
        if axes > 1:
            found[f"_adaptive_avg_pool{axes}d"] = of_examples(adds=met, divides=(6 * cells, 3))
    # Every output's window is whole, wherever it is drawn; gradients are each added once.
    found["fractional_max_pool2d"] = (W(compares=6 * 9 * 3),)
    found["fractional_max_pool3d"] = (W(compares=6 * 27 * 7),)
    return found


def _antialiased(n: int, m: int, corners: bool, support: float) -> int:
    """Inputs that the m outputs of an axis of n see: those within the filter's support."""
    scale = (n - 1) / (m - 1) if corners else n / m
    centres = [scale * (o + 0.5) for o in range(m)]
    return sum(min(int(c + support + 0.5), n) - max(int(c - support + 0.5), 0) for c in centres)


def _seen(support: float) -> tuple[Work, ...]:
    """(2, 3, 5, 4) to 7 x 7: an output is a weighted sum of what it sees along both axes."""
    taps = [
        6 * _antialiased(4, 7, corners, support) * _antialiased(5, 7, corners, support) for corners in (False, True)
    ]
    return tuple(W(multiplies=n, adds=n - 294) for n in taps)


_RESAMPLING = {
    # A weighted sum of k neighbours takes k products and k - 1 additions.
    "upsample_linear1d": (W(multiplies=42 * 2, adds=42),) * 2,
    "upsample_bilinear2d": (W(multiplies=294 * 4, adds=294 * 3),) * 2,
    "upsample_trilinear3d": (W(multiplies=2058 * 8, adds=2058 * 7),) * 2,
    "upsample_bicubic2d": (W(multiplies=294 * 16, adds=294 * 15),) * 2,
    "_upsample_bilinear2d_aa": _seen(1),
    "_upsample_bicubic2d_aa": _seen(2),
}


def _sampled(points: int, coordinates: int, outputs: int, axes: int, corners: bool) -> Work:
    """To pixels: (g + 1) / 2 (size - 1), or another subtraction; distances and their products; a weighted sum."""
    neighbours = 2**axes
    pixels = W(adds=1 if corners else 2, multiplies=1, divides=1).times(coordinates)
    weights = W(adds=2 * axes, multiplies=neighbours * (axes - 1)).times(points)
    return pixels + weights + W(multiplies=neighbours, adds=neighbours - 1).times(outputs)


_SAMPLING = {
    "grid_sampler_2d": (
        _sampled(24, 48, 72, 2, corners=False), W(adds=2 * 48, multiplies=48, divides=48),
        _sampled(24, 48, 72, 2, corners=True),
        # Four distances, two polynomials of 3 products and 2 sums, two of 3 and 3; five weighted sums of 4.
        W(adds=2 * 48 + 48 * (4 + 10) + 72 * 5 * 3, multiplies=48 + 48 * 12 + 72 * 5 * 4, divides=48),
    ),
    "grid_sampler_3d": (
        _sampled(48, 144, 144, 3, corners=False), W(adds=2 * 144, multiplies=144, divides=144),
        _sampled(48, 144, 144, 3, corners=True),
    ),
}  # fmt: skip


def _reduced(term: Work, **beside: int) -> tuple[Work, ...]:
    """The mean, the terms, and the sum, of 24."""
    terms = term.times(24) + W(**beside)
    return terms + W(adds=23, divides=1), terms, terms + W(adds=23)


_CROSS_ENTROPY = W(transcendentals=2, compares=2, multiplies=2, adds=2)
_OF_LOGITS = W(transcendentals=2, adds=1 + 2, multiplies=1)
_CTC_STATE, _CTC_LAST = W(compares=2, adds=7, transcendentals=4), W(compares=1, adds=4, transcendentals=3)
_LOSSES = {
    "mse_loss": _reduced(W(adds=1, multiplies=1)),
    "smooth_l1_loss": (*_reduced(W(adds=2, compares=1, multiplies=2, divides=1)), W(adds=24 + 23, divides=1)),
    "huber_loss": _reduced(W(adds=2, compares=1, multiplies=3)),
    "soft_margin_loss": _reduced(W(multiplies=1, transcendentals=2, adds=1)),
    "binary_cross_entropy": (_reduced(_CROSS_ENTROPY)[0], _reduced(_CROSS_ENTROPY + W(multiplies=1))[1]),
    "binary_cross_entropy_with_logits": (
        # Plain; the positive class weighted by 4 numbers, of which one is taken off; each term weighted.
        _reduced(_OF_LOGITS)[0], _reduced(_OF_LOGITS + W(multiplies=2, adds=1), adds=4)[1],
        _reduced(_OF_LOGITS + W(multiplies=1))[2],
    ),
    "nll_loss_forward": (W(adds=3, divides=1), W(multiplies=4)),
    "nll_loss2d_forward": (W(adds=23, divides=1), W(multiplies=24)),
    # 4 rows, each of 4 wrong classes: margin - x_y + x_j against 0; their sum over 5.
    "multi_margin_loss": (W(adds=32 + 4 * 3 + 3, compares=16, divides=4 + 1),
                          W(adds=32 + 4 * 3, compares=16, multiplies=16 + 16, divides=4)),
    # At most 2 labels times 3 others of 5 classes.
    "multilabel_margin_loss_forward": (W(adds=4 * (12 + 5) + 3, compares=24, divides=4 + 1),),
    # Steps beyond the first times 2 labels + 1 states: 5 x 7 and 4 x 5; then 5 x 1 twice, without a label.
    "_ctc_loss": (_CTC_STATE.times(35 + 20) + _CTC_LAST.times(2),),
    "_ctc_loss.Tensor": (W(),),  # which depends on the lengths' values
}  # fmt: skip

BY_LAYER: dict[str, tuple[Work, ...]] = _recurrent() | _pools() | _RESAMPLING | _SAMPLING | _LOSSES
"""The work of each example of a rule by op."""
