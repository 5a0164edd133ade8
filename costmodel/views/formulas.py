"""Closed forms side by side: for a terminal, as Markdown, as a page, as tables for scripts and papers, as a figure."""

from __future__ import annotations

import json as writer
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.measures import MEASURES
from costmodel.symbolic import typeset
from costmodel.views import compact, grid, latex, units
from costmodel.views import csv as tables
from costmodel.views.compact import formulas as compact_formulas
from costmodel.views.markdown import escape, pictures, table
from costmodel.views.styled import Part, Text, plain
from costmodel.views.worked import explained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.side_by_side import FormulaComparison, Side

LONGEST_RATIO = 60
"""Characters of the longest ratio in symbols that is printed; JSON and the page have all of them."""


def title(c: FormulaComparison) -> str:
    """What is compared."""
    labels = [side.label for side in c.sides]
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]} side by side"


def quantities(c: FormulaComparison) -> list[str]:
    """The quantities that at least one formula has something of; all where none has, as for a view."""
    known = [q for q in c.table.columns if q in MEASURES]
    return [q for q in known if any(side.figure(q) != 0 for side in c.sides)] or known


def _number(side: Side, quantity: str) -> str:
    """Every digit; an expression where an argument is a symbol, and nothing where all are."""
    value = side.figure(quantity)
    if isinstance(value, int):
        return units.grouped(value)
    return typeset(value) if any(isinstance(n, int) for n in side.values.values()) else ""


def _ratio(value: Any) -> str:
    if isinstance(value, float):
        return units.ratio(value)
    return typeset(value)


def _typeset(expression: Any) -> str:
    """An expression; nothing where it is the number itself."""
    return typeset(expression) if getattr(expression, "free_symbols", ()) else ""


def _rows(c: FormulaComparison) -> Iterator[tuple[str, Side, str, str, str, str]]:
    """For each quantity and formula: the number, the ratio to the first, and both in symbols."""
    for quantity in quantities(c):
        for side, ratio in zip(c.sides, c.ratios(quantity), strict=True):
            formula, relative = c.formula(side, quantity), c.ratio_formula(side, quantity)
            is_first = side is c.sides[0]
            yield (
                quantity, side, _number(side, quantity), "" if len(c.sides) == 1 else _ratio(ratio),
                _typeset(formula), "" if is_first else _typeset(relative),
            )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """A quantity of one formula where expressions have a column of their own, beside the numbers."""

    side: Side
    number: str
    """Nothing where the figure is an expression."""
    ratio: str
    lines: Sequence[str]
    """Expressions: the formula, the figure where it is one, and a short ratio."""
    relative: str
    """A ratio that is too long for ``lines``."""


def _beside_symbols(c: FormulaComparison) -> list[tuple[str, list[_Row]]]:
    """The rows of each quantity."""
    found: dict[str, list[_Row]] = {}
    for quantity, side, number, ratio, formula, relative in _rows(c):
        is_number, is_short = isinstance(side.figure(quantity), int), len(relative) <= LONGEST_RATIO
        lines = [formula, "" if is_number or not number else f"= {number}"]
        lines += [f"ratio {relative}"] if relative and is_short else []
        found.setdefault(quantity, []).append(
            _Row(
                side, number if is_number else "", ratio if is_number else "", list(filter(None, lines)),
                "" if is_short else relative,
            )
        )  # fmt: skip
    return list(found.items())


# -- a terminal ----------------------------------------------------------------------------------------------------


def text(c: FormulaComparison, width: int = 120) -> str:
    """The comparison as plain text."""
    return plain(parts(c, width), width)


def parts(c: FormulaComparison, width: int) -> list[Part | str]:
    """Each formula with its arguments; the figures, with their formulas and ratios; what to know; the sources."""
    labels: list[Text] = []
    numbers: list[str] = []
    ratios: list[str] = []
    symbols: list[str] = []
    for quantity, rows in _beside_symbols(c):
        labels.append(Text(units.head(quantity), style="bold"))
        labels += [Text(f"  {row.side.label}") for row in rows]
        numbers += ["", *(row.number for row in rows)]
        ratios += ["", *(row.ratio for row in rows)]
        symbols += ["", *("\n".join(row.lines) for row in rows)]
    columns = [grid.Column("", numbers, 10)] if any(numbers) else []
    if any(ratios):
        columns.append(grid.Column(f"ratio to\n{c.sides[0].label}", ratios, 9))
    columns.append(grid.Column("in symbols", symbols, right=False, wrap=True))
    made, narrow = grid.table("", labels, columns, width, least=min(40, max(label.cell_len for label in labels)))
    calls = [Text(f"  {side.call}", style="dim") for side in c.sides]
    notes = [*(f"{note}." for note in c.notes), *grid.left_out([column or "numbers" for column in narrow])]
    remarks = [grid.dim(notes)] if notes else []
    sources = [Text(f"{side.formula}: {explained(side.formula).source}", style="dim") for side in _distinct(c)]
    return [Text(title(c), style="bold"), *calls, "", made, *remarks, "", *sources]


def _distinct(c: FormulaComparison) -> list[Side]:
    """One side of each formula."""
    return list({side.formula: side for side in reversed(c.sides)}.values())[::-1]


# -- files ---------------------------------------------------------------------------------------------------------


def markdown(c: FormulaComparison, figures: Mapping[str, str] | None = None) -> str:
    """One table of figures, ratios and formulas; what to know of it; each formula's own words and source."""
    rows = [
        [escape(units.head(q)) if side is c.sides[0] else "", escape(side.label), number, ratio, _code(formula),
         _code(relative if len(relative) <= LONGEST_RATIO else "")]
        for q, side, number, ratio, formula, relative in _rows(c)
    ]  # fmt: skip
    first = escape(c.sides[0].label)
    head = ["", "formula", "", f"ratio to {first}", "in symbols", "ratio in symbols"]
    keep = [0, 1, 2, 4] if len(c.sides) == 1 else [0, 1, 4, 2, 3, 5]
    lines = [
        f"# {escape(title(c))}",
        "\n".join(
            f"- {'' if side.label == side.formula else f'{escape(side.label)}: '}`{side.call}`" for side in c.sides
        ),
        table([head[i] for i in keep], [[row[i] for i in keep] for row in rows], left=3),
        "\n".join(f"- {escape(note)}." for note in c.notes),
        *pictures(figures or {}),
    ]
    for side in _distinct(c):
        found = explained(side.formula)
        body = "\n".join(("```", *found.text, "```"))
        lines += [f"## {escape(side.formula)}", escape(found.summary), body, f"Source: {escape(found.source)}"]
    return "\n\n".join(line for line in lines if line) + "\n"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def html(c: FormulaComparison) -> str:
    """The comparison as one self-contained page."""
    from costmodel.views import html as pages

    return pages.from_template("formulas.html.j2", **_context(c), drawn=pages.embedded(of_comparison(c)))


def fragment(c: FormulaComparison) -> str:
    """A row per formula, each quantity with its ratio to the first; what to know, and the expressions, folded."""
    shown, sides = quantities(c), c.sides[: compact.ROWS]
    columns = [compact.Column("Formula", [side.label for side in sides], is_text=True)]
    for q in shown:
        figures = [compact_formulas.figure(q, side.figure(q)) for side in sides]
        ratios = [_ratio(n) for n in c.ratios(q)[: len(sides)]] if len(c.sides) > 1 else []
        columns.append(
            compact.Column(units.head(q), [rounded for rounded, _ in figures], [exact for _, exact in figures], ratios)
        )
    in_symbols = [
        (f"{units.head(q)} of {side.label}", typeset(found))
        for q in shown
        for side in sides
        if (found := c.formula(side, q)) is not None
    ]
    symbols = [
        compact.Column("", [name for name, _ in in_symbols], is_text=True),
        compact.Column("In symbols", [expression for _, expression in in_symbols], is_code=True),
    ]
    title = f"{units.plural(len(c.sides), 'formula')} side by side" if len(c.sides) > 1 else sides[0].label
    beside = f"ratios are to {sides[0].label}" if len(c.sides) > 1 else ""
    return compact.Card(
        title,
        beside,
        tables=[
            compact.Table(columns, len(c.sides), "formula", ".table"),
            *(
                [compact.Table(symbols, len(in_symbols), "expression", "str()", "In symbols", is_folded=True)]
                if in_symbols else []
            ),
        ],
        remarks=[f"{note}." for note in c.notes],
        folded=[("What was called", [side.call for side in sides])],
    ).html()  # fmt: skip


def _context(c: FormulaComparison) -> dict[str, Any]:
    return {
        "title": title(c),
        "sides": c.sides,
        "groups": [(units.head(quantity), rows) for quantity, rows in _beside_symbols(c)],
        "notes": c.notes,
        "explained": [(side.formula, explained(side.formula)) for side in _distinct(c)],
    }


def json(c: FormulaComparison) -> str:
    """The figures, exact; an expression as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        if isinstance(value, float) and value != value:
            return None
        return value if isinstance(value, int | float | str | bool | None) else str(value)

    sides = [
        {
            "label": side.label,
            "formula": side.formula,
            "arguments": {name: plain(value) for name, value in side.arguments.items()},
            "output_shape": plain(side.cost.output_shape),
            "figures": {q: plain(side.figure(q)) for q in quantities(c)},
            "ratios": {q: plain(c.ratios(q)[i]) for q in quantities(c)},
            "in_symbols": {q: str(found) for q in quantities(c) if (found := c.formula(side, q)) is not None},
            "ratios_in_symbols": {
                q: str(found) for q in quantities(c) if (found := c.ratio_formula(side, q)) is not None
            },
            "source": explained(side.formula).source,
        }
        for i, side in enumerate(c.sides)
    ]
    document = {"format": "costmodel-formulas", "version": 1, "notes": list(c.notes), "formulas": sides}
    return writer.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def csv(c: FormulaComparison) -> str:
    """One line per formula."""
    return tables.formulas(c)


def tex(c: FormulaComparison) -> str:
    """One row per formula: its figures, and below them the ratios to the first."""
    shown = quantities(c)
    rows = []
    for i, side in enumerate(c.sides):
        rows.append([side.label, *(_number(side, q) for q in shown)])
        if i:
            rows.append(["", *(_ratio(c.ratios(q)[i]) for q in shown)])
    return latex.table(["formula", *(units.head(q) for q in shown)], rows, left=1)


# -- a figure ------------------------------------------------------------------------------------------------------


def of_comparison(c: FormulaComparison) -> dict[str, tuple[str, Figure]]:
    """The figure of a report, with its caption; none where every figure is an expression."""
    if not any(_drawable(c, q) for q in quantities(c)):
        return {}
    return {"side-by-side": (f"{title(c)}: {', '.join(map(units.name, quantities(c)))}", figure(c))}


def _drawable(c: FormulaComparison, quantity: str) -> bool:
    return any(isinstance(side.figure(quantity), int) for side in c.sides)


def figure(c: FormulaComparison, quantity: str | None = None, ax: Axes | None = None) -> Figure:
    """A bar per formula with its figure and its ratio to the first: of one quantity, or a panel for each."""
    from costmodel.views.inline import Figure

    known = quantities(c)
    if quantity is not None and quantity not in known:
        raise InputError(f"no quantity is called {quantity!r}; there are {', '.join(known)}")
    shown = [q for q in ([quantity] if quantity else known) if _drawable(c, q)]
    if not shown:
        raise InputError("nothing to draw: every figure is an expression; give the arguments numbers")
    if ax is not None and len(shown) > 1:
        raise InputError(f"one set of axes holds one quantity; name one of {', '.join(known)}")
    if ax is not None:
        axes = [ax]
    else:
        columns = 1 if len(shown) == 1 else 2
        rows = -(-len(shown) // columns)
        size = (4.6 * columns, rows * (0.7 + 0.36 * len(c.sides)))
        made = Figure(figsize=size, layout="constrained")
        axes = list(made.subplots(rows, columns, squeeze=False).flat)
        for spare in axes[len(shown) :]:
            spare.set_visible(False)
    for q, panel in zip(shown, axes, strict=False):
        _draw(c, q, panel)
    whole: Any = axes[0].get_figure(root=True)
    return whole  # type: ignore[no-any-return]  # matplotlib's stubs differ by version


def _draw(c: FormulaComparison, quantity: str, ax: Axes) -> None:
    from costmodel.views import palette

    values = [side.figure(quantity) for side in c.sides]
    at = range(len(values))
    longest = max([v for v in values if isinstance(v, int)], default=0) or 1
    lengths = [v / longest if isinstance(v, int) else 0.0 for v in values]  # the axis has no ticks
    bars = ax.barh(at, lengths, color=[palette.of_model(i) for i in at], height=0.65)
    marks = [
        f" {units.cell(quantity, v) if isinstance(v, int) else typeset(v)}" + (f"  {_ratio(r)}" if i else "")
        for i, (v, r) in enumerate(zip(values, c.ratios(quantity), strict=True))
    ]
    ax.bar_label(bars, marks, fontsize="small")
    ax.set_yticks(list(at), [side.label for side in c.sides], parse_math=False)
    ax.invert_yaxis()
    ax.set_xticks([])
    ax.margins(x=0.32)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.set_title(units.head(quantity), loc="left", fontsize="medium", parse_math=False)


def png(c: FormulaComparison) -> bytes:
    """The figure as PNG."""
    return _written(figure(c), "png")


def svg(c: FormulaComparison) -> bytes:
    """The figure as SVG."""
    return _written(figure(c), "svg")


def _written(drawn: Figure, form: str) -> bytes:
    if form == "svg":
        from costmodel.views import figures

        return figures.svg(drawn)
    out = BytesIO()
    drawn.savefig(out, format=form, dpi=200, metadata={"Software": "costmodel"})
    return out.getvalue()
