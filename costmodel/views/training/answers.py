"""What people ask of a training step: whether it fits, with which batch, how long it takes at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.devices import device as named
from costmodel.views import grid, units
from costmodel.views.analyses import peaks
from costmodel.views.training import words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from costmodel.training import TrainingStep


def parts(
    s: TrainingStep, *, device: str | None = None, memory: str | None = None, seconds: float | None = None
) -> list[RenderableType]:
    """The answers as lines for a console: arithmetic per sample, and those about a device or a size of memory."""
    from rich.text import Text

    shown: list[RenderableType] = ["", *per_sample(s)]
    if device is not None:
        roof = s.roofline(device)
        shown += ["", Text(f"on {roof.device.title}", style="bold"), *_time(s, device, seconds), *_fits(s, device)]
        shown.append(grid.dim(peaks(roof)))
    if memory is not None:
        shown += ["", Text(f"in {memory} of memory", style="bold"), *_fits(s, memory)]
    return shown


def per_sample(s: TrainingStep) -> list[str]:
    """Arithmetic for each sample and token, and the estimate that people use for it."""
    said = []
    if s.batch:
        said.append(f"{units.si(s.flops_per_sample, 'FLOPs', exact=s.is_exact)} per sample")
    if s.flops_per_token is not None:
        said.append(f"{units.si(s.flops_per_token, 'FLOPs', exact=s.is_exact)} per token")
    return [", ".join(said)] if said else []


def _time(s: TrainingStep, device: str, seconds: float | None) -> list[str]:
    roof = s.roofline(device)
    fused = f"{units.seconds(roof.fused_time)} with elementwise operations fused"
    lines = [f"at least {units.seconds(roof.time)} a step with every operation a kernel of its own, {fused}"]
    if seconds:
        mfu, hfu = (f"{100 * share:.1f}%" for share in (s.mfu(seconds, device), s.hfu(seconds, device)))
        lines.append(f"in {units.seconds(seconds)} a step: MFU {mfu}, HFU {hfu}")
    return lines


def _fits(s: TrainingStep, memory: str) -> list[RenderableType]:
    from rich.text import Text

    try:
        size = named(memory).memory
    except Exception:
        size = units.parse(memory, "B")
    if size is None:
        return []
    fits = s.peak_memory <= size
    mark = ("✓ ", "green") if fits else ("✗ ", "red")
    said = f"{'fits' if fits else 'does not fit'}: {words.amount(s, s.peak_memory)} of {units.si(size, 'B')}"
    return [Text.assemble(mark, said)]
