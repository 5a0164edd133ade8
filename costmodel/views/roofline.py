"""The lower bound of a model's time on a device, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import compact, units
from costmodel.views.analyses import peaks
from costmodel.views.markdown import escape

if TYPE_CHECKING:
    from costmodel.roofline import Roofline


def markdown(result: Roofline, limit: int = 20) -> str:
    """The layers that need most time at least, and the total, as Markdown."""
    units.require_rows(limit=limit)
    layers = sorted(result.layers, key=lambda layer: -layer.time)
    waits = sum(layer.time for layer in layers if layer.bound == "memory")
    total = (
        f"At least {_time(result.time)} with every op a kernel of its own, {_time(result.fused_time)} with elementwise "
        f"ops fused; {100 * waits / result.time if result.time else 0:.0f} % of the former is spent in layers that "
        f"wait for memory. The ridge is at {result.ridge:.1f} FLOPs per byte."
    )
    lines = [
        f"# {escape(result.model)} on {result.device.title}: a lower bound of its time",
        "",
        total,
        "",
        *(f"- {line}" for line in peaks(result)),
        "",
        "| layer | kind | FLOPs | bytes | FLOPs per byte | bound by | at least | fused, at least |",
        "|---|---|---:|---:|---:|---|---:|---:|",
    ]
    lines += [
        f"| {escape(x.name)} | {x.kind} | {x.flops:,} | {x.nbytes:,} | {x.intensity:.2f} | {x.bound} | {_time(x.time)} "
        f"| {_time(x.fused_time)} |"
        for x in layers[:limit]
    ]
    if len(layers) > limit:
        lines.append(f"\n{units.more(len(layers) - limit, 'layer', 'need')} less each.")
    return "\n".join(lines) + "\n"


def _time(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def fragment(r: Roofline) -> str:
    """The least times, and the layers that need most of them; the device's figures folded."""
    layers = sorted(r.layers, key=lambda layer: -layer.time)
    waiting = sum(layer.time for layer in layers if layer.bound == "memory")
    shown = layers[: compact.ROWS]
    columns = [
        compact.Column("Layer", [x.name for x in shown], is_text=True),
        compact.Column("At least", [units.seconds(x.time) for x in shown]),
        compact.Column("Share", [units.share(x.time, r.time) for x in shown]),
        compact.Column("", [""] * len(shown), shares=[x.time / r.time if r.time else 0.0 for x in shown]),
        compact.Column("Bound by", [x.bound for x in shown], is_text=True),
        compact.Column("FLOPs/B", [f"{x.intensity:.2f}" for x in shown]),
        compact.Column("Kind", [x.kind for x in shown], is_text=True),
    ]
    return compact.Card(
        f"{r.model} on {r.device.title}",
        f"a lower bound of its time, {r.peak_name}",
        totals=[
            ("At least", units.seconds(r.time), "every operation a kernel of its own"),
            ("Fused, at least", units.seconds(r.fused_time), "elementwise operations joined to their producer"),
            ("Waits for memory", units.share(waiting, r.time), "of the time"),
            ("Ridge", f"{r.ridge:.1f} FLOPs/B", "from there on arithmetic is the limit"),
        ],
        tables=[compact.Table(columns, len(layers), "layer", ".rows")],
        folded=[("The device's figures, with their sources", peaks(r))],
    ).html()
