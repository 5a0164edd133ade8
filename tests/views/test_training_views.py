"""A training step as text, Markdown, tables and figures: every figure is the step's, and nothing is cramped."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from torch import nn

import costmodel
from costmodel.training import TrainingStep
from costmodel.views.training import figures, text, words

PARAMS = 8 * 3 * 9 + 8 + 512 * 10 + 10
FORWARD = {"convolution": 4 * 64 * 8 * 27, "linear": 4 * 512 * 10}
BACKWARD = {"convolution": FORWARD["convolution"], "linear": 2 * FORWARD["linear"]}
"""Of the convolution the gradient of its weight alone: nobody asks for that of the network's input."""


def small() -> nn.Module:
    """A convolution, a ReLU and a classifier, whose costs are worked out above."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


@pytest.fixture(scope="module")
def step() -> TrainingStep:
    """A step of it with adamw on 4 samples."""
    return costmodel.training_step(small(), (4, 3, 8, 8), optimizer="adamw")


@pytest.fixture(scope="module")
def deep() -> TrainingStep:
    """A step of a network with long names and many layers."""
    return costmodel.training_step("mobilenet_v2", (8, 3, 224, 224), optimizer="momentum")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(deep: TrainingStep, width: int) -> None:
    """The width is respected; where columns have no room, they are named."""
    shown = text.step(deep, width)
    assert max(map(len, shown.split("\n"))) <= width
    assert ("columns left out" in shown) == (width < 120)


def test_a_text_fits_eighty_columns_by_itself(deep: TrainingStep) -> None:
    """What print() writes without a terminal is as wide as a terminal usually is."""
    assert max(map(len, str(deep).split("\n"))) <= 80


def test_the_text_says_what_was_worked_out_by_hand(step: TrainingStep) -> None:
    """MACs of the phases, the ratio of the passes, the bytes of parameters and the optimizer."""
    shown = str(step)
    forward, backward = sum(FORWARD.values()), sum(BACKWARD.values())
    assert re.search(rf"^forward +{forward / 1e3:.1f} k ", shown, re.MULTILINE)
    assert re.search(rf"^backward +{backward / 1e3:.1f} k ", shown, re.MULTILINE)
    assert f"the backward pass has {backward / forward:.3f} times the forward's MACs" in shown
    assert re.search(rf"^parameters +{4 * PARAMS / 1e3:.1f} kB ", shown, re.MULTILINE)
    assert "on 4 samples" in shown
    assert "with adamw" in shown


def test_categories_are_the_whole_peak(step: TrainingStep, deep: TrainingStep) -> None:
    """What is printed for each category adds up to the peak, and each has its row in text and Markdown."""
    for s in (step, deep):
        assert sum(n for _, n in words.memory(s)) == s.peak_memory
        markdown = s.to_markdown()
        for category, n in words.memory(s):
            assert re.search(rf"^{category} +{re.escape(words.amount(s, n))} ", str(s), re.MULTILINE), category
            assert f" {n:,} |" in markdown


def test_layers_that_keep_most_come_first(deep: TrainingStep) -> None:
    """They are ranked by the bytes kept, and the rest is counted."""
    kept = deep.layers.sort_values("saved_bytes", ascending=False, kind="stable")
    shown = words.keepers(deep, 5)
    assert [x.name for x in shown] == kept["name"].tolist()[:5]
    rest = int((kept["saved_bytes"] > 0).sum()) - 3
    assert f"{rest} more layers keep less each" in text.plain(text.parts(deep, top=3), 80)


def test_a_kind_is_the_sum_of_its_layers(deep: TrainingStep) -> None:
    """Forward and backward MACs by kind add up to those of all layers."""
    kinds = words.by_kind(deep)
    for at, column in ((1, "forward_macs"), (2, "backward_macs"), (3, "saved_bytes")):
        assert sum(row[at] for row in kinds) == deep.layers[column].sum()


def test_csv_is_the_table_of_layers(step: TrainingStep) -> None:
    """Every column, exact."""
    rows = list(csv.DictReader(io.StringIO(step.to_csv())))
    assert list(rows[0]) == list(step.layers.columns)
    convolution = next(r for r in rows if r["kind"] == "standard conv")
    assert int(convolution["forward_macs"]) == FORWARD["convolution"]
    assert int(convolution["backward_macs"]) == BACKWARD["convolution"]
    (linear,) = (r for r in rows if r["kind"] == "linear")
    assert (int(linear["forward_macs"]), int(linear["backward_macs"])) == (FORWARD["linear"], BACKWARD["linear"])


def test_latex_has_a_row_per_layer_and_the_whole(step: TrainingStep) -> None:
    """The last row is the whole step's."""
    lines = step.to_latex().splitlines()
    assert len([line for line in lines if line.endswith(r"\\")]) == 1 + len(step.layers) + 1
    assert f"{sum(BACKWARD.values()) / 1e3:.1f} k" in lines[-3]


def test_names_of_a_model_are_no_markup() -> None:
    """A module's name with special characters is printed, not executed."""
    model = nn.Sequential()
    model.add_module("a|b_&<img>", nn.Linear(2, 2))
    s = costmodel.training_step(model, (1, 2), optimizer="sgd")
    assert r"a\|b" in s.to_markdown()
    assert "<img>" not in s.to_markdown()
    assert "<img>" not in s.to_html()
    assert r"a\textbar{}b\_\&" in s.to_latex()


def test_a_step_without_an_update_says_so() -> None:
    """With no optimizer there is no update, and no word of a first step."""
    shown = str(costmodel.training_step(small(), (4, 3, 8, 8), optimizer=None))
    assert "without an update" in shown
    assert "very first step" not in shown
    assert not re.search(r"^update ", shown, re.MULTILINE)


def test_the_stack_of_the_figure_is_the_curve(step: TrainingStep) -> None:
    """The areas of all categories lie on each other up to the step's total, whose top is the peak."""
    figure = figures.memory(step)
    (ax,) = figure.axes
    tops = [max(y for _, y in area.get_paths()[0].vertices) for area in ax.collections]
    assert max(tops) == pytest.approx(step.peak_memory)
    assert max(step.curve["total"]) == step.peak_memory
    assert set(figures.of_step(step)) == {"memory", "passes"}


def test_the_figure_is_drawn_into_given_axes(step: TrainingStep) -> None:
    """plot_memory takes an Axes, as the other plots do."""
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert step.plot_memory(ax) is ax.get_figure()
    assert ax.get_legend() is not None


def test_a_name_is_that_of_the_report(step: TrainingStep) -> None:
    """A step may be renamed, as a profile."""
    assert str(replace(step, name="my net")).startswith("my net  one training step")
