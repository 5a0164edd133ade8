"""Tables for papers, in LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from costmodel.measures import of_layers
from costmodel.views import units
from costmodel.views.cells import inputs, layer_cells, total_cell

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$", "≥": r"$\geq$", "±": r"$\pm$",
    "·": r"$\cdot$", "²": r"$^2$", "³": r"$^3$",
}  # fmt: skip


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
    shown = of_layers("summary")
    rows = [[model, inputs(p), *(total_cell(p, measure) for measure in shown)] for model, p in c.profiles.items()]
    made = table(["model", "input", *(units.head(measure.name) for measure in shown)], rows, left=2)
    return "".join(f"% {' '.join(warning.split())}\n" for warning in c.warnings) + made


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int, last: Sequence[str] | None = None) -> str:
    """A table whose first ``left`` columns are text; its cells are escaped. ``last`` is the row of totals."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(escape(cell) for cell in cells) + r" \\"

    return "\n".join([
        "% needs \\usepackage{booktabs}",
        rf"\begin{{tabular}}{{{'l' * left}{'r' * (len(head) - left)}}}",
        r"\toprule",
        line(head),
        r"\midrule",
        *(line(row) for row in rows),
        *([r"\midrule", line(last)] if last is not None else []),
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ])  # fmt: skip
