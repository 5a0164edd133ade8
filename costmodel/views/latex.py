"""Tables for papers, in LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from costmodel.measures import of_layers
from costmodel.views import units
from costmodel.views.cells import layer_cells, total_cell
from costmodel.views.columns import columns, has_input, remarks

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$", "≥": r"$\geq$", "±": r"$\pm$",
    "·": r"$\cdot$", "−": "$-$", "²": r"$^2$", "³": r"$^3$", "[": "{[}", "*": "{*}",
}  # fmt: skip
"""What LaTeX prints a character for; it would take a bracket or an asterisk that begins a row for an option of the row
before."""


PAGE = 45
"""Rows that fit a page of a paper."""


def escape(text: str) -> str:
    r"""A text as LaTeX prints it.

    >>> print(escape("a_b & 50%"))
    a\_b \& 50\%
    """
    return "".join(_ESCAPES.get(c, c) for c in " ".join(text.split()) if c.isprintable())


def profile(p: Profile) -> str:
    """One row per layer, and the total."""
    shown = of_layers("layers")
    columns = [layer_cells(p, measure) for measure in shown]
    rows = [[layer.name, layer.kind, *(cells[i] for cells in columns)] for i, layer in enumerate(p.pricing.layers)]
    total = [p.name, "", *(total_cell(p, measure) for measure in shown)]
    return table(["layer", "kind", *(units.head(measure.name) for measure in shown)], rows, last=total, left=2)


def comparison(c: Comparison) -> str:
    """One row per model."""
    shown = columns(c, of_layers("summary"))
    left = [("model", list(c.profiles)), *([("input", list(c.inputs.values()))] if has_input(c) else [])]
    heads, cells = zip(*left, *((column.head, column.cells) for column in shown), strict=True)
    made = table(heads, list(zip(*cells, strict=True)), left=len(left))
    return "".join(map(comment, (*c.warnings, *remarks(c)))) + made


def comment(text: str) -> str:
    """A text that is in the file, and not in print."""
    return f"% {units.printable(' '.join(text.split()))}\n"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int,
    last: Sequence[str] | None = None,
    wrapped: Mapping[int, str] = MappingProxyType({}),
    below: Sequence[str] = (),
) -> str:
    """A table whose first ``left`` columns are text; its cells are escaped. ``last`` is the row of totals.

    ``wrapped`` has the width of each column whose texts wrap, ``below`` a text under each row, in its whole width. More
    rows than fit a page make a ``longtable``, which goes on over pages and repeats its head.
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape(cell) for cell in cells) + r" \\"

    def body() -> Iterator[str]:
        for i, row in enumerate(rows):
            yield line(row)
            if below and below[i]:
                yield rf"\multicolumn{{{len(head)}}}{{p{{0.8\linewidth}}}}{{\footnotesize {escape(below[i])}}} \\"
            if below and i + 1 < len(rows):
                yield r"\addlinespace"

    columns = "".join(_column(i, left, wrapped) for i in range(len(head)))
    total = [r"\midrule", line(last)] if last is not None else []
    is_long = len(rows) > PAGE
    packages = ["booktabs", *(["array"] if wrapped else []), *(["longtable"] if is_long else [])]
    begin = [r"\toprule", line(head), r"\midrule"]
    if is_long:  # on each page the head again, and a line under the last row
        name, begin, end = "longtable", [*begin, r"\endhead", r"\bottomrule", r"\endfoot"], []
    else:
        name, end = "tabular", [r"\bottomrule"]
    return "\n".join([
        rf"% needs \usepackage{{{','.join(packages)}}}",
        rf"\begin{{{name}}}{{{columns}}}",
        *begin,
        *body(),
        *total,
        *end,
        rf"\end{{{name}}}",
        "",
    ])  # fmt: skip


def _column(index: int, left: int, wrapped: Mapping[int, str]) -> str:
    if index in wrapped:
        # Ragged, as a narrow column of long words has gaps otherwise; a new line then needs its own command.
        return rf">{{\raggedright\arraybackslash}}p{{{wrapped[index]}}}"
    return "l" if index < left else "r"
