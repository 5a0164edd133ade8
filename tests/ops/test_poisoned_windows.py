"""Windows against the kernels themselves: one input element is NaN, and what turns NaN has read it."""

from __future__ import annotations

import random

import pytest
import torch

from costmodel.access import Reshaped
from costmodel.ops import (
    RULES,
    activation,
    attention,
    bilinear,
    convolution,
    matmul,
    normalisation,
    pooling,
    recurrent,
    resampling,
    warping,
)
from tests.ops._asking import positions, touches
from tests.ops._binding import RealCall, resolve, runnable

MODULES = [
    activation, attention, bilinear, convolution, matmul, normalisation, pooling, recurrent, resampling, warping,
]  # fmt: skip
OURS = {module.__name__ for module in MODULES}

# Where taps cannot say it more precisely, and why.
WIDER = {
    "a gap in a dilated or strided window": ("convolution", "max_pool", "grid_sampler"),
    "earlier steps only, and not the initial state's features one by one": ("lstm", "gru", "rnn_tanh", "rnn_relu"),
    "a causal mask's upper triangle, a group's heads": ("scaled_dot_product",),
    "a group of channels, the channels woven into one": ("group_norm", "shuffle"),
    "two positions, half the channels apart": ("glu",),
    "the comparison with NaN is false": ("hardshrink", "threshold"),
    "a weight of exactly 0 is not read": ("_aa", "affine_grid"),
}
LOOSE = tuple(name for names in WIDER.values() for name in names)


def examples() -> list[tuple[str, int]]:
    """Each example of the rules of these families."""
    return [
        (target, i)
        for target, rule in RULES.items()
        if {f.__module__ for f in (rule.work, rule.access, rule.outputs) if callable(f)} & OURS
        for i in range(len(rule.examples))
        if runnable(target) is not None
    ]


@pytest.mark.parametrize(("target", "index"), examples())
def test_an_op_reads_what_its_window_says(target: str, index: int) -> None:
    """No output turns NaN that the window does not hold; where the taps can say it exactly, no other is held."""
    op = resolve(target)
    assert op is not None
    call = RealCall.of(op, RULES[target].examples[index])
    clean = call.copy().run()
    asked = call.record(clean)
    draw = random.Random(0)
    outputs = [(i, y) for i, y in enumerate(clean) if y.is_floating_point() and y.numel() and i < len(asked.outputs)]
    if "norm" in target:
        outputs = outputs[:1]  # saved statistics lead nowhere
    for number, y in outputs:
        access = RULES[target].access(asked, number)
        assert not isinstance(access, Reshaped)
        for name, t in call.tensors():
            if name not in access or not t.is_floating_point() or not t.numel():
                continue
            every = list(positions(tuple(t.shape)))
            for p in draw.sample(every, min(len(every), 3)):
                poisoned = call.copy()
                dict(poisoned.tensors())[name][p] = torch.nan
                turned = poisoned.run()[number].isnan() & ~y.isnan()
                held = {
                    at
                    for at in positions(tuple(y.shape))
                    if all(touches(tap, x, at) for tap, x in zip(access[name], p, strict=True))
                }
                reached = {tuple(at) for at in turned.nonzero().tolist()}
                if "linear" in target and "upsample" in target:
                    # Outside the first and the last pixel's centre the position is clamped, and the neighbour
                    # within is read at weight 0: nothing reaches the output that way.
                    reached = {at for at in reached if at in held or 0 not in at}
                assert reached <= held, f"{name}{p} reaches output {number} at {sorted(reached - held)[:3]}"
                if not any(part in target for part in LOOSE) and "upsample" not in target:
                    assert held == reached, f"{name}{p} does not reach output {number} at {sorted(held - reached)[:3]}"
