"""What people ask of a training step: whether it fits, with which batch, how long it takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import grid, units
from costmodel.views.analyses import peaks
from costmodel.views.styled import Part, Text
from costmodel.views.training import words

if TYPE_CHECKING:
    from costmodel.roofline import Roofline
    from costmodel.training import TrainingStep


def parts(
    s: TrainingStep,
    *,
    device: str | None = None,
    math: str = "float32",
    memory: tuple[str, int] | None = None,
    seconds: float | None = None,
) -> list[Part | str]:
    """The answers as lines for a console.

    Args:
        s: the step.
        device: its name; then with the step's least time on it, and whether it fits into its memory.
        math: how products of float32 tensors are computed on the device, as for ``TrainingStep.roofline``.
        memory: a size of memory, as it was written and in bytes; then with whether the step fits.
        seconds: what a step takes on the device; then with its utilisation.
    """
    shown: list[Part | str] = ["", *arithmetic(s)]
    if device is not None:
        roof = s.roofline(device, math)
        shown += ["", Text(f"on {roof.device.title}", style="bold"), *_time(s, roof, device, math, seconds)]
        if roof.device.memory is not None:
            shown += _fits(s, roof.device.memory)
        shown.append(grid.dim(peaks(roof)))
    if memory is not None:
        shown += ["", Text(f"in {memory[0]} of memory", style="bold"), *_fits(s, memory[1])]
    return shown


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


def _time(s: TrainingStep, roof: Roofline, device: str, math: str, seconds: float | None) -> list[str]:
    fused = f"{units.seconds(roof.fused_time)} with elementwise operations fused"
    lines = [f"at least {units.seconds(roof.time)} a step, {fused}"]
    if seconds is not None:
        mfu, hfu = (units.share(share, 1) for share in (s.mfu(seconds, device, math), s.hfu(seconds, device, math)))
        lines.append(f"in {units.seconds(seconds)} a step: MFU {mfu}, HFU {hfu}")
    return lines


def _fits(s: TrainingStep, size: int) -> list[Part | str]:
    fits = s.peak_memory <= size
    mark = ("✓ ", "green") if fits else ("✗ ", "red")
    said = f"{'fits' if fits else 'does not fit'}: {words.amount(s, s.peak_memory)} of {units.si(size, 'B')}"
    lines: list[Part | str] = [Text.assemble(mark, said)]
    if s.again is not None and s.batch:
        batch = s.largest_batch(size)
        lines.append(
            f"  the largest batch that fits: {units.grouped(batch)}" if batch else "  not even one sample fits"
        )
    return lines
