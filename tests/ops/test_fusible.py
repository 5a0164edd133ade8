"""Which ops may join the kernel that makes their input: those that compute each element from elements at its place."""

from __future__ import annotations

import pytest

from costmodel.access import Affine, Reshaped
from costmodel.ops import RULES
from costmodel.ops.rule import Rule
from tests.ops.test_windows import DISTINCT, examples, name_of
from tests.ops.test_work import ATEN, PER_ELEMENT
from tests.ops.test_work import name_of as work_name_of

LISTS = "aten._foreach_"
"""Ops on lists: each output has a tensor of its own."""

SOMETIMES = {
    "aten.native_batch_norm.default": "at inference alone",
    "aten._native_batch_norm_legit.default": "at inference alone",
    "aten._native_batch_norm_legit.no_stats": "never, as it has no statistics but the batch's own",
    "aten._native_batch_norm_legit_no_training.default": "statistics of a channel are read by all of it",
    "aten._batch_norm_with_update.default": "at inference alone",
    "aten.fake_quantize_per_channel_affine_cachemask.default": "a channel's scale is read by all of it",
    "aten._fake_quantize_learnable_per_channel_affine.default": "a channel's scale is read by all of it",
    "aten.native_dropout.default": "its mask depends on no element",
}
"""Fusible ops of which not every input is read at the output's own place."""

ALONE = (
    "aten.glu.default",  # two halves become one
    "aten.equal.default",  # one answer for all elements
    "aten.hann_window", "aten.hamming_window", "aten.blackman_window", "aten.bartlett_window", "aten.kaiser_window",
)  # fmt: skip
"""Ops that cost the same for each element, and yet join no kernel. Windows have no input that one could make."""


def is_at_its_place(rule: Rule) -> bool:
    """Whether in all examples each output sees of each tensor the element at its place, or the one for all places."""
    found = False
    for call in examples(rule):
        record = call.record(call.copy().run())
        tensors = dict(record.tensors())
        for i, y in enumerate(record.outputs):
            access = rule.access(record, i)
            if isinstance(access, Reshaped) or not access:
                return False
            found = True
            for name, maps in access.items():
                shape, missing = tensors[name].shape, len(y.shape) - len(maps)
                if any(
                    n != 1 and axis_map != Affine(d + missing)
                    for d, (n, axis_map) in enumerate(zip(shape, maps, strict=True))
                ):
                    return False
    return found


FUSIBLE = [rule for rule in DISTINCT if rule.fusible and name_of(rule).startswith("aten.") and any(examples(rule))]


@pytest.mark.parametrize("rule", FUSIBLE, ids=name_of)
def test_a_fusible_op_reads_each_element_at_its_place(rule: Rule) -> None:
    """Or stands above with its reason, and then not for nothing."""
    if not name_of(rule).startswith(LISTS):
        assert is_at_its_place(rule) != (name_of(rule) in SOMETIMES)


@pytest.mark.parametrize("target", [target for target in ATEN if work_name_of(target) in PER_ELEMENT])
def test_elementwise_arithmetic_is_fusible(target: str) -> None:
    """What costs the same for each element can be done as soon as the element is there."""
    assert RULES[target].fusible != target.startswith(ALONE)
