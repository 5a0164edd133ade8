"""One column of a comparison against another: the front by its definition, names where they belong, round ticks."""

from __future__ import annotations

import random
from itertools import combinations, pairwise
from math import log10

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.errors import CostModelError
from costmodel.views import figures, labels, ticks

Table = dict[str, dict[str, float]]


def of(metrics: Table, **options: object) -> Comparison:
    """Layers of 8, 16, 24 ... MACs, named a, b, c ..., with some metrics."""
    names = sorted({name for figures in metrics.values() for name in figures})
    models = {name: nn.Linear(8, i + 1, bias=False) for i, name in enumerate(names)}
    return compare(models, (1, 8), metrics=metrics, **options)  # type: ignore[arg-type]


def axes_of(figure: Figure) -> Axes:
    """The one pair of axes of a figure."""
    (ax,) = figure.axes
    return ax


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12), st.booleans(), st.booleans())
def test_the_front_is_what_no_other_model_beats(rows: list[tuple[int, int]], first: bool, second: bool) -> None:
    """By the definition, row by row, for every direction of both metrics."""
    names = [f"m{i:02}" for i in range(len(rows))]
    lower = [name for name, is_lower in (("p", first), ("q", second)) if is_lower]
    profile = costmodel.profile(nn.Linear(2, 2), (1, 2))
    metrics = {
        key: dict(zip(names, column, strict=True))
        for key, column in (("p", [x for x, _ in rows]), ("q", [y for _, y in rows]))
    }
    c = compare(dict.fromkeys(names, profile), metrics=metrics, lower_is_better=lower)

    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        (p, q), (r, s) = ((x if first else -x, y if second else -y) for x, y in (a, b))
        return p <= r and q <= s and (p, q) != (r, s)

    expected = [name for name, row in zip(names, rows, strict=True) if not any(beats(other, row) for other in rows)]
    assert c.front("p", "q") == expected


def test_what_lacks_a_figure_is_on_no_front() -> None:
    """The cheapest model has no accuracy, and hides none that has."""
    c = of({"top-1": {"a": 70, "b": 80, "c": 75, "d": 90}, "other": {"e": 1}})
    assert c.front("macs", "top-1") == ["a", "b", "d"]
    assert c.front("macs", "other") == ["e"]
    assert c.front() == ["a"]
    assert c.pareto("top-1", "macs")["macs"].tolist() == [32, 16, 8]
    with pytest.raises(CostModelError, match="no measure is called 'top1'"):
        c.front("macs", "top1")


def test_costs_against_accuracy_are_drawn_with_their_front() -> None:
    """A dot for each model that has both; the front's steps go up from the cheapest; the title says who is missing."""
    c = of({"top-1": {"a": 70, "b": 80, "c": 75, "d": 90}, "other": {"e": 1}})
    ax = axes_of(c.plot_pareto("macs", "top-1"))
    assert [tuple(map(float, dot)) for dot in ax.collections[0].get_offsets()] == [
        (8, 70),
        (16, 80),
        (24, 75),
        (32, 90),
    ]
    (steps,) = ax.lines
    corners = [tuple(map(float, corner)) for corner in steps.get_xydata()]
    assert corners[1:-1] == [(8, 70), (16, 70), (16, 80), (32, 80), (32, 90)]
    assert corners[0] == (8, ax.get_ylim()[0])
    assert corners[-1] == (ax.get_xlim()[1], 90)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("MACs", "top-1 (higher is better)")
    assert ax.get_title(loc="left") == "top-1 against MACs; 1 model without figures left out"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert {text.get_text() for text in ax.texts} == {"a", "b", "c", "d"}


def test_a_metrics_axis_may_be_logarithmic_and_the_best_be_low() -> None:
    """A latency of 1 to 100 ms; the front then goes down."""
    c = of({"ms": {"a": 100, "b": 10, "c": 50, "d": 1}}, lower_is_better="ms")
    ax = axes_of(c.plot_pareto("macs", "ms"))
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "ms (lower is better)"
    assert [tuple(corner) for corner in ax.lines[0].get_xydata()][1:-1] == [
        (8, 100),
        (16, 100),
        (16, 10),
        (32, 10),
        (32, 1),
    ]


def test_a_metric_that_no_model_has_is_drawn_empty() -> None:
    """No dot, no front, and no error; so is a metric that is 0 or less."""
    assert figures.svg(of({"x": {"a": 1}, "y": {"b": 1}}).plot_pareto("x", "y"))
    assert figures.svg(of({"x": {"a": 0, "b": -3}}).plot_pareto("x", "macs"))


def crowd(seed: int) -> Comparison:
    """Forty models whose dots lie close together."""
    draw = random.Random(seed)
    profile = costmodel.profile(nn.Linear(2, 2), (1, 2))
    names = [f"a_network_{i}" for i in range(40)]
    metrics = {key: {name: draw.gauss(50, 9) for name in names} for key in ("speed", "skill")}
    return compare(dict.fromkeys(names, profile), metrics=metrics)


@pytest.mark.parametrize("seed", range(3))
def test_names_meet_neither_each_other_nor_the_front(seed: int) -> None:
    """In print: no two boxes of names share more than a hair, no step of the front crosses one, and most are there."""
    figure = crowd(seed).plot_pareto("speed", "skill")
    figure.draw_without_rendering()
    ax = axes_of(figure)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert 20 < len(boxes) <= 40
    for one, other in combinations(boxes, 2):
        shared = max(0, min(one.x1, other.x1) - max(one.x0, other.x0)) * max(
            0, min(one.y1, other.y1) - max(one.y0, other.y0)
        )
        assert shared < 0.05 * one.width * one.height
    corners = ax.transData.transform(ax.lines[0].get_xydata())
    for (x0, y0), (x1, y1) in pairwise(corners):
        for box in boxes:
            within_x = min(x0, x1) < box.x1 - 1 and max(x0, x1) > box.x0 + 1
            within_y = min(y0, y1) < box.y1 - 1 and max(y0, y1) > box.y0 + 1
            assert not (within_x and within_y)


@pytest.mark.parametrize("seed", range(3))
def test_a_name_is_nearest_to_its_own_dot(seed: int) -> None:
    """Nobody takes it for another's."""
    c = crowd(seed)
    ax = axes_of(c.plot_pareto("speed", "skill"))
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    dots = dict(zip(c.profiles, ax.transData.transform(ax.collections[0].get_offsets()), strict=True))
    for text in ax.texts:
        box = text.get_window_extent()

        def away(dot: tuple[float, float], box: object = box) -> float:
            x, y = dot
            return float(max(box.x0 - x, x - box.x1, box.y0 - y, y - box.y1, 0))  # type: ignore[attr-defined]  # a Bbox

        assert min(dots, key=lambda name: away(dots[name])) == text.get_text()


def test_prefixes_are_left_out_of_labels_where_names_stay_distinct() -> None:
    """``torchvision:resnet18`` is ``resnet18`` in a chart, unless there is another one."""
    p = costmodel.profile(nn.Linear(2, 2), (1, 2))
    assert list(Comparison({"torchvision:a": p, "timm:b": p, "x.py:c": p}).labels.values()) == ["a", "b", "x.py:c"]
    assert list(Comparison({"torchvision:a": p, "timm:a": p}).labels.values()) == ["torchvision:a", "timm:a"]


@given(st.floats(-9, 15), st.floats(0.02, 12))
def test_ticks_of_a_logarithmic_axis(low: float, decades: float) -> None:
    """Three to seven round figures within the range, in order, wherever it lies and however long it is."""
    start, end = 10**low, 10 ** (low + decades)
    found = ticks.logarithmic(start, end)
    assert found == sorted(set(found))
    assert 3 <= len(found) <= 7
    assert all(start * (1 - 1e-9) <= tick <= end * (1 + 1e-9) for tick in found)
    for tick in found:
        assert abs(float(f"{tick:.3g}") - tick) <= 1e-9 * tick, "three digits say it"
    assert log10(found[-1] / found[0]) >= 0.3 * decades


def test_a_label_that_has_no_room_is_left_out() -> None:
    """Nothing is drawn across something else; the first ones are those asked for."""
    frame = labels.Box(0, 0, 20, 12)
    dots = [labels.Dot(10, 6, 1, 18, 4)] * 4
    assert len([place for place in labels.places(dots, frame) if place is not None]) < 4
    crossed = tuple(labels.line((0, y), (20, y)) for y in range(0, 13, 2))
    assert labels.places(dots[:1], frame, crossed) == [None]
