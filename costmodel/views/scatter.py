"""One column of a comparison against another, with the Pareto front: what a model gains for what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from costmodel.measures import TRADE_OFF, Number, shown_in
from costmodel.views import figures, labels, palette, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from costmodel.comparison import Comparison

SPAN = 10
"""A metric's axis is logarithmic from this ratio of its greatest to its least figure on; a measure's always is."""


def of_comparison(c: Comparison) -> dict[str, tuple[str, Figure]]:
    """The figures of a report on several models, by name, each with its caption."""
    base = c.baseline or next(iter(c.profiles))
    found = {"scatter": ("Parameters against MACs, with the Pareto front", trade_off(c))}
    if (metric := of_interest(c)) is not None:
        found["pareto"] = (
            f"{metric} against {units.name(figures.SHARED)}, with the Pareto front",
            pareto(c, figures.SHARED, metric),
        )
    for measure in sorted(shown_in("ratios"), key=lambda measure: measure.name != figures.SHARED):
        if c.profiles[base].total(measure.name):
            alt = f"{measure.title} of each model, as a ratio to {base}"
            found[f"ratios-{measure.name.replace('_', '-')}"] = (alt, figures.ratios(c, measure.name))
    return found


def trade_off(c: Comparison, ax: Axes | None = None) -> Figure:
    """Parameters against MACs, an area being the memory access, with the Pareto front of both."""
    return pareto(c, *TRADE_OFF, ax=ax)


def pareto(c: Comparison, x: str, y: str, area: str | None = None, ax: Axes | None = None) -> Figure:
    """Two columns of a comparison, with the front of the models that no other one beats in both.

    A model that lacks a figure is not drawn. A name for which there is no room beside its dot is left out, those on the
    front last.
    """
    drawn = [name for name, *pair in zip(c.profiles, c.totals(x), c.totals(y), strict=True) if None not in pair]
    on_front = set(c.front(x, y))
    ax = figures.axes(ax, *((6.4, 4.6) if len(drawn) <= 10 else (9.0, 6.2)))
    across, up = ([_placed(c, name, figure) for figure in _of(c, name, drawn)] for name in (x, y))
    areas = [42.0] * len(drawn) if area is None else _areas([figure or 0 for figure in _of(c, area, drawn)])
    rows = list(c.profiles)
    colors = [palette.of_model(rows.index(name)) for name in drawn]
    ax.scatter(across, up, s=areas, c=colors, alpha=0.85, edgecolors="white", zorder=2)
    for axis, name, values in (("x", x, across), ("y", y, up)):
        if _is_logarithmic(c, name, values):
            (ax.set_xscale if axis == "x" else ax.set_yscale)("log")
    ax.margins(0.16)
    points = list(zip(across, up, strict=True))
    steps = _steps(c, ax, (x, y), [point for name, point in zip(drawn, points, strict=True) if name in on_front])
    for axis, name in (("x", x), ("y", y)):
        figures.set_scale(ax, axis, _head(c, name))
    figures.set_title(ax, _title(x, y, area, len(c.profiles) - len(drawn)))
    first = [i for i, name in enumerate(drawn) if name in on_front]
    _name(ax, [c.labels[name] for name in drawn], points, [size**0.5 / 2 for size in areas], steps, first)
    return figures.figure_of(ax)


def _of(c: Comparison, name: str, models: Sequence[str]) -> list[Number | None]:
    of_model = dict(zip(c.profiles, c.totals(name), strict=True))
    return [of_model[model] for model in models]


def _placed(c: Comparison, name: str, figure: Number | None) -> float:
    """Where a figure lies on its axis: a measure's is logarithmic, and has no zero."""
    return float(figure or 0) if name in c.metrics else float(max(figure or 0, 1))


def _is_logarithmic(c: Comparison, name: str, values: Sequence[float]) -> bool:
    if name not in c.metrics:
        return True
    return bool(values) and min(values) > 0 and max(values) / min(values) >= SPAN


def _areas(sizes: Sequence[Number]) -> list[float]:
    most = max(sizes, default=0) or 1
    return [max(20.0, 700 * size / most) for size in sizes]


def _head(c: Comparison, name: str) -> str:
    metric = c.metrics.get(name)
    if metric is None:
        return units.head(name)
    return f"{metric.head or name} ({', '.join(filter(None, (metric.unit, f'{metric.better} is better')))})"


def _title(x: str, y: str, area: str | None, missing: int) -> str:
    across, up = ("parameters" if name == "params" else units.name(name) for name in (x, y))
    first, second = (across, up) if area is not None else (up, across)
    said = f"{first} against {second}"
    said += "" if area is None else f"; area: {units.name(area)}"
    return said + (f"; {units.plural(missing, 'model')} without figures left out" if missing else "")


def _steps(
    c: Comparison, ax: Axes, names: tuple[str, str], front: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Draws the front's steps, to the edges: beyond its ends, too, no model is better in both. Returns the corners."""
    if not front:
        return []
    limits = (ax.get_xlim(), ax.get_ylim())
    worst = [high if c.lower_is_better(name) else low for name, (low, high) in zip(names, limits, strict=True)]
    ordered = sorted(set(front), reverse=not c.lower_is_better(names[0]))
    corners = [(ordered[0][0], worst[1]), ordered[0]]
    for x, y in ordered[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    corners.append((worst[0], corners[-1][1]))
    ax.plot([x for x, _ in corners], [y for _, y in corners], color="0.45", linestyle=":", zorder=1)
    ax.set(xlim=limits[0], ylim=limits[1])
    return corners


def _name(
    ax: Axes,
    names: Sequence[str],
    points: Sequence[tuple[float, float]],
    radii: Sequence[float],
    steps: Sequence[tuple[float, float]],
    first: Sequence[int],
) -> None:
    """Names beside their dots, clear of each other, of dots and of the front's steps."""
    if not points:
        return
    figure = figures.figure_of(ax)
    figure.draw_without_rendering()  # only then is it settled where the axes lie
    scale, frame = 72 / figure.dpi, ax.get_window_extent()
    texts = [
        ax.annotate(name, point, (0, 0), textcoords="offset points", fontsize=8, parse_math=False)
        for name, point in zip(names, points, strict=True)
    ]
    sizes = [text.get_window_extent() for text in texts]
    dots = [
        labels.Dot(x * scale, y * scale, radius, box.width * scale + 1, box.height * scale + 1)
        for (x, y), radius, box in zip(ax.transData.transform(points), radii, sizes, strict=True)
    ]
    corners = [(x * scale, y * scale) for x, y in ax.transData.transform(steps)] if steps else []
    lines = tuple(labels.line(a, b) for a, b in pairwise(corners))
    edges = labels.Box(*(scale * edge for edge in (frame.x0, frame.y0, frame.x1, frame.y1)))
    for text, dot, place in zip(texts, dots, labels.places(dots, edges, lines, first), strict=True):
        if place is None:
            text.remove()
        else:
            text.xyann = dot.offset(place)
            text.set(ha=labels.SIDES[place[0]][0], va=labels.SIDES[place[0]][1])


def of_interest(c: Comparison) -> str | None:
    """The metric that reports show against the MACs: the first that is better when higher, of two models or more."""
    for name, metric in c.metrics.items():
        if metric.better == "higher" and len([n for n in metric.figures.values() if n is not None]) > 1:
            return name
    return None
