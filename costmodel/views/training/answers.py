"""What people ask of a training step: whether it fits, with which batch, how long it takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.views import answers, units
from costmodel.views.analyses import peaks
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.training import TrainingStep
    from costmodel.training.fit import StepFit


def sections(s: TrainingStep) -> list[answers.Section]:
    """What was asked for a device, and for a size of memory."""
    return [
        answers.Section(
            where=a.where,
            fits=a.fits,
            room=_room(s, a),
            times=_times(a),
            sources=() if a.roofline is None else peaks(a.roofline),
        )
        for a in s.answered
    ]


def written(s: TrainingStep) -> list[dict[str, Any]]:
    """The same for scripts; times are in seconds, and bounds."""
    return [_written(a) for a in s.answered]


def _written(a: StepFit) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(a, name) for name in ("where", "memory", "fits", "largest_batch")}
    if a.roofline is not None:
        found |= {
            "device": a.roofline.device.title, "math": a.roofline.peak_name,
            "least_seconds": a.roofline.time, "least_seconds_fused": a.roofline.fused_time,
            **{name: getattr(a, name) for name in ("seconds", "mfu", "hfu")},
        }  # fmt: skip
    return found


def arithmetic(s: TrainingStep) -> list[str]:
    """Arithmetic for each sample and token, and beside the estimate of 6 x params x tokens."""
    each = [("sample", s.flops_per_sample), ("token", s.flops_per_token)]
    said = [f"{units.si(n, 'FLOPs', exact=s.is_exact)} per {what}" for what, n in each if n is not None]
    lines = [", ".join(said)] if said else []
    estimate = s.six_nd
    if estimate is not None:
        share = units.share(estimate.flops, s.flops)
        lines.append(f"6 x params x tokens is {units.si(estimate.flops, 'FLOPs')}, {share} of the step's:")
        lines += [f"  {units.signed('flops', n)}  {why}" for why, n in estimate.differences.items() if n]
    return lines


def _times(a: StepFit) -> list[str]:
    if a.roofline is None:
        return []
    fused = f"{units.seconds(a.roofline.fused_time)} with elementwise operations fused"
    lines = [f"at least {units.seconds(a.roofline.time)} a step, {fused}"]
    if a.seconds is not None and a.mfu is not None and a.hfu is not None:
        mfu, hfu = units.share(a.mfu, 1), units.share(a.hfu, 1)
        lines.append(f"in {units.seconds(a.seconds)} a step: MFU {mfu}, HFU {hfu}")
    return lines


def _room(s: TrainingStep, a: StepFit) -> list[str]:
    if a.memory is None or a.fits is None:
        return []
    lines = [answers.fit(words.amount(s, s.peak_memory), a.memory, fits=a.fits)]
    if a.largest_batch is not None:
        most = units.grouped(a.largest_batch)
        lines.append(f"the largest batch that fits: {most}" if a.largest_batch else "not even one sample fits")
    return lines
