"""Static figures, by matplotlib: for papers, notes and Markdown reports.

Every function draws into ``ax`` where one is given, and returns the figure. They are made without pyplot, so no
global state is touched, and unreferenced figures are freed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from costmodel.errors import InputError
from costmodel.measures import RANKED_BY, of_layers, registered_measures
from costmodel.views import palette, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile


SHARED = RANKED_BY[0]
"""The measure that figures show where none is named."""

NARROW = 5.0
"""Inches of a subplot, below which a legend stands to its right."""

_HAIR = 4
"""Pixels that a wrapped line keeps away from the edge."""


def svg(figure: Figure) -> bytes:
    """A figure as SVG, with the same bytes for the same figure: fixed ids, no date."""
    import matplotlib as mpl

    out = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "costmodel", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "costmodel"})
    # matplotlib ends some lines in blanks, which linters of repositories complain of.
    return b"\n".join(line.rstrip() for line in out.getvalue().splitlines()) + b"\n"


def of_profile(p: Profile) -> dict[str, tuple[str, Figure]]:
    """The figures of a report on one model, by name, each with its caption; empty ones are left out."""
    found = {}
    if p.total(SHARED):
        found["kinds"] = (f"{units.name(SHARED)} by kind of layer", kinds(p))
        found["layers"] = (f"{units.name(SHARED)} of each layer, in order of execution", layers(p))
    for measure in registered_measures():
        if measure.of_layer is not None and "layers" in measure.places:
            alt = f"{units.head(measure.name)} of each layer, in order of execution"
            found[f"layers-{measure.name}"] = (alt, layers(p, measure.name))
    field = receptive_field(p)
    if field.axes[0].has_data():
        found["receptive-field"] = ("Receptive field of each layer", field)
    if p.peak.curve:
        found["memory"] = ("Live activations while each op runs", memory(p))
    return found


def layers(p: Profile, quantity: str = SHARED, ax: Axes | None = None) -> Figure:
    """A quantity of each layer, in order of execution, coloured by kind."""
    ax = axes(ax, 8.0, 3.2)
    values, kinds = _column(p, quantity), [layer.kind for layer in p.pricing.layers]
    for kind in palette.KINDS:
        at = [i for i, k in enumerate(kinds) if k == kind or (kind == "other" and k not in palette.KINDS)]
        if any(values[i] for i in at):
            ax.bar([i + 1 for i in at], [values[i] for i in at], color=palette.of_kind(kind), label=kind, width=0.9)
    ax.set_xlabel("layer, in order of execution")
    set_title(ax, f"{p.name}: {units.name(quantity)} of each layer")
    set_scale(ax, "y", units.head(quantity))
    if ax.has_data():
        legend(ax, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.99), borderpad=0)
    return figure_of(ax)


def kinds(p: Profile, quantity: str = SHARED, ax: Axes | None = None) -> Figure:
    """A quantity by kind of layer, the biggest first, with its share."""
    by: dict[str, float] = {}
    for layer, value in zip(p.pricing.layers, _column(p, quantity, additive=True), strict=True):
        by[layer.kind] = by.get(layer.kind, 0) + value
    ranked = sorted(((k, v) for k, v in by.items() if v), key=lambda item: -item[1])
    ax = axes(ax, 6.0, 0.9 + 0.36 * max(len(ranked), 1))
    names = [kind for kind, _ in ranked]
    bars = ax.barh(names, [v for _, v in ranked], color=[palette.of_kind(k) for k in names], height=0.65)
    whole = sum(by.values())
    ax.bar_label(bars, [f" {units.share(v, whole)}" for _, v in ranked], fontsize="small")
    ax.invert_yaxis()
    ax.margins(x=0.12)
    set_title(ax, f"{p.name}: {units.name(quantity)} by kind of layer")
    set_scale(ax, "x", units.head(quantity))
    return figure_of(ax)


def receptive_field(p: Profile, ax: Axes | None = None) -> Figure:
    """Input positions that one output position of each layer sees, for each axis whose field is another.

    Layers that see the whole input, behind a global pool or in a gate, are left out.
    """
    ax = axes(ax, 8.0, 3.2)
    table = p.layers
    rows = zip(table["receptive_field"].tolist(), table["stride"].tolist(), strict=True)
    fields = [
        (i, f) for i, (f, stride) in enumerate(rows, 1) if isinstance(f, tuple) and any(s is not None for s in stride)
    ]
    drawn: set[tuple[int, ...]] = set()
    for axis in range(max((len(f) for _, f in fields), default=0)):
        at = [(i, f[axis]) for i, f in fields if axis < len(f) and f[axis] is not None]
        sizes = tuple(size for _, size in at)
        if sizes not in drawn:
            drawn.add(sizes)
            ax.step([i for i, _ in at], sizes, where="post", color=palette.of_model(axis), label=f"axis {axis}")
    if len(drawn) > 1:
        ax.legend(frameon=False, fontsize="small")
    ax.set_xlabel("layer, in order of execution")
    ax.set_ylabel("input positions")
    ax.set_ylim(bottom=0)
    set_title(ax, f"{p.name}: receptive field")
    return figure_of(ax)


def memory(p: Profile, ax: Axes | None = None) -> Figure:
    """Bytes of live activations while each op runs, with the peak."""
    ax = axes(ax, 8.0, 3.2)
    peak = p.peak
    at = range(1, len(peak.curve) + 1)
    ax.fill_between(at, peak.curve, step="mid", color=palette.of_model(0), alpha=0.18, linewidth=0)
    ax.step(at, peak.curve, where="mid", color=palette.of_model(0))
    if peak.curve:
        ax.plot(peak.index + 1, peak.nbytes, "o", color=palette.of_model(0))
        side = "left" if peak.index < len(peak.curve) / 2 else "right"
        where = peak.module or p.name
        text = f" {units.si(peak.nbytes, 'B')} in {f'…{where[-15:]}' if is_narrow(ax) and len(where) > 16 else where} "
        ax.annotate(
            text, (peak.index + 1, peak.nbytes), (0, 4), textcoords="offset points", ha=side, va="bottom",
            fontsize="small", parse_math=False,
        )  # fmt: skip
        ax.margins(y=0.16)
    ax.set_xlabel("op, in order of execution")
    ax.set_ylim(bottom=0)
    set_title(ax, f"{p.name}: live activations")
    set_scale(ax, "y", "bytes")
    return figure_of(ax)


def roofline(p: Profile, device: str, ax: Axes | None = None, math: str = "float32") -> Figure:
    """What a device can attain on each layer; an area is the layer's least time."""
    roof = p.roofline(device, math)
    ax = axes(ax, 6.4, 4.2)
    shown = [layer for layer in roof.layers if layer.intensity > 0]
    longest = max((layer.time for layer in shown), default=1.0) or 1.0
    xs = [layer.intensity for layer in shown] or [roof.ridge]
    low, high = min([*xs, roof.ridge]) / 2, 4 * max([*xs, roof.ridge])
    ax.plot([low, roof.ridge, high], [low * roof.device.bandwidth, roof.peak, roof.peak], color="0.35", zorder=1)
    ax.axvline(roof.ridge, color="0.55", linewidth=1, linestyle=":")
    for kind in palette.KINDS:
        of_kind = [layer for layer in shown if layer.kind == kind]
        if of_kind:
            ax.scatter(
                [layer.intensity for layer in of_kind], [layer.attainable for layer in of_kind],
                s=[max(8.0, 220 * layer.time / longest) for layer in of_kind], color=palette.of_kind(kind),
                alpha=0.8, edgecolors="white", linewidths=0.6, label=kind, zorder=2,
            )  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    set_scale(ax, "x", "arithmetic intensity (FLOPs per byte)", "{x:g}")
    set_scale(ax, "y", "attainable FLOP/s")
    bound = f"{roof.peak_name} at {units.si(roof.peak, 'FLOP/s')}: at least {units.seconds(roof.time)}"
    set_title(ax, f"{p.name} on {roof.device.title}\na lower bound, {bound}")
    if shown:
        for handle in legend(ax, loc="lower right").legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([28])
    return figure_of(ax)


def ratios(c: Comparison, quantity: str = SHARED, ax: Axes | None = None) -> Figure:
    """A quantity of each model as a ratio to the baseline, or to the first model where there is none."""
    names = list(c.profiles)
    base = c.labels[c.baseline or names[0]]
    ax = axes(ax, 6.0, 0.9 + 0.36 * len(names))
    values = c.ratios(quantity)
    lengths = [v - 1 if v and isfinite(v) else 0.0 for v in values]
    colors = [palette.of_model(i) for i in range(len(names))]
    ax.barh(range(len(names)), lengths, left=1, color=colors, height=0.65)
    ax.set_xscale("log")
    ax.set_yticks(range(len(names)), [c.labels[name] for name in names], parse_math=False)
    for y, (value, length) in enumerate(zip(values, lengths, strict=True)):
        # Right of the line, also of a bar to the left of it, where the models' names are.
        ax.annotate(
            units.ratio(value) if value else "none", (1 + max(length, 0), y), (4, 0), textcoords="offset points",
            va="center", fontsize="small", parse_math=False,
        )  # fmt: skip
    ax.axvline(1, color="0.35", linewidth=1)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    set_scale(ax, "x", "", "{x:g}×")
    set_title(ax, f"{units.name(quantity)}, ratio to {base}")
    return figure_of(ax)


def _column(p: Profile, quantity: str, *, additive: bool = False) -> list[float]:
    offered = [measure.name for measure in of_layers() if measure.additive or not additive]
    if quantity not in offered:
        raise InputError(f"no quantity is called {quantity!r}; there are {', '.join(offered)}")
    return list(map(float, p.figures(quantity)))  # matplotlib takes no int of more than 64 bits


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes to draw into: those given, or new ones of that size in inches."""
    from matplotlib.axes import Axes

    from costmodel.views.inline import Figure

    if ax is not None and not isinstance(ax, Axes):
        raise InputError(f"ax={ax!r} is no matplotlib Axes, such as plt.subplots() makes")
    if ax is None:
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    else:
        _lay_out(figure_of(ax))
    titles: Any = ax
    for label, side in ((titles._left_title, "left"), (titles._right_title, "right"), (titles.xaxis.label, "center")):
        label.set_wrap(True)
        label._get_wrap_line_width = partial(_within_cell, ax, side)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(visible=True, color="0.92", linewidth=0.8)
    return ax


def _lay_out(figure: Figure) -> None:
    """Has a figure keep room for what stands beside its axes, unless its maker laid it out."""
    from matplotlib import rcParams

    usual: Mapping[Any, Any] = rcParams
    sides = ("left", "right", "bottom", "top", "wspace", "hspace")
    as_made = all(getattr(figure.subplotpars, side) == usual[f"figure.subplot.{side}"] for side in sides)
    if figure.get_layout_engine() is None and as_made:
        figure.set_layout_engine(
            "constrained", w_pad=0.06
        )  # more than usual, as lines are wrapped after it is laid out


def _cell(ax: Axes) -> tuple[float, float, float]:
    """The left and right edges, in pixels, of what a grid of subplots has for some axes, and the height."""
    spec, box = ax.get_subplotspec(), ax.figure.bbox
    if spec is None:
        return box.x0, box.x1, box.height
    rows, columns = spec.get_gridspec().get_geometry()
    left, right = (box.x0 + box.width * at / columns for at in (spec.colspan.start, spec.colspan.stop))
    return left, right, box.height * len(spec.rowspan) / rows


def _within_cell(ax: Axes, side: str) -> float:
    """Pixels of the longest line of a title or label at a side of axes; matplotlib wraps at the figure's edge."""
    left, right, _ = _cell(ax)
    frame = ax.get_window_extent()
    centre = (frame.x0 + frame.x1) / 2
    widths = {
        "left": right - frame.x0,
        "center": 2 * min(centre - left, right - centre),
        "right": min(frame.x1 - left, 0.7 * (right - left)),
    }
    return float(widths[side]) - _HAIR


def room(ax: Axes) -> tuple[float, float]:
    """Inches across and up that axes have with what stands beside them."""
    left, right, height = _cell(ax)
    return (right - left) / ax.figure.dpi, height / ax.figure.dpi


def is_narrow(ax: Axes) -> bool:
    """Whether a legend and a title have no room in one line."""
    return room(ax)[0] < NARROW


def legend(ax: Axes, **place: Any) -> Legend:
    """A legend in its place, or to the right where axes are narrow."""
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "handlelength": 1}
    return ax.legend(frameon=False, fontsize="small", **(beside if is_narrow(ax) else place))


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    figure: Any = ax.get_figure(root=True)
    assert figure is not None
    return figure  # type: ignore[no-any-return]  # matplotlib's stubs differ by version


def set_title(ax: Axes, text: str, loc: Literal["left", "right"] = "left") -> None:
    """Puts a title above the axes."""
    # A name is not a formula, though it may hold dollar signs.
    ax.set_title(text, loc=loc, fontsize="medium", parse_math=False)


def set_scale(ax: Axes, axis: str, label: str, form: str | None = None) -> None:
    """Labels an axis, and its figures: with SI prefixes, or as ``form`` has them, such as ``"{x:g}×"``.

    One that is logarithmic has several round ticks.
    """
    from matplotlib.ticker import EngFormatter

    from costmodel.views.ticks import set_logarithmic

    which = ax.xaxis if axis == "x" else ax.yaxis
    if which.get_scale() == "log":
        set_logarithmic(which)
    which.set_major_formatter(EngFormatter(sep=" ") if form is None else form)
    which.set_label_text(label)
