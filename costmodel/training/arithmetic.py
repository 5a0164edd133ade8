"""A training step's arithmetic beside the estimate 6 N D, and beside what a device could do in its time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.training.step import TrainingStep


@dataclass(frozen=True)
class SixND:
    """The estimate 6 N D of a step's arithmetic (Kaplan et al. 2020, arXiv:2001.08361), and how it differs."""

    flops: int
    """6 x parameters x tokens."""
    differences: Mapping[str, int]
    """What leads from there to the step's FLOPs, without a remainder, by reason."""


def tokens(step: TrainingStep) -> int | None:
    """The tokens of one forward pass: elements of the first input of integers that has a batch and positions."""
    found = (t.size for t in step.forward.inputs if "int" in t.dtype and len(t.shape) >= 2)
    return next(found, None)


def six_nd(step: TrainingStep) -> SixND | None:
    """The estimate, and where it and the step part."""
    given = tokens(step)
    if given is None:
        return None
    total = given * step.steps
    looked_up = sum(p.size for x in step.forward.pricing.layers if x.kind == "embedding" for p in x.new_parameters)
    estimate = 6 * step.params * total
    attention = 2 * sum(
        int(op.work.macs) for op in step.whole.pricing.ops if op.kind in ("attention", "matmul") and _of_activations(op)
    )
    rest = step.flops - estimate + 6 * looked_up * total - attention
    return SixND(
        estimate,
        {
            "embeddings are looked up, not multiplied": -6 * looked_up * total,
            "products of activations, as of attention": attention,
            "all else: norms, activations, softmax, loss, update; parameters used more or less often": rest,
        },
    )


def _of_activations(op: Any) -> bool:
    return not any(t.role == "parameter" for _, t in op.call.tensors())


def utilisation(step: TrainingStep, macs: int, seconds: float, device: str, math: str) -> float:
    """Two FLOPs per MAC, as a share of what the device could do in that time at the peak of the step's main dtype.

    Source: Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise InputError(f"seconds={short(seconds)}: the time of a step is a number above 0")
    roof = step.roofline(device, math)
    return 2 * macs / (seconds * roof.peak)
