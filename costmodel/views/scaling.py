"""Costs as formulas of the input's sizes: for a terminal, as Markdown, for scripts and papers, as a figure."""

from __future__ import annotations

import json as writer
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from costmodel.errors import CostModelError, InputError
from costmodel.measures import find
from costmodel.symbolic import typeset
from costmodel.views import compact, grid, latex, units
from costmodel.views import csv as tables
from costmodel.views.markdown import collapsed, escape, pictures, table
from costmodel.views.styled import Part, Text, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.polynomial import Scaling
    from costmodel.polynomial.samples import Sample

SHOWN = (
    "params", "macs", "flops", "memory_access", "memory_access_bytes", "activations", "saved_bytes", "peak_memory",
)  # fmt: skip
"""The totals that tables show; JSON has all."""


def title(s: Scaling) -> str:
    """What is scaled."""
    return f"What {'a training step of ' if s.training else ''}{s.name} costs by {', '.join(s.names)}"


def _formulas(s: Scaling) -> Iterator[tuple[str, list[str]]]:
    """Each total that is shown, with its formula: of a maximum or of pieces a line for each."""
    for quantity in SHOWN:
        if quantity in s.quantities:
            yield units.head(quantity), list(_lines(s.expression(quantity)))
        elif quantity in s.refused:
            yield units.head(quantity), ["no polynomial"]


def _lines(expression: Any) -> Iterator[str]:
    import sympy

    if isinstance(expression, sympy.Piecewise):
        for piece, condition in expression.args:
            equal = condition.args if condition.func == sympy.And else (condition,)
            where = (
                "otherwise" if condition is sympy.true else f"where {' and '.join(f'{e.lhs} = {e.rhs}' for e in equal)}"
            )
            first, *rest = _lines(piece)
            yield from (f"{first}  {where}", *rest)
    elif expression.func == sympy.Max and len(expression.args) > 1:
        ordered = sorted(expression.args, key=str)
        yield "the greatest of"
        yield from (f"  {typeset(part)}" for part in ordered)
    else:
        yield typeset(expression)


def _sizes(s: Scaling) -> list[str]:
    """For each size what it may be."""
    return [
        f"{axis.name}: {units.grouped(axis.least)} alone, of which the model takes no multiple"
        if axis.is_fixed
        else f"{axis.name}: {'every size' if axis.lattice == 1 else f'multiples of {axis.lattice}'} from "
        f"{units.grouped(axis.least)} to {units.grouped(axis.greatest)}"
        for axis in s.axes
    ]


def _verified(s: Scaling) -> str:
    """How formulas were held to traces, and what they do not say."""
    said = [f"Held to further traces at {units.plural(len(s.verified), 'point')}, and equal to each."]
    if s.execution == "real":
        said.append("The model ran for real: with other values in its inputs it may cost something else.")
    if s.lower_bounds:
        said.append(f"Totals are lower bounds (≥): {'; '.join(s.lower_bounds)}.")
    said += (f"No formula has {units.name(name)}: {why}." for name, why in s.refused.items() if name in SHOWN)
    return " ".join(said)


def _column(s: Scaling) -> str:
    """The head of the formulas."""
    return "exactly" if s.is_exact else "at least"


def text(s: Scaling, width: int = 120) -> str:
    """The formulas as plain text."""
    return plain(parts(s, width), width)


def parts(s: Scaling, width: int) -> list[Part | str]:
    """A formula for each total, what the sizes may be, and how it was verified."""
    rows = list(_formulas(s))
    labels = [Text(head) for head, _ in rows]
    column = grid.Column(_column(s), ["\n".join(lines) for _, lines in rows], right=False, wrap=True)
    made, _ = grid.table("", labels, [column], width, least=max(label.cell_len for label in labels))
    return [Text(title(s), style="bold"), *(f"  {line}" for line in _sizes(s)), "", made, "", grid.dim([_verified(s)])]


def largest(s: Scaling, name: str, size: int, others: Mapping[str, int]) -> str:
    """The largest size that keeps the bounds that were given, as a sentence."""
    given = ", ".join(f"{key} = {units.grouped(value)}" for key, value in others.items())
    where = f", with {given}" if given else ""
    if size:
        return f"\nThe largest {name} is {units.grouped(size)}{where}."
    return f"\nNot even {name} = {units.grouped(s.values(name, others)[0])} keeps the bounds{where}."


def beside_weights(size: int, nbytes: int) -> str:
    """The largest size where parameters and buffers take a part of the memory, as a sentence."""
    weights = f"parameters and buffers ({units.cell('peak_memory', nbytes)})"
    if size:
        return f"With {weights} in the same memory it is {units.grouped(size)}."
    return f"With {weights} in the same memory none fits."


def figures_at(s: Scaling, sizes: Mapping[str, int], width: int) -> list[Part | str]:
    """Every total that is shown, at given sizes."""
    costs = s.at(**sizes)
    shown = [quantity for quantity in SHOWN if quantity in costs]
    labels = [Text(units.head(quantity)) for quantity in shown]
    where = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    columns = [
        grid.numbers(f"at {where}", [units.cell(quantity, costs[quantity]) for quantity in shown]),
        grid.Column(_column(s), [units.grouped(costs[quantity]) for quantity in shown]),
    ]
    made, _ = grid.table("", labels, columns, width, least=max(label.cell_len for label in labels))
    return ["", made]


def markdown(s: Scaling, figures: Mapping[str, str] | None = None) -> str:
    """A formula for each total, and for each layer."""
    rows = [[escape(head), "<br>".join(f"`{line.strip()}`" for line in lines)] for head, lines in _formulas(s)]
    lines = [
        f"# {escape(title(s))}",
        "\n".join(f"- {line}" for line in _sizes(s)),
        table(["", _column(s)], rows, left=2),
        _verified(s),
        *pictures(figures or {}),
        collapsed(f"All {units.plural(len(s.layers), 'layer')}", _layers(s)) if len(s.layers) else "",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def _layers(s: Scaling) -> str:
    names = _layer_quantities(s)
    rows = [
        [escape(row["name"]), row["kind"], *(f"`{typeset(row[name])}`" for name in names)]
        for _, row in s.layers.iterrows()
    ]
    return table(["layer", "kind", *(_head(name) for name in names)], rows, left=2)


def _layer_quantities(s: Scaling) -> list[str]:
    """The quantities of a layer that tables show."""
    shown = (*SHOWN, "forward_macs", "backward_macs")
    return [name for name in s.layers.columns if name in shown]


def _head(name: str) -> str:
    measure = find(name)
    return escape(units.head(name) if name in SHOWN or measure is None else measure.title)


def html(s: Scaling) -> str:
    """The formulas as one self-contained page."""
    from costmodel.views import html as pages

    return pages.from_template("scaling.html.j2", **_context(s), drawn=pages.embedded(of_scaling(s)))


def fragment(s: Scaling) -> str:
    """A formula for each total; the sizes for which they hold, and how they were verified."""
    found = list(_formulas(s))
    columns = [
        compact.Column("", [head for head, _ in found], is_text=True),
        compact.Column(_column(s), ["\n".join(lines) for _, lines in found], is_code=True),
    ]
    return compact.Card(
        title(s),
        tables=[compact.Table(columns, len(found), "total", ".quantities")],
        remarks=[*_sizes(s), _verified(s)],
    ).html()


def _context(s: Scaling) -> dict[str, Any]:
    names = _layer_quantities(s)
    rows = [[row["name"], row["kind"], *(typeset(row[name]) for name in names)] for _, row in s.layers.iterrows()]
    return {
        "title": title(s), "column": _column(s), "sizes": _sizes(s), "formulas": list(_formulas(s)),
        "verified": _verified(s), "heads": [_head(name) for name in names], "rows": rows,
    }  # fmt: skip


def json(s: Scaling) -> str:
    """The formulas as text that sympy reads, with the sizes for which they hold."""
    document = {
        "format": "costmodel-scaling",
        "version": 1,
        "model": s.name,
        "training": s.training,
        "sizes": {
            axis.name: {"lattice": axis.lattice, "least": axis.least, "greatest": axis.greatest} for axis in s.axes
        },
        "totals": {quantity: str(s.expression(quantity)) for quantity in s.quantities},
        "layers": [
            {name: value if isinstance(value, str) else str(value) for name, value in row.items()}
            for row in s.layers.to_dict("records")
        ],
        "verified": list(s.verified),
        "lower_bounds": list(s.lower_bounds),
        "refused": dict(s.refused),
    }
    return writer.dumps(document, indent=1, ensure_ascii=False) + "\n"


def csv(s: Scaling) -> str:
    """One line per layer, each figure a formula."""
    return tables.rows(s.layers.map(str))


def tex(s: Scaling) -> str:
    """One row per total."""
    rows = [[head, "; ".join(line.strip() for line in lines)] for head, lines in _formulas(s)]
    return latex.table(["", _column(s)], rows, left=2)


# -- a figure ------------------------------------------------------------------------------------------------------


DRAWN = ("macs", "peak_memory")
"""The quantities of a report's figures."""
POINTS = 7
"""Traces on a line."""
_TICKS = 8


def of_scaling(s: Scaling) -> dict[str, tuple[str, Figure]]:
    """The figures of a report, each with its caption: of each size that has several values."""
    found = {}
    for axis in s.axes:
        if not axis.is_fixed:
            others = _others(s, axis.name, {})
            samples = _traced(s, axis.name, others)
            for quantity in DRAWN:
                drawn = "the formula, and traces on it" if samples else "the formula"
                caption = f"{units.name(quantity)} against {axis.name}: {drawn}"
                found[f"{quantity}-by-{axis.name}"] = (caption, _figure(s, quantity, axis.name, others, samples, None))
    return found


def figure(s: Scaling, quantity: str, sizes: Mapping[str, int], ax: Axes | None) -> Figure:
    """A total against one size, both in powers, with the totals of traces on the line."""
    s.require(quantity)
    free = [axis.name for axis in s.axes if axis.name not in sizes]
    if not free or not sizes.keys() <= set(s.names):
        raise InputError(f"leave out one of {', '.join(s.names)}, against which {quantity} is drawn")
    name = next((axis.name for axis in s.axes if axis.name in free and not axis.is_fixed), free[0])
    others = _others(s, name, sizes)
    return _figure(s, quantity, name, others, _traced(s, name, others), ax)


def _others(s: Scaling, name: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """A value for each size but one: where none is given, that from which traces began."""
    return {axis.name: sizes.get(axis.name, axis.first) for axis in s.regions[0].axes if axis.name != name}


def _traced(s: Scaling, name: str, others: Mapping[str, int]) -> dict[int, Sample]:
    """Traces at values of one size; none where the model is not there any more."""
    found = {}
    for n in _spread(s.values(name, others), POINTS) if s.trace is not None else ():
        with suppress(CostModelError):  # sizes that are too great together
            found[n] = s.traced(**others, **{name: n})
    return found


def _figure(
    s: Scaling, quantity: str, name: str, others: Mapping[str, int], samples: Mapping[int, Sample], ax: Axes | None
) -> Figure:
    from costmodel.views.figures import axes, figure_of, set_scale, set_title

    values = s.values(name, others)
    at = _spread(values, 60)
    traced = [sample.totals.get(quantity, max(sample.moments)) for sample in samples.values()]
    ax = axes(ax, 6.0, 3.8)
    ax.plot(at, [s.at(**others, **{name: n})[quantity] for n in at], linewidth=1.5)
    ax.plot(list(samples), traced, "o", markersize=4, color="C0")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    powers = [1 << n for n in range(values[-1].bit_length()) if 1 << n >= values[0]]
    ticks = powers[:: -(-len(powers) // _TICKS)] or [values[0], values[-1]]
    ax.set_xticks(ticks, labels=map(units.grouped, ticks))
    ax.xaxis.set_minor_formatter("")
    ax.set_xlabel(name)
    rest = ", ".join(f"{key} = {units.grouped(value)}" for key, value in others.items())
    set_title(ax, f"{s.name}: {units.name(quantity)} by {name}{f', {rest}' if rest else ''}")
    set_scale(ax, "y", units.head(quantity))
    return figure_of(ax)


def _spread(values: Any, count: int) -> list[int]:
    """At most so many values, evenly in powers, the first and the last among them."""
    least, greatest = values[0], values[-1]
    wanted = (least * (greatest / least) ** (i / (count - 1)) for i in range(count))
    step = values[-1] - values[-2] if len(values) > 1 else 1
    offset = greatest % step
    near = {min(greatest, max(least, round((n - offset) / step) * step + offset)) for n in wanted}
    return sorted(near | {least, greatest})
