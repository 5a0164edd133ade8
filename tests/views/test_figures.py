"""Static figures: the same bytes for the same figure, drawn where they are asked to be, and true to the numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.conventions import Recount
from costmodel.errors import InputError
from costmodel.profiling import Profile
from costmodel.training import TrainingStep
from costmodel.views import figures

PROFILE: dict[str, Callable[..., Figure]] = {
    "layers": Profile.plot_layers,
    "kinds": Profile.plot_kinds,
    "receptive field": Profile.plot_receptive_field,
    "memory": Profile.plot_memory,
    "roofline": lambda p, ax=None: p.plot_roofline("a100", ax=ax),
}
COMPARISON: dict[str, Callable[..., Figure]] = {
    "scatter": Comparison.plot_scatter,
    "pareto": Comparison.plot_pareto,
    "ratios": Comparison.plot_ratios,
}


def small() -> Profile:
    """A convolution of 3 to 8 channels, an activation, and a pool."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return costmodel.profile(model, (1, 3, 8, 8))


def two() -> Comparison:
    """Two layers, the second with half the figures of the first."""
    return compare({"wide $x_1$": nn.Linear(8, 8), "narrow": nn.Linear(8, 4)}, (1, 8), baseline="wide $x_1$")


@pytest.mark.parametrize("name", [*PROFILE, *COMPARISON])
def test_the_same_figure_has_the_same_bytes(name: str) -> None:
    """An SVG holds no date and no random id."""
    one, other = (figures.svg(PROFILE[name](small()) if name in PROFILE else COMPARISON[name](two())) for _ in range(2))
    assert one == other
    assert b"<dc:date>" not in one
    assert one.startswith(b"<?xml")
    assert not any(line.endswith(b" ") for line in one.splitlines())


@pytest.mark.parametrize("name", [*PROFILE, *COMPARISON])
def test_a_figure_is_drawn_into_the_axes_given(name: str) -> None:
    """``ax`` is drawn into, its figure is returned, and its neighbour stays empty."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    result = PROFILE[name](small(), ax=right) if name in PROFILE else COMPARISON[name](two(), ax=right)
    assert result is figure
    assert right.has_data()
    assert not left.has_data()


STEPS: dict[str, Callable[..., Figure]] = {
    "memory of a step": TrainingStep.plot_memory,
    "passes of a step": TrainingStep.plot_passes,
}
RECOUNTS: dict[str, Callable[..., Figure]] = {"waterfall": Recount.plot_waterfall}


@pytest.fixture(scope="module")
def subjects() -> dict[str, object]:
    """What each kind of figure is drawn of: with long names, and with many kinds of layer."""
    p = costmodel.profile("mobilenet_v2")
    step = costmodel.training_step("mobilenet_v1_cifar", (2, 3, 32, 32))
    several = compare({"a_network_with_a_name": p, "another_network": p, "b": small()}, baseline="b")
    return (
        dict.fromkeys(PROFILE, p)
        | dict.fromkeys(COMPARISON, several)
        | dict.fromkeys(STEPS, step)
        | dict.fromkeys(RECOUNTS, p.counted_as("thop"))
    )


@pytest.mark.parametrize("name", [*PROFILE, *COMPARISON, *STEPS, *RECOUNTS])
def test_subplots_side_by_side_meet_neither_each_other_nor_the_edge(name: str, subjects: dict[str, object]) -> None:
    """In a plain ``plt.subplots(1, 2)``, 6.4 by 4.8 inches without a layout, each keeps within its half."""
    figure = Figure()
    FigureCanvasAgg(figure)
    plot = (PROFILE | COMPARISON | STEPS | RECOUNTS)[name]
    for ax in figure.subplots(1, 2):
        plot(subjects[name], ax=ax)
    figure.canvas.draw()
    left, right = (ax.get_tightbbox() for ax in figure.axes)
    assert left is not None
    assert right is not None
    assert min(left.x0, left.y0, right.y0) >= -1
    assert right.x1 <= figure.bbox.width + 1
    assert max(left.y1, right.y1) <= figure.bbox.height + 1
    assert left.x1 <= right.x0 + 1
    assert min(ax.get_window_extent().width for ax in figure.axes) > 0.1 * figure.bbox.width / 2


def test_a_layout_of_the_caller_s_own_stays() -> None:
    """Axes that were placed by hand are where they were, and another layout engine is kept."""
    placed, tight = Figure(), Figure(layout="tight")
    placed.subplots_adjust(left=0.3)
    for figure in (placed, tight):
        engine = figure.get_layout_engine()
        small().plot_kinds(ax=figure.add_subplot())
        assert figure.get_layout_engine() is engine


def test_a_title_is_not_cut_off_in_a_column() -> None:
    """In axes of 3.3 inches a title that is longer wraps."""
    figure = Figure(figsize=(3.3, 2.8), layout="constrained")
    axes = figure.add_subplot()
    two().plot_scatter(ax=axes)
    figure.draw_without_rendering()
    box = axes._left_title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1


def axes_of(figure: Figure) -> Axes:
    """The one pair of axes of a figure."""
    (ax,) = figure.axes
    return ax


def test_bars_are_the_layers_figures() -> None:
    """64 positions of 8 filters of 27 taps are the only MACs; the activation has 512 comparisons."""
    assert [bar.get_height() for bar in axes_of(small().plot_layers()).patches] == [64 * 8 * 27]
    flops = {
        bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in axes_of(small().plot_layers("flops")).patches
    }
    assert flops[2] == 512


def test_the_memory_curve_peaks_where_the_profile_says() -> None:
    """Input (768 bytes) and convolution's output (2048) are live together, and then ReLU's output is beside them."""
    ax = axes_of(small().plot_memory())
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert dot.get_ydata()[0] == 768 + 2048 + 2048


def test_an_unknown_quantity_is_named_with_the_known_ones() -> None:
    """The error lists what can be drawn."""
    with pytest.raises(InputError, match="no quantity is called 'watts'; there are params, macs, flops"):
        small().plot_layers("watts")


def test_a_model_without_arithmetic_can_be_drawn() -> None:
    """No MACs, no parameters and no local field are no error."""
    p = costmodel.profile(nn.Sequential(nn.Flatten()), (1, 4, 4))
    for plot in PROFILE.values():
        assert figures.svg(plot(p))
    c = Comparison({"nothing": p, "still nothing": p})
    for plot in COMPARISON.values():
        assert figures.svg(plot(c))


def test_counts_of_more_than_64_bits_are_drawn(tmp_path: Path) -> None:
    """10⁶ times 10⁶ weights on 10⁹ rows are 10²¹ MACs, which no int64 holds."""
    p = costmodel.profile(nn.Linear(10**6, 10**6, bias=False, device="meta"), (10**9, 10**6))
    assert p.macs == 10**21
    (bar,) = p.plot_layers().axes[0].patches
    assert bar.get_height() == 1e21
    p.save(tmp_path / "profile.md")
    costmodel.compare({"a": p, "b": p}, baseline="a").save(tmp_path / "comparison.md")


def test_ratios_name_models_without_their_library() -> None:
    """As scatters do, so that names leave room for the bars."""
    c = compare({"timm:a": nn.Linear(8, 4), "timm:b": nn.Linear(8, 2)}, (1, 8))
    (ax,) = c.plot_ratios().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_title(loc="left").endswith("ratio to a")


@pytest.mark.parametrize("share", [0.01, 0.07, 0.5, 0.9, 30.0])
@pytest.mark.parametrize("width", [2.4, 3.0, 4.0, 8.0])
def test_ratios_meet_nothing_in_axes_of_any_width(width: float, share: float) -> None:
    """Neither do the labels of ticks meet each other, nor those of bars the names of models."""
    c = compare({"one": nn.Linear(8, 1000), "another one": nn.Linear(8, int(1000 * share))}, (1, 8), baseline="one")
    figure = Figure(figsize=(width, 1.6), layout="constrained")
    ax = figure.subplots()
    c.plot_ratios(ax=ax)
    FigureCanvasAgg(figure).draw()
    low, high = ax.get_xlim()
    ticks = [text for at, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True) if low <= at <= high]
    boxes = [text.get_window_extent() for text in ticks]
    assert len(boxes) >= 2
    assert all(one.x1 < two.x0 for one, two in pairwise(boxes))
    names = max(text.get_window_extent().x1 for text in ax.get_yticklabels())
    assert all(text.get_window_extent().x0 > names for text in ax.texts)
