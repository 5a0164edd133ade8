"""Static figures of a training step, by matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costmodel.views import palette, units
from costmodel.views.figures import axes, figure_of, is_narrow, set_scale, set_title
from costmodel.views.training import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.training import TrainingStep


def of_step(s: TrainingStep) -> dict[str, tuple[str, Figure]]:
    """The figures of a report on a step, by name, each with its caption."""
    found = {"memory": ("Memory while each op of the step runs, by category", memory(s))}
    if s.forward.macs:
        found["passes"] = ("Forward against backward, by kind of layer", passes(s))
    return found


def memory(s: TrainingStep, ax: Axes | None = None) -> Figure:
    """Bytes that are live while each op of the step runs, stacked by category, with the peak and the phases."""
    ax = axes(ax, 8.0, 3.8)
    curve = s.curve
    shown = [c for c in words.order(s.memory["category"].tolist()) if curve[c].any()]
    at = range(1, len(curve) + 1)
    colors = [palette.MEMORY.get(c, "#808080") for c in shown]
    ax.stackplot(at, *(curve[c] for c in shown), labels=shown, colors=colors, step="mid", linewidth=0)
    highest = float(curve["total"].max())
    ax.plot(s.peak.index + 1, s.peak_memory, "o", color="0.15", markersize=5)
    side = "left" if s.peak.index < len(curve) / 2 else "right"
    ax.annotate(
        f" {units.si(s.peak_memory, 'B')} in the {s.peak.phase} ", (s.peak.index + 1, s.peak_memory), (0, 4),
        textcoords="offset points", ha=side, va="bottom", fontsize="small", parse_math=False,
    )  # fmt: skip
    _mark_phases(s, ax, highest)
    ax.set_xlabel("op, in order of execution")
    ax.set_xlim(1, max(len(curve), 2))
    ax.set_ylim(0, 1.22 * highest)
    handles, names = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1], names[::-1], frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5)
    )  # fmt: skip
    set_title(ax, f"{s.name}: memory over {words.title(s)}")
    set_scale(ax, "y", "bytes")
    return figure_of(ax)


def _mark_phases(s: TrainingStep, ax: Axes, highest: float) -> None:
    """A line where each phase begins, with its name where it fits."""
    phases = s.curve["phase"].tolist()
    starts = [i for i in range(len(phases)) if i == 0 or phases[i] != phases[i - 1]]
    for start, end in zip(starts, [*starts[1:], len(phases)], strict=True):
        if start:
            ax.axvline(start + 0.5, color="0.35", linewidth=0.8, linestyle=":")
        if end - start > (0.35 if is_narrow(ax) else 0.07) * len(phases):
            ax.text(
                (start + end) / 2 + 0.5, 1.19 * highest, phases[start], ha="center", va="top", fontsize="small",
                color="0.35",
            )  # fmt: skip


def passes(s: TrainingStep, ax: Axes | None = None) -> Figure:
    """MACs of the forward and of the backward pass, by kind of layer, the biggest first."""
    rows = [(k, forward, backward) for k, forward, backward, _ in words.by_kind(s) if forward or backward]
    ax = axes(ax, 6.4, 1.1 + 0.5 * max(len(rows), 1))
    for i, (kind, forward, backward) in enumerate(rows):
        color = palette.of_kind(kind)
        ax.barh(i - 0.2, forward, color=color, height=0.36, alpha=0.55)
        bars = ax.barh(i + 0.2, backward, color=color, height=0.36)
        ax.bar_label(bars, [f" {units.ratio(backward / forward)}" if forward else ""], fontsize="small")
    ax.set_yticks(range(len(rows)), [kind for kind, *_ in rows])
    ax.invert_yaxis()
    ax.margins(x=0.12)
    set_title(ax, f"{s.name}: MACs of forward (light) and backward, by kind of layer")
    set_scale(ax, "x", "MACs")
    return figure_of(ax)
