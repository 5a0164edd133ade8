"""Tables for papers, in LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from costmodel.views import units

if TYPE_CHECKING:
    from costmodel.compare import Comparison
    from costmodel.profile import Profile

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "×": r"$\times$", "≥": r"$\geq$", "±": r"$\pm$",
}  # fmt: skip


def escape(text: str) -> str:
    r"""A text as LaTeX prints it.

    >>> print(escape("a_b & 50%"))
    a\_b \& 50\%
    """
    return "".join(_ESCAPES.get(c, c) for c in " ".join(text.split()) if c.isprintable())


def profile(p: Profile) -> str:
    """One row per layer, and the total."""
    names = ("params", "macs", "flops", "memory_access")
    rows = []
    for layer in p.pricing.layers:
        params = sum(t.size for t in layer.new_parameters)
        figures = (params, layer.work.macs, layer.work.flops, layer.traffic.elements)
        exact = all(op.rule is not None for op in layer.ops)
        cells = (units.cell(n, v, exact=exact or n == "params") for n, v in zip(names, figures, strict=True))
        rows.append([layer.name, layer.kind, *cells])
    total = [p.name, "", *(units.cell(n, getattr(p, n), exact=p.is_exact or n == "params") for n in names)]
    return _table(["layer", "kind", *map(units.head, names)], rows, last=total, left=2)


def comparison(c: Comparison) -> str:
    """One row per model."""
    names = ("params", "macs", "flops", "memory_access", "activations")
    rows = [
        [model, *(units.cell(n, getattr(p, n), exact=p.is_exact or n == "params") for n in names)]
        for model, p in c.profiles.items()
    ]
    return _table(["model", *map(units.head, names)], rows, left=1)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int, last: Sequence[str] | None = None) -> str:
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
