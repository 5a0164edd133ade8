"""Guidelines and rooflines as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import grid, units
from costmodel.views.styled import Part, Text, plain
from costmodel.views.text import text_width

if TYPE_CHECKING:
    from costmodel.guidelines import Guidelines
    from costmodel.roofline import Roofline


TOP = 20
"""Rows that are shown where it is not said how many."""


def guidelines_text(result: Guidelines) -> str:
    """The guidelines as plain text."""
    width = text_width()
    return plain(guidelines(result, top=TOP, width=width), width)


def roofline_text(result: Roofline) -> str:
    """The roofline as plain text."""
    width = text_width()
    return plain(roofline(result, top=TOP, width=width), width)


def guidelines(result: Guidelines, *, top: int, width: int = grid.WIDE) -> list[Part | str]:
    """How often each of ShuffleNetV2's guidelines is broken, and where keeping one would save most."""
    shares = (
        f"{result.elementwise_ops} of {units.plural(result.ops, 'operation')} are elementwise, and take "
        f"{units.share(result.elementwise_memory_access, result.memory_access)} of the memory access "
        f"({units.figure('memory_access', result.memory_access)})"
    )
    parts: list[Part | str] = [
        Text(f"{units.printable(result.model)}, by the guidelines G1 to G4 of ShuffleNetV2's paper", style="bold"),
        shares,
        "",
    ]
    for name, title in result.titles.items():
        parts.append(Text.assemble((name, "bold"), f"  {title}: {units.plural(len(result.of(name)), 'place')}"))
        parts.append(_indented("a saving is", result.formulas[name], 4))
    found = result.findings[:top]
    columns = [
        grid.Column("", [f.guideline for f in found], 9, right=False, style="bold"),
        grid.Column("measure", [f.measure for f in found], 8, right=False),
        grid.numbers("mem. access\n(elements)", [units.cell("memory_access", f.paid) for f in found], 7),
        grid.numbers("could save\n(elements)", [units.cell("memory_access", round(f.saving)) for f in found], 10),
        grid.Column("share of\nmem. access", [units.share(f.saving, result.memory_access) for f in found], 5),
        grid.Column("kind", [f.kind for f in found], 4, right=False, style="dim"),
    ]
    table, dropped = grid.table("layer", [Text(f.layer or "the input") for f in found], columns, width)
    remarks = [f"savings of different findings overlap: they rank, and do not add up; {len(result.findings)} in all"]
    advice = [_indented(units.printable(f"{f.guideline} {f.layer}:"), units.printable(f.advice), 3) for f in found]
    return [*parts, "", table, grid.dim(remarks + grid.left_out(dropped)), "", *advice]


def _indented(head: str, text: str, by: int) -> Text:
    """A heading followed by dim text, as an indented block."""
    return Text.assemble(head, " ", (text, "dim"), indent=by)


def peaks(result: Roofline) -> list[str]:
    """The device's figures that a bound is made of, each with its source; and what TF32 would change."""
    lines = []
    for name, (rate, source) in result.sources.items():
        what, unit = ("memory", "B/s") if name == "bandwidth" else (name, "FLOP/s")
        lines.append(f"{what} at {units.si(rate, unit)}{f': {source}' if source else ''}")
    faster = result.device.peak.get("tf32", 0.0)
    if result.peak_name == "float32" and faster > result.peak:
        lines.append(
            f"products in TF32 ({units.si(faster, 'FLOP/s')}), which cuDNN's convolutions use by torch's default, may "
            "be faster than this bound: choose tf32"
        )
    return lines


def roofline(result: Roofline, *, top: int, width: int = grid.WIDE) -> list[Part | str]:
    """A lower bound of the model's time on a device, and the layers that need most of it."""
    layers = sorted(result.layers, key=lambda layer: -layer.time)
    waiting = sum(layer.time for layer in layers if layer.bound == "memory")
    bound = (
        f"a lower bound: at least {units.seconds(result.time)} with every operation a kernel of its own, "
        f"{units.seconds(result.fused_time)} with elementwise operations fused\n"
        f"{units.share(waiting, result.time)} of the former is in layers that wait for memory; the ridge is at "
        f"{result.ridge:.1f} FLOPs/B\n"
    )
    parts: list[Part | str] = [
        Text(f"{units.printable(result.model)} on {result.device.title}", style="bold"),
        bound,
    ]
    shown = layers[:top]
    shares = [f"{grid.bar(x.time, result.time)} {units.share(x.time, result.time):>6}" for x in shown]
    columns = [
        grid.numbers("at least", [units.seconds(x.time) for x in shown], 10),
        grid.numbers("fused,\nat least", [units.seconds(x.fused_time) if x.fused_time else "0" for x in shown], 8),
        grid.Column("share", shares, 7, right=False, style="cyan"),
        grid.Column("bound by", [x.bound for x in shown], 9, right=False),
        grid.numbers("FLOPs", [units.cell("flops", x.flops) for x in shown], 5),
        grid.numbers("mem. access\n(bytes)", [units.cell("memory_access_bytes", x.nbytes) for x in shown], 6),
        grid.numbers("intensity\n(FLOPs/B)", [f"{x.intensity:.2f}" for x in shown], 6),
        grid.Column("kind", [x.kind for x in shown], 4, right=False, style="dim"),
    ]  # fmt: skip
    table, dropped = grid.table("layer", [Text(x.name) for x in shown], columns, width)
    rest = [f"{units.more(len(layers) - top, 'layer', 'need')} less each"] if len(layers) > top else []
    remarks = rest + grid.left_out(dropped)
    remarks += peaks(result)
    return [*parts, table, grid.dim(remarks)]
