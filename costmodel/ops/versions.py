"""What torch does differently from release to release, where a rule must know it.

Rules do not import torch: which release is installed is known without.
"""

from __future__ import annotations

from enum import Enum

from costmodel.machine import torch_release


class Change(Enum):
    """A change in torch: what changed, the first release known to have it, the last known not to."""

    FUSED_GROUPED_QUERIES = "attention's fused CPU kernel takes groups of queries (enable_gqa)", (2, 13), (2, 6)
    FUSED_THREE_DIMENSIONS = "and 3-d tensors, and one key head for all without enable_gqa", (2, 15), (2, 13)
    CONTIGUOUS_RMS_NORM = "RMS norm returns a memory format, whatever its input's strides", (2, 13), (2, 6)
    FUSED_MASK_COPIED = "and copies a mask whose last dimension has gaps", (2, 13), (2, 6)
    REPEATS_CHECKED_FIRST = "repeat_interleave checks the repeats before it sums them", (2, 15), (2, 13)
    CHEAPER_BAG_SIZES = "an embedding bag's mean clamps the sizes without a tensor of ones", (2, 15), (2, 13)
    FUSED_GRADIENT_COPIES = "and its gradient copies what has gaps in the last dimension", (2, 15), (2, 13)
    GROUP_NORM_GRADIENT_COPIES = "a group norm's gradient copies what is in no memory format", (2, 15), (2, 13)
    POWER_OF_TWO_IN_PLACE = "ldexp has a kernel of its own, which stores no power of two", (2, 13), (2, 6)
    LDL_PIVOTS_CHECKED = "solving with L D L^T checks a copy of its pivots", (2, 13), (2, 6)
    ONEDNN_KEEPS_LESS = "oneDNN keeps two states fewer for an LSTM's gradient", (2, 13), (2, 6)
    HALF_COMPLEX_OF_BFLOAT16 = "bfloat16 has a complex dtype of its own, bcomplex32", (2, 15), (2, 13)


def has(change: Change) -> bool:
    """Whether the installed torch has the change. A release between the two is taken to have it."""
    _, _, not_in = change.value
    return torch_release() > not_in
