"""Training steps of several models side by side, in every format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from costmodel.measures import STEP_MEASURES, STEP_TOTALS, find
from costmodel.views import compact, csv, grid, html, json, latex, palette, units
from costmodel.views import figures as drawing
from costmodel.views.grid import WIDE
from costmodel.views.markdown import coverage_line, escape, pictures, table, verdict
from costmodel.views.styled import Part, Text, plain
from costmodel.views.text import verdict_parts
from costmodel.views.training import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.comparison.steps import StepComparison

_PRIORITY = {"training_peak": 10, "saved_bytes": 9, "training_macs": 8, "params": 7, "training_flops": 5}
"""In a terminal too narrow for all columns, those with the highest priority stay."""


def text(c: StepComparison, width: int | None = None) -> str:
    """A comparison as plain text."""
    return plain(parts(c, width or 120), width or 120)


def parts(c: StepComparison, width: int = WIDE) -> list[Part | str]:
    """One row per model: totals, ratios to the baseline, and the verdict of the cross-check."""
    columns = []
    for name, cells in _cells(c).items():
        if name == "trainable_params" and c.totals(name) == c.totals("params"):
            continue
        measure = find(name)
        title = (name if measure is None else measure.title).removeprefix("training ")
        unit = units.noun(name)
        head = f"{title}\n({unit})" if unit else title
        columns.append(grid.numbers(head, cells, _PRIORITY.get(name, 2)))
        if c.baseline is not None:
            ratios = list(map(units.ratio, c.ratios(name)))
            columns.append(grid.numbers("ratio", ratios, _PRIORITY.get(name, 2) - 4, called=f"{title} ratio"))
    labels = [Text(name, style="bold") for name in c.steps]
    made, dropped = grid.table("model", labels, columns, width, least=min(max(map(len, c.steps)), 40))
    first = next(iter(c.steps.values()))
    remarks = [f"{words.title(first)}, input {words.inputs(first)}"] if not c.warnings else []
    remarks += [f"ratios are to {units.printable(c.baseline)}"] if c.baseline is not None else []
    shown: list[Part | str] = [made, grid.dim([*remarks, *grid.left_out(dropped)])]
    shown += [Text.assemble(("! ", "yellow"), units.printable(warning)) for warning in c.warnings]
    for name, step in c.steps.items():
        if not (step.crosscheck().ok and step.is_exact):
            shown += ["", Text(units.printable(name), style="bold"), *verdict_parts(step, step.crosscheck())]
    return shown


def markdown(c: StepComparison, figures: Mapping[str, str] | None = None) -> str:
    """A table of totals, ratios to the baseline, memory at the peak by category, and whether to trust each."""
    head = [units.head(name) for name in STEP_TOTALS]
    cells = _cells(c)
    rows = [[escape(model), *(column[i] for column in cells.values())] for i, model in enumerate(c.steps)]
    made = [f"# Training steps of {units.plural(len(c.steps), 'model')}", *_how(c), table(["model", *head], rows)]
    made += [f"⚠️ {escape(units.sentence_case(warning))}." for warning in c.warnings]
    if c.baseline is not None:
        columns = [list(map(units.ratio, c.ratios(name))) for name in STEP_TOTALS]
        ratios = [[escape(model), *(column[i] for column in columns)] for i, model in enumerate(c.steps)]
        made.append(f"Times {escape(c.baseline)}:\n\n{table(['model', *head], ratios)}")
    made += [f"## Memory at the peak\n\n{_memory(c)}", *pictures(figures or {})]
    trust = [f"- {escape(m)}: {verdict(s.crosscheck())} {coverage_line(s.coverage)}" for m, s in c.steps.items()]
    made.append("## Are they true?\n\n" + "\n".join(trust))
    return "\n\n".join(made) + "\n"


def _how(c: StepComparison) -> list[str]:
    first = next(iter(c.steps.values()))
    return [] if c.warnings else [f"Of each model {words.title(first)}, input {words.inputs(first)}."]


def _cells(c: StepComparison) -> dict[str, list[str]]:
    """The totals of each model, rounded, by measure."""
    return {
        name: [
            units.cell(name, total, exact=step.is_exact or name in ("params", "trainable_params"))
            for total, step in zip(c.totals(name), c.steps.values(), strict=True)
        ]
        for name in STEP_TOTALS
    }


def _categories(c: StepComparison) -> list[str]:
    present = {category for step in c.steps.values() for category, _ in words.memory(step)}
    return words.order(present)


def _memory(c: StepComparison) -> str:
    categories = _categories(c)
    rows = []
    for model, step in c.steps.items():
        held = dict(words.memory(step))
        cells = [words.amount(step, held.get(category, 0)) for category in categories]
        rows.append([escape(model), *cells, words.amount(step, step.peak_memory), escape(step.peak.phase)])
    return table(["model", *categories, "together", "in the"], rows)


def page(c: StepComparison) -> str:
    """The comparison as a page: totals, memory at the peak, and figures."""
    return html.from_template("step_comparison.html.j2", **_context(c), drawn=html.embedded(of_comparison(c)))


def fragment(c: StepComparison) -> str:
    """A row per model: totals, and ratios of the peak to the baseline."""
    steps = list(c.steps.items())[: compact.ROWS]
    columns = [compact.Column("Model", [name for name, _ in steps], is_text=True)]
    for name in STEP_TOTALS:
        if name == "trainable_params" and c.totals(name) == c.totals("params"):
            continue
        totals = c.totals(name)[: len(steps)]
        exact = [s.is_exact or name in ("params", "trainable_params") for _, s in steps]
        cells = [units.cell(name, n, exact=e) for n, e in zip(totals, exact, strict=True)]
        ratios = list(map(units.ratio, c.ratios(name)[: len(steps)])) if c.baseline is not None else []
        head = units.sentence_case(units.head(name).removeprefix("training "))
        columns.append(compact.Column(head, cells, list(map(units.grouped, totals)), ratios))
    first, said = steps[0][1], [(compact.BOUND, units.sentence_case(warning)) for warning in c.warnings]
    for name, s in steps:
        if not s.crosscheck().ok:
            said.append((compact.BAD, f"{name}: {compact.verdict(s.crosscheck())[1]}"))
        if not s.is_exact:
            said.append((compact.BOUND, f"{name}: totals are lower bounds"))
    return compact.Card(
        f"Training steps of {units.plural(len(c.steps), 'model')}",
        "" if c.warnings else f"{words.title(first)}, input {words.inputs(first)}",
        verdicts=said,
        tables=[compact.Table(columns, len(c.steps), "model", ".table")],
    ).html()


def _context(c: StepComparison) -> dict[str, object]:
    cells, categories = _cells(c), _categories(c)
    memory = []
    for model, step in c.steps.items():
        held = dict(words.memory(step))
        amounts = [(words.amount(step, held.get(x, 0)), f"{held.get(x, 0):,} bytes") for x in categories]
        memory.append((model, amounts, words.amount(step, step.peak_memory)))
    return {
        "title": f"Training steps of {units.plural(len(c.steps), 'model')}",
        "how": _how(c),
        "heads": [units.sentence_case(units.head(name)) for name in STEP_TOTALS],
        "rows": [
            (model, [(column[i], units.grouped(c.totals(name)[i])) for name, column in cells.items()])
            for i, model in enumerate(c.steps)
        ],
        "memory": memory,
        "categories": [(category, palette.MEMORY.get(category, "#808080")) for category in categories],
        "checks": [
            (model, _in_text(verdict(step.crosscheck())), _in_text(coverage_line(step.coverage)))
            for model, step in c.steps.items()
        ],
        "warnings": c.warnings,
        "left_out": words.LEFT_OUT,
    }


def _in_text(line: str) -> str:
    """A line of Markdown without its emoji, which not every system's fonts have."""
    return line.replace("✅", "✓").replace("❌", "✗").replace("⚠️", "!")


def written(c: StepComparison) -> str:
    """The totals of several steps as JSON, one line per model."""
    lines = ",\n".join(
        json.compact({
            "name": name, "inputs": json.inputs(step.forward), "optimizer": step.optimizer, "autocast": step.autocast,
            "totals": {total: c.totals(total)[i] for total in (*STEP_TOTALS, "forward_macs", "backward_macs")},
            "memory": dict(words.memory(step)), "is_exact": step.is_exact, "crosscheck": step.crosscheck().ok,
        })
        for i, (name, step) in enumerate(c.steps.items())
    )  # fmt: skip
    head = (
        f'"format":"costmodel-step-comparison","version":{json.VERSION},"baseline":{json.compact(c.baseline)},'
        f'"warnings":{json.compact(c.warnings)},"measures":{json.compact(json.explained(STEP_MEASURES.values()))}'
    )
    return f'{{{head},"models":[\n{lines}\n]}}\n'


def comma_separated(c: StepComparison) -> str:
    """One line per model."""
    return csv.rows(c.table.reset_index())


def booktabs(c: StepComparison) -> str:
    """One row per model."""
    cells = _cells(c)
    rows = [[model, *(column[i] for column in cells.values())] for i, model in enumerate(c.steps)]
    return latex.table(["model", *map(units.head, STEP_TOTALS)], rows, left=1)


def of_comparison(c: StepComparison) -> dict[str, tuple[str, Figure]]:
    """The figures of a report on several steps, by name, each with its caption."""
    return {"memory": ("Memory at the peak of each model's step, by category", memory(c))}


def memory(c: StepComparison, ax: Axes | None = None) -> Figure:
    """Memory at the peak, by category, model by model."""
    ax = drawing.axes(ax, 8.0, 1.2 + 0.36 * len(c.steps))
    held = [dict(words.memory(step)) for step in c.steps.values()]
    left = [0] * len(held)
    for category in _categories(c):
        widths = [found.get(category, 0) for found in held]
        color = palette.MEMORY.get(category, "#808080")
        bars = ax.barh(range(len(held)), widths, left=left, color=color, label=category, height=0.65)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    ax.bar_label(bars, [f" {units.si(n, 'B')}" for n in left], fontsize="small")
    ax.set_yticks(range(len(held)), list(c.steps), parse_math=False)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    drawing.set_title(ax, "memory at the peak of a training step")
    drawing.set_scale(ax, "x", "bytes")
    return drawing.figure_of(ax)
