"""Closed forms in a notebook: of a layer, a block, a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from costmodel.views import units
from costmodel.views.compact import ROWS, Card, Column, Table

if TYPE_CHECKING:
    from costmodel.formulas.cost import BlockCost, LayerCost
    from costmodel.formulas.gradient import BackwardCost
    from costmodel.models.closed import ClosedForm

QUANTITIES = ("params", "buffers", "macs", "flops", "memory_access", "activations")


def cost(c: LayerCost) -> str:
    """The quantities of a layer."""
    shape = _shape(c.output_shape)
    return Card(units.sentence_case(c.kind), f"output {shape}" if shape else "", totals=_totals(c)).html()


def backward(c: BackwardCost) -> str:
    """The quantities of a backward pass, and what is kept for it."""
    saved = ("Saved activations (bytes)", *figure("saved_bytes", c.saved_bytes()))
    return Card("Backward pass", totals=[*_totals(c, ("macs", "flops", "memory_access")), saved]).html()


def block(c: BlockCost) -> str:
    """The quantities of a block, and its layers."""
    shown = c.layers[:ROWS]
    columns = [
        Column("Layer", [name for name, _ in shown], is_text=True),
        Column("Kind", [layer.kind for _, layer in shown], is_text=True),
        Column("Output", [_shape(layer.output_shape) for _, layer in shown], is_text=True),
        *(Column(units.head(q), [figure(q, getattr(x, q))[0] for _, x in shown]) for q in ("params", "macs", "flops")),
    ]
    return Card(
        f"Block of {units.plural(len(c.layers), 'layer')}",
        f"output {_shape(c.output_shape)}",
        totals=_totals(c),
        tables=[Table(columns, len(c.layers), "layer", ".layers")],
    ).html()


def network(c: ClosedForm) -> str:
    """The totals of a network, and what it was computed for."""
    arguments = ", ".join(f"{name}={_short(value)}" for name, value in c.arguments.items())
    names = (*QUANTITIES, "saved_bytes") if c.is_training else QUANTITIES
    return Card(
        c.name, arguments, totals=_totals(c, names), remarks=["Closed form, from the paper's table; .layers has each."]
    ).html()


def _totals(c: Any, names: Sequence[str] = QUANTITIES) -> list[tuple[str, str, str]]:
    values = [(name, getattr(c, name)) for name in names]
    return [
        (units.sentence_case(units.head(name)), *figure(name, value))
        for name, value in values
        if name in QUANTITIES[2:4] or not _is_zero(value)
    ]


def _is_zero(value: Any) -> bool:
    return isinstance(value, int) and value == 0


def figure(name: str, value: Any) -> tuple[str, str]:
    """A figure rounded, and every digit of it; of an array its ends, of an expression itself."""
    if isinstance(value, int):
        return units.cell(name, value), units.grouped(value) if value >= 1000 else ""
    if getattr(value, "shape", ()):
        ends = [units.cell(name, int(n)) for n in (value.min(), value.max())]
        return " – ".join(dict.fromkeys(ends)), f"{units.grouped(int(value.size))} values"
    return _short(value), ""


def _short(value: Any) -> str:
    if getattr(value, "shape", ()):
        return f"{units.grouped(int(value.size))} values"
    if isinstance(value, bool | str | float) or value is None:
        return str(value)
    if isinstance(value, int):
        return units.grouped(value)
    from costmodel.symbolic import typeset

    return typeset(value)


def _shape(size: Sequence[Any]) -> str:
    return "×".join(str(n) if isinstance(n, int) else _short(n) for n in size)
