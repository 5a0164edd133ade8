"""Results as Markdown that GitHub renders as it is: for reports in a repository, and for comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from costmodel.measures import MEASURES, RANKED_BY, Measure, add, of_layers, shown_in
from costmodel.views import units
from costmodel.views.cells import beyond_the_peak, inputs, is_exact, total_cell, whole_field
from costmodel.views.columns import columns, has_input, remarks
from costmodel.views.fold import folded, sections
from costmodel.views.tree import Node, tree

if TYPE_CHECKING:
    from costmodel.comparison import Comparison
    from costmodel.cross_check import CrossCheck
    from costmodel.profiling import Profile
    from costmodel.profiling.coverage import Coverage

SHARED = RANKED_BY[0]
"""The measure that shares are of."""

_SPECIAL = re.compile(r"[\\`*_{}\[\]()#+!|~$^-]")
_LINK = re.compile(r"(?<=\w)://|(?<=www)\.|@", re.IGNORECASE)


def escape(text: str) -> str:
    r"""A text from a model, escaped for a Markdown cell: no markup, link, mention or line break comes of it.

    >>> escape("a|b"), escape("<script>"), escape("`x`\n# y")
    ('a\\|b', '&lt;script&gt;', '\\`x\\` \\# y')
    """
    text = " ".join(text.split())
    text = "".join(c for c in text if c.isprintable())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(lambda m: f"\\{m[0]}" if m[0] not in "()-_" or _marks(m) else m[0], text)
    return _LINK.sub(lambda m: "".join(f"&#{ord(c)};" for c in m[0]), text)


def in_html(text: str) -> str:
    """A text from a model, escaped for HTML within Markdown, such as a block's summary.

    >>> in_html("layers.0 to 31, × 32"), in_html("<b>")
    ('layers.0 to 31, × 32', '&#60;b&#62;')
    """
    text = " ".join(text.split())
    return "".join(c if c.isalnum() or c in " .,/_×-" else f"&#{ord(c)};" for c in text if c.isprintable())


def _marks(match: re.Match[str]) -> bool:
    """Whether Markdown would read this character, which inside a word is harmless, as markup."""
    text, at = match.string, match.start()
    if match[0] in "()":
        return False
    if match[0] == "-":
        return at == 0
    return not (0 < at < len(text) - 1 and text[at - 1].isalnum() and text[at + 1].isalnum())


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table whose first ``left`` columns are text and whose others are numbers, flush right. Cells are escaped."""
    lines = [head, *rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True)))
        return f"| {' | '.join(padded)} |"

    rule = "|".join(f" {'-' * w} " if i < left else f" {'-' * (w - 1)}: " for i, w in enumerate(widths))
    return "\n".join([line(head), f"|{rule}|", *(line(row) for row in lines[1:])])


def collapsed(summary: str, body: str) -> str:
    """A collapsed block, for something long."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def pictures(figures: Mapping[str, str]) -> list[str]:
    """Links to figures that lie beside the report, by path from it: to each, what it shows."""
    return [f"![{escape(alt)}]({quote(path)})" for path, alt in figures.items()]


# -- one model -----------------------------------------------------------------------------------------------------


def profile(p: Profile, figures: Mapping[str, str] | None = None, *, fold: bool = True) -> str:
    """A profile: its totals, whether to trust them, what is counted; then where the costs go, layer by layer.

    With ``fold``, three and more blocks or layers in a row that differ in their names alone are one row.
    """
    parts = [
        f"# What {escape(p.name)} costs",
        f"One forward of `{_code(p.graph.model)}` in {p.mode} mode, on {inputs(p)}.",
        table(["", "", "exactly"], _totals(p), left=1),
        *([f"{units.sentence_case(beyond)}."] if (beyond := beyond_the_peak(p)) is not None else []),
        conventions(),
        _trust(p),
        f"## By kind of layer\n\n{_kinds(p)}",
        *([f"Receptive field: {escape(seen)}."] if (seen := whole_field(p)) is not None else []),
        *pictures(figures or {}),
        f"## Layers\n\n{_layers(p, fold=fold)}",
    ]
    return "\n\n".join(parts) + "\n"


def _code(text: str) -> str:
    return units.printable(" ".join(text.split())).replace("`", "'").replace("|", "/")


def _totals(p: Profile) -> list[list[str]]:
    return [
        [units.head(m.name), total_cell(p, m), units.every_digit(m.name, total, exact=is_exact(p, m))]
        for m in shown_in("totals")
        if (total := p.total(m.name)) is not None
    ]


def conventions() -> str:
    """What is counted, in plain words."""
    by_title = {measure.title: measure.means for measure in reversed(shown_in("totals"))}
    meanings = [f"**{escape(units.sentence_case(t))}**: {escape(by_title[t])}." for t in reversed(by_title)]
    return f"> {' '.join(meanings)} 1 k is 1,000."


def _trust(p: Profile) -> str:
    lines = [f"- {verdict(p.crosscheck())}", f"- {coverage_line(p.coverage)}"]
    if p.macs_on_padding:
        lines.append(f"- {units.share(p.macs_on_padding, p.macs)} of the MACs multiply a zero of the padding.")
    if p.execution == "real":
        lines.append(f"- Run with real tensors, for the model asks for values: {escape(p.graph.reason)}.")
    for name, holders in p.shared_parameters.items():
        lines.append(f"- {escape(name)} is shared with {', '.join(escape(h or 'the model') for h in holders)}.")
    return "## Is it true?\n\n" + "\n".join(lines)


def verdict(check: CrossCheck) -> str:
    """The cross-check in a sentence."""
    declared = f" {len(check.declared)} have a cost that is declared, not derived." if check.declared else ""
    if check.unchecked_because:
        return f"⚠️ Cross-check: nothing derived twice, for {check.unchecked_because}.{declared}"
    traced = f" {len(check.traced_only)} have no closed form and are traced only." if check.traced_only else ""
    traced += declared
    traced += f" The loss does not use {units.plural(len(check.unreached), 'layer')}." if check.unreached else ""
    if not check.mismatches:
        twice = f"{units.plural(check.checked, 'layer')} derived twice"
        return f"✅ Cross-check: {twice}, trace and closed form agree to the last integer.{traced}"
    wrong = list(dict.fromkeys(c.name for c in check.mismatches))
    named = ", ".join(escape(name) for name in wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    verb = "disagrees" if len(wrong) == 1 else "disagree"
    return f"❌ Cross-check: {len(wrong)} of {units.plural(check.checked, 'layer')} {verb}: {named}.{traced}"


def coverage_line(coverage: Coverage) -> str:
    """The coverage in a sentence or two, which name what is not known."""
    if not coverage.unknown and not coverage.bounds:
        known = len(coverage.counted) + len(coverage.free)
        ran = "the operation that ran has" if known == 1 else f"all {known} operations that ran have"
        return f"✅ Coverage: {ran} a rule; {len(coverage.free)} of them without cost."
    missing = "; ".join(
        f"{escape(op)} in {escape(where[0] or 'the model itself')}"
        + (f" and {units.more(len(where) - 1, 'place')}" if len(where) > 1 else "")
        for op, where in coverage.unknown.items()
    )
    bounds = "; ".join(f"in {escape(note.where or 'the model itself')}, {escape(note.why)}" for note in coverage.bounds)
    said = [f", for these operations have no rule: {missing}"] if missing else []
    said += [f": {bounds}"] if bounds else []
    return " ".join(f"⚠️ Coverage: totals are lower bounds (≥){reasons}." for reasons in said)


def _kinds(p: Profile) -> str:
    shown = [measure for measure in of_layers("layers") if measure.additive]
    at: dict[str, list[int]] = {}
    for i, layer in enumerate(p.pricing.layers):
        at.setdefault(layer.kind, []).append(i)
    sums = {kind: {m.name: add(p.figures(m.name)[i] for i in rows) for m in shown} for kind, rows in at.items()}
    ranked = sorted(sums, key=lambda kind: [-sums[kind][name] for name in RANKED_BY])
    rows = []
    for kind in ranked:
        cells = [units.cell(name, figure) for name, figure in sums[kind].items()]
        share = units.share(sums[kind][SHARED], p.total(SHARED) or 0)
        rows.append([kind, f"{len(at[kind]):,}", *_with_share(shown, cells, share)])
    return table(["kind", "layers", *_heads(shown)], rows)


def _heads(shown: Sequence[Measure]) -> list[str]:
    return _with_share(shown, [units.head(m.name) for m in shown], f"share of {units.name(SHARED)}")


def _with_share(shown: Sequence[Measure], cells: Sequence[str], share: str) -> list[str]:
    """Cells of a row, with the share behind the measure that is shared out."""
    return [
        text for m, cell in zip(shown, cells, strict=True) for text in ((cell, share) if m.name == SHARED else (cell,))
    ]


def _layers(p: Profile, *, fold: bool = True) -> str:
    shown = of_layers("layers")
    whole = p.total(SHARED) or 0

    def row(node: Node) -> list[str]:
        cells = [units.cell(m.name, node.figures[m.name], exact=node.is_exact or not m.needs_rules) for m in shown]
        output = "" if node.output_shape is None else units.shape(node.output_shape)
        share = units.share(node.figures[SHARED] or 0, whole)
        return [escape(node.name), escape(node.type), node.kind, output, *_with_share(shown, cells, share)]

    head = ["layer", "type", "kind", "output", *_heads(shown)]
    return layer_tables(tree(p), len(p.pricing.layers), head, row, left=4, fold=fold)


def layer_tables(
    root: Node, layers: int, head: Sequence[str], row: Callable[[Node], list[str]], *, left: int, fold: bool
) -> str:
    """Every layer as a row, in a collapsed block; and for each fold one more, with the layers of one of its units."""
    made = []
    for repeated, nodes in sections(folded(root) if fold else root):
        all_layers = f"All {units.plural(layers, 'layer')}, in the order in which they ran"
        title = all_layers if repeated is None else f"Each of {in_html(repeated.name)}"
        made.append(collapsed(title, table(head, map(row, nodes), left=left)))
    return "\n\n".join(made)


# -- the cross-check -----------------------------------------------------------------------------------------------


def crosscheck(check: CrossCheck) -> str:
    """The verdict, the disagreements if there are any, and what was traced only."""
    parts = [f"# Cross-check of {escape(check.model)}", verdict(check)]
    if check.mismatches:
        rows = [
            [escape(c.name), escape(c.type), units.name(c.quantity), _value(c.closed_form), _value(c.traced)]
            for c in check.mismatches
        ]
        parts.append(table(["layer", "type", "quantity", "closed form", "traced"], rows, left=3))
    if check.against:
        parts.append(_third(check))
    if check.traced_only:
        body = "\n".join(f"- {escape(name)}" for name in check.traced_only)
        parts.append(collapsed(f"{units.plural(len(check.traced_only), 'layer')} traced only", body))
    for op, where in check.unknown.items():
        parts.append(f"⚠️ No rule for {escape(op)}, which ran in {escape(where[0] or 'the model itself')}.")
    parts += [f"⚠️ A lower bound in {escape(n.where or 'the model itself')}: {escape(n.why)}." for n in check.bounds]
    return "\n\n".join(parts) + "\n"


def _third(check: CrossCheck) -> str:
    rows, same = [], 0
    for c in check.comparisons:
        third = check.third.get(c.name) if c.quantity == "macs" else None
        if third is None:
            continue
        if third.why:
            rows.append([escape(c.name), escape(third.why), _value(c.traced), _value(third.count)])
        else:
            same += 1
    line = f"{check.against} counts the same MACs for {units.plural(same, 'layer')}"
    if check.total is not None:
        line = f"{'' if check.total.agrees else '❌ '}{units.of_counter(check.total)}.\n\n{line}"
    if not rows:
        return line + "."
    listed = table(["layer", "why", "MACs", check.against], rows, left=2)
    return f"{line}, and others for {len(rows)}:\n\n{collapsed('Where and why it differs', listed)}"


def _value(value: object) -> str:
    return units.shape(value) if isinstance(value, tuple) else f"{value:,}"


# -- several models ------------------------------------------------------------------------------------------------


def comparison(c: Comparison, figures: Mapping[str, str] | None = None) -> str:
    """Several models: totals, ratios to the baseline, whether to trust each, and where its costs go.

    No table of layers: nine networks would have 200 kB of them, which GitHub does not show.
    """
    shown = columns(c, shown_in("totals"), ratios=MEASURES.values())
    table_of_models = _by_model(c, [(column.head, column.cells) for column in shown], with_input=has_input(c))
    parts = [f"# {units.plural(len(c.profiles), 'model')} compared", table_of_models]
    parts += ["\n".join(f"- {escape(remark)}." for remark in remarks(c))] if remarks(c) else []
    parts += [f"⚠️ {escape(units.sentence_case(warning))}." for warning in c.warnings]
    ratios = [(one.head, [units.ratio(n) for n in one.ratios]) for one in shown if one.ratios is not None]
    if c.baseline is not None and ratios:
        parts.append(f"Times {escape(c.baseline)}:\n\n{_by_model(c, ratios)}")
    parts += [conventions(), *pictures(figures or {})]
    trust = "\n".join(
        f"- {escape(model)}: {verdict(p.crosscheck())} {coverage_line(p.coverage)}" for model, p in c.profiles.items()
    )
    parts.append(f"## Are they true?\n\n{trust}")
    for model, p in c.profiles.items():
        parts.append(f"## {escape(model)}\n\nOn {inputs(p)}, in {p.mode} mode.\n\n{_kinds(p)}")
    parts.append("The layers of a model are in its own report: `costmodel profile MODEL`, `Profile.to_markdown`.")
    return "\n\n".join(parts) + "\n"


def _by_model(c: Comparison, columns: Iterable[tuple[str, Sequence[str]]], *, with_input: bool = False) -> str:
    """A table of columns, by head, with a row for each model."""
    left = [("model", [escape(name) for name in c.profiles])]
    left += [("input", list(c.inputs.values()))] if with_input else []
    heads, cells = zip(*left, *((escape(head), cells) for head, cells in columns), strict=True)
    return table(heads, zip(*cells, strict=True), left=len(left))
