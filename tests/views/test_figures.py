"""Static figures: the same bytes for the same figure, drawn where they are asked to be, and true to the numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.errors import InputError
from costmodel.profiling import Profile
from costmodel.views import figures

PROFILE: dict[str, Callable[..., Figure]] = {
    "layers": Profile.plot_layers,
    "kinds": Profile.plot_kinds,
    "receptive field": Profile.plot_receptive_field,
    "memory": Profile.plot_memory,
    "roofline": lambda p, ax=None: p.plot_roofline("a100", ax=ax),
}
COMPARISON: dict[str, Callable[..., Figure]] = {"scatter": Comparison.plot_scatter, "ratios": Comparison.plot_ratios}


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


def test_the_front_leaves_out_what_another_undercuts() -> None:
    """A point with more of both is not on the front; one with less of either is."""
    assert figures.pareto([(2, 2), (1, 3), (3, 1), (3, 3), (1, 4)]) == [(1, 3), (2, 2), (3, 1)]


def test_a_model_without_arithmetic_can_be_drawn() -> None:
    """No MACs, no parameters and no local field are no error."""
    p = costmodel.profile(nn.Sequential(nn.Flatten()), (1, 4, 4))
    for plot in PROFILE.values():
        assert figures.svg(plot(p))
    c = Comparison({"nothing": p, "still nothing": p})
    for plot in COMPARISON.values():
        assert figures.svg(plot(c))
