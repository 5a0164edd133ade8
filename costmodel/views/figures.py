"""Static figures, by matplotlib: for papers, notes and Markdown reports.

Every function draws into ``ax`` where one is given, and returns the figure. They are made without pyplot, so no
global state is touched, and unreferenced figures are freed.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import isnan
from typing import TYPE_CHECKING, Any

from costmodel.errors import InputError
from costmodel.measures import RANKED_BY, TRADE_OFF, Number, of_layers, registered_measures, shown_in
from costmodel.views import labels, palette, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.comparison import Comparison
    from costmodel.profiling import Profile


SHARED = RANKED_BY[0]
"""The measure that figures show where none is named."""


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


def of_comparison(c: Comparison) -> dict[str, tuple[str, Figure]]:
    """The figures of a report on several models, by name, each with its caption."""
    base = c.baseline or next(iter(c.profiles))
    found = {"scatter": ("Parameters against MACs, with the Pareto front", scatter(c))}
    for measure in sorted(shown_in("ratios"), key=lambda measure: measure.name != SHARED):
        if c.profiles[base].total(measure.name):
            alt = f"{measure.title} of each model, as a ratio to {base}"
            found[f"ratios-{measure.name.replace('_', '-')}"] = (alt, ratios(c, measure.name))
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
        ax.legend(frameon=False, fontsize="small", ncols=3, loc="lower right", bbox_to_anchor=(1, 0.99), borderpad=0)
    return figure_of(ax)


def kinds(p: Profile, quantity: str = SHARED, ax: Axes | None = None) -> Figure:
    """A quantity by kind of layer, the biggest first, with its share."""
    by: dict[str, Number] = {}
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
        text = f" {units.si(peak.nbytes, 'B')} in {peak.module or p.name} "
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
    ax.set_xlabel("arithmetic intensity (FLOPs per byte)")
    ax.set_ylabel("attainable FLOP/s")
    bound = f"{roof.peak_name} at {units.si(roof.peak, 'FLOP/s')}: at least {units.seconds(roof.time)}"
    set_title(ax, f"{p.name} on {roof.device.title}\na lower bound, {bound}")
    if shown:
        legend = ax.legend(frameon=False, fontsize="small", loc="lower right")
        for handle in legend.legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([28])
    return figure_of(ax)


def scatter(c: Comparison, ax: Axes | None = None) -> Figure:
    """Parameters against MACs, an area being the memory access, with the Pareto front of both."""
    across, up, area_of = TRADE_OFF
    models = list(c.profiles)
    ax = axes(ax, *((6.4, 4.6) if len(models) <= 10 else (9.0, 6.2)))
    # A logarithmic axis has no zero.
    points = [(max(x or 0, 1), max(y or 0, 1)) for x, y in zip(c.totals(across), c.totals(up), strict=True)]
    sizes = [size or 0 for size in c.totals(area_of)]
    most = max(sizes) or 1
    front = pareto(points)
    areas = [max(20.0, 700 * size / most) for size in sizes]
    for i, ((x, y), area) in enumerate(zip(points, areas, strict=True)):
        ax.scatter([x], [y], s=area, color=palette.of_model(i), alpha=0.85, edgecolors="white", zorder=2)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.margins(0.16)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    # The front runs on to the edges: beyond its ends, too, nothing has both fewer parameters and fewer MACs.
    steps = [(front[0][0], top), *front, (right, front[-1][1])]
    ax.step([x for x, _ in steps], [y for _, y in steps], where="post", color="0.45", linestyle=":", zorder=1)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    set_scale(ax, "x", units.head(across))
    set_scale(ax, "y", units.head(up))
    set_title(ax, f"parameters against {units.name(up)}; area: {units.name(area_of)}")
    _label(ax, models, points, [area**0.5 / 2 for area in areas])
    return figure_of(ax)


def _label(ax: Axes, names: Sequence[str], points: Sequence[tuple[Number, Number]], radii: Sequence[float]) -> None:
    """Names beside their dots, where they cover least."""
    figure = figure_of(ax)
    figure.draw_without_rendering()  # only then is it settled where the axes lie
    scale = 72 / figure.dpi
    size, frame = 8.0, ax.get_window_extent()
    dots = [
        labels.Dot(x * scale, y * scale, radius, 0.58 * size * len(name), 1.2 * size)
        for (x, y), radius, name in zip(ax.transData.transform(points), radii, names, strict=True)
    ]
    edges = labels.Box(*(scale * edge for edge in (frame.x0, frame.y0, frame.x1, frame.y1)))
    for name, point, dot, side in zip(names, points, dots, labels.sides(dots, edges), strict=True):
        ha, va = labels.SIDES[side]
        offset = (dot.gap(side) * side[0], dot.gap(side) * side[1])
        ax.annotate(
            name, point, offset, textcoords="offset points", ha=ha, va=va, fontsize=size, parse_math=False
        )  # fmt: skip


def ratios(c: Comparison, quantity: str = SHARED, ax: Axes | None = None) -> Figure:
    """A quantity of each model as a ratio to the baseline, or to the first model where there is none."""
    names = list(c.profiles)
    base = c.baseline or names[0]
    ax = axes(ax, 6.0, 0.9 + 0.36 * len(names))
    values = [0.0 if isnan(value) else value for value in c.ratios(quantity)]
    lengths = [v - 1 if v else 0.0 for v in values]
    colors = [palette.of_model(i) for i in range(len(names))]
    bars = ax.barh(range(len(names)), lengths, left=1, color=colors, height=0.65)
    ax.set_xscale("log")
    ax.set_yticks(range(len(names)), names, parse_math=False)
    ax.bar_label(bars, [f" {units.ratio(v)} " if v else " none " for v in values], fontsize="small")
    ax.axvline(1, color="0.35", linewidth=1)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.xaxis.set_major_formatter("{x:g}×")
    ax.xaxis.set_minor_formatter("")  # within less than a decade matplotlib would label these, as 2 × 10⁻¹
    set_title(ax, f"{units.name(quantity)}, ratio to {base}")
    return figure_of(ax)


def pareto(points: Sequence[tuple[Number, Number]]) -> list[tuple[Number, Number]]:
    """The points that no other undercuts in both coordinates, from left to right.

    >>> pareto([(3, 3), (1, 5), (2, 2), (4, 1), (4, 4)])
    [(1, 5), (2, 2), (4, 1)]
    """
    front: list[tuple[Number, Number]] = []
    for x, y in sorted(points):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


def _column(p: Profile, quantity: str, *, additive: bool = False) -> list[Number]:
    offered = [measure.name for measure in of_layers() if measure.additive or not additive]
    if quantity not in offered:
        raise InputError(f"no quantity is called {quantity!r}; there are {', '.join(offered)}")
    return p.figures(quantity)


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """The axes to draw into: those given, or new ones of that size in inches."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    if ax is not None and not isinstance(ax, Axes):
        raise InputError(f"ax={ax!r} is no matplotlib Axes, such as plt.subplots() makes")
    if ax is None:
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(visible=True, color="0.92", linewidth=0.8)
    return ax


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    figure: Any = ax.get_figure(root=True)
    assert figure is not None
    return figure  # type: ignore[no-any-return]  # matplotlib's stubs differ by version


def set_title(ax: Axes, text: str) -> None:
    """Puts a title above the axes."""
    # A name is not a formula, though it may hold dollar signs.
    ax.set_title(text, loc="left", fontsize="medium", parse_math=False)


def set_scale(ax: Axes, axis: str, label: str) -> None:
    """Labels an axis, and its figures with SI prefixes."""
    from matplotlib.ticker import EngFormatter

    which = ax.xaxis if axis == "x" else ax.yaxis
    which.set_major_formatter(EngFormatter(sep=" "))
    which.set_label_text(label)
