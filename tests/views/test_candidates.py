"""Sweeps in every format: what texts list, what data hold, which points a chart draws, the page in a browser."""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import costmodel
from costmodel.views import candidates as view
from tests.views.test_browser import DESKTOP, PHONE, Browser, browser  # noqa: F401 - browser is a fixture
from tests.views.test_html import HOSTILE, Page


def pareto(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other undercuts in both coordinates, from left to right: the definition, along one sort."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


@pytest.fixture(scope="module")
def large() -> costmodel.Sweep:
    """100,000 variants of MobileNetV2."""
    widths = [round(0.3 + 0.002 * i, 3) for i in range(500)]
    return costmodel.sweep("mobilenet_v2", {"width": widths, "resolution": range(96, 296)})


@pytest.fixture(scope="module")
def small() -> costmodel.Sweep:
    """Some convolutions, two of which cannot be made."""

    def make(width: int, act: str) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 3), getattr(nn, act)())

    return costmodel.sweep(make, {"width": [8, 16], "act": ["ReLU", "Nothing", "GELU"]}, inputs=(1, 3, 16, 16))


@pytest.fixture(scope="module")
def page(large: costmodel.Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 100,000 candidates, as a file."""
    return large.save(tmp_path_factory.mktemp("sweep") / "sweep.html")


def test_a_few_candidates_are_all_listed(small: costmodel.Sweep) -> None:
    """Each row with its arguments and rounded figures, and the error with how many have it and one of them."""
    lines = [line.split() for line in str(small).splitlines()]
    assert next(line for line in lines if line[:2] == ["8", "ReLU"])[:4] == ["8", "ReLU", "224", "42.3"]
    assert sum(line[:1] in (["8"], ["16"]) for line in lines) == 4
    assert "2 candidates failed, such as width=8, act=Nothing:" in str(small)
    assert "AttributeError: module 'torch.nn' has no attribute 'Nothing'" in str(small)


def test_of_many_the_front_is_listed() -> None:
    """A front is listed, evenly if it is long; instead of a very short one, candidates from the whole grid."""

    def pointwise(c: int) -> nn.Module:
        return nn.Conv2d(c, 1, 1)

    falling = [{"c": i, "s": 10**6 // i**2} for i in range(1, 61)]  # more channels, fewer multiplications
    long = costmodel.sweep(pointwise, falling, inputs=(1, "c", "s", 1))
    assert "On the Pareto front of params and MACs: 60 candidates, of which 20 are below, evenly chosen." in str(long)
    worse = [{**row, "s": row["s"] + 10**6} for row in falling[6:]]
    short = costmodel.sweep(pointwise, falling[:6] + worse, inputs=(1, "c", "s", 1))
    front = short.pareto()
    assert f"On the Pareto front of params and MACs: {len(front)} candidates." in str(short)
    assert 4 <= len(front) < 20
    one = costmodel.sweep(pointwise, {"c": [3], "s": range(1, 61)}, inputs=(1, "c", "s", 1))
    assert "On the Pareto front of params and MACs: 1 candidate. Below are 20 of 60, evenly chosen." in str(one)


def test_what_a_candidate_does_not_have_is_left_out() -> None:
    """An argument that a candidate lacks is empty in tables, and not named in messages, whatever its type."""

    def make(name: str = "", width: float = 1.0) -> nn.Module:
        return nn.Linear(3, 4 if name else -1)

    given = [{"name": "a"}, {"width": 0.5}, {"name": "b", "width": 2.0}]
    shown = str(costmodel.sweep(make, given, inputs=(1, 3)))
    assert "nan" not in shown.lower()
    assert "None" not in shown
    assert "width=0.5 failed:" in shown


def test_errors_that_differ_in_numbers_are_one() -> None:
    """Sizes in messages differ from candidate to candidate; the kind of error is what a reader looks for."""
    swept = costmodel.sweep("alexnet", {"resolution": range(40, 70), "batch": [1, 0]})
    errors = view.failed(swept)
    assert sum(count for _, count, _ in errors) == len(swept.failures)
    assert len(errors) < 5


def test_data_formats_have_every_candidate(small: costmodel.Sweep) -> None:
    """CSV and JSON hold each exact figure, and the failures."""
    rows = list(csv.DictReader(io.StringIO(small.to_csv())))
    assert [int(row["macs"]) for row in rows if not row["error"]] == small.table["macs"].tolist()
    assert [row["act"] for row in rows if row["error"]] == ["Nothing", "Nothing"]
    assert all(row["macs"] == "" for row in rows if row["error"])
    document = json.loads(small.to_json())
    assert document["format"] == "costmodel-sweep"
    at = document["columns"].index("macs")
    assert [row[at] for row in document["rows"]] == small.table["macs"].tolist()
    assert document["measures"]["peak_memory"]["unit"] == "bytes"
    assert [row["act"] for row in document["failures"]] == ["Nothing", "Nothing"]


def test_integers_of_any_size_are_written_exactly() -> None:
    """Figures that need more than 64 bits, too."""
    swept = costmodel.sweep("vgg11", {"batch": [1, 2**70]})
    macs = swept.table["macs"].tolist()
    assert f",{macs[1]}," in swept.to_csv()
    assert macs[1] in json.loads(swept.to_json())["rows"][1]
    assert swept.to_html()
    assert swept.plot()


def test_markdown_and_latex_have_tables(small: costmodel.Sweep, tmp_path: Path) -> None:
    """A row per candidate, the figure beside the file, and what failed."""
    small.save(tmp_path / "s.md")
    text = (tmp_path / "s.md").read_text("utf-8")
    assert ["8", "GELU", "224", "42.3 k"] in [re.split(r" *\| *", line)[1:5] for line in text.splitlines()]
    assert "## What failed" in text
    assert (tmp_path / "s_figures" / "params-macs.svg").stat().st_size > 1000
    assert r"8 & ReLU & 224 & 42.3 k" in small.to_latex()


def test_without_a_candidate_all_formats_work() -> None:
    """A sweep in which all failed says so everywhere."""
    swept = costmodel.sweep("mobilenet_v2", {"width": [-1.0, 0.0]})
    for text in (str(swept), swept.to_markdown(), swept.to_html(), swept.to_csv(), swept.to_json()):
        assert "cannot round" in text
    assert swept.pareto().empty
    assert "2 candidates failed" in swept._repr_html_()


def test_a_chart_of_many_keeps_fronts_and_extremes(large: costmodel.Sweep) -> None:
    """Of 100,000 points some 2,000; each front of two measures, each least and greatest is among them."""
    data = Page(large.to_html()).data["sweep"]
    drawn = {name: np.array(values) for name, values in data["figures"].items()}
    count = len(drawn["macs"])
    assert data["total"] == 100_000
    assert 1000 < count < 3000
    for name, values in drawn.items():
        assert values.min() == large.table[name].min()
        assert values.max() == large.table[name].max()
    for x, y in combinations(drawn, 2):
        everything = pareto(list(zip(large.table[x].tolist(), large.table[y].tolist(), strict=True)))
        assert pareto(list(zip(drawn[x].tolist(), drawn[y].tolist(), strict=True))) == everything


def test_thinning_leaves_no_hole(large: costmodel.Sweep) -> None:
    """Every candidate has one that is drawn within a hundredth of the chart's width and height."""
    kept = view.chosen(large, "params", "macs", [])
    places = np.stack([view._place(large.table[name].to_numpy()) for name in ("params", "macs")], axis=1)
    for point in places[:: len(places) // 500]:
        assert np.abs(places[kept] - point).max(axis=1).min() < 0.025


def test_a_few_points_are_all_drawn(small: costmodel.Sweep) -> None:
    """Nothing is left out of a small sweep."""
    data = Page(small.to_html()).data["sweep"]
    assert data["figures"]["macs"] == small.table["macs"].tolist()


def test_a_figure_says_what_it_leaves_out(large: costmodel.Sweep, small: costmodel.Sweep) -> None:
    """In its title; any two measures, and an error for what is none."""
    assert "of 100,000 drawn" in large.plot().axes[0].get_title("left")
    assert "drawn" not in small.plot("macs", "peak_memory").axes[0].get_title("left")
    with pytest.raises(costmodel.InputError, match="the sweep has no measure 'watts'"):
        small.plot("watts")


def test_hostile_arguments_are_text() -> None:
    """Markup and control characters in a value appear as text, in page and notebook, and end no script."""
    swept = costmodel.sweep(lambda name: nn.Linear(2, 2), {"name": [HOSTILE, "\x1b[31mred"]}, inputs=(1, 2))
    made = Page(swept.to_html())
    assert not any(tag == "img" for tag, _ in made.tags)
    assert made.data["sweep"]["arguments"]["name"][0] == HOSTILE
    assert "<img" not in swept._repr_html_()
    assert "\x1b" not in str(swept)


def test_the_page_is_the_same_twice(small: costmodel.Sweep) -> None:
    """The same sweep makes the same bytes, and every id is there once."""
    assert small.to_html() == small.to_html()
    ids = Page(small.to_html()).ids
    assert len(ids) == len(set(ids))


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_complains_of_nothing(browser: Browser, page: Path, width: int, scheme: str) -> None:  # noqa: F811
    """At a desk and on a phone, light and dark: nothing is asked for, nothing overflows, and the chart is drawn."""
    browser.requests(), browser.complaints()
    browser.open(page, width, scheme)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelectorAll('#candidates .points path').length") > 1000
    assert any("of 100,000 candidates are drawn" in text for text in browser.texts(".thinned"))


@pytest.mark.browser
def test_other_measures_are_drawn_within_a_second(browser: Browser, page: Path, large: costmodel.Sweep) -> None:  # noqa: F811
    """A page of 100,000 candidates answers a choice at once, and draws the front of the measures chosen."""
    browser.open(page)
    seconds: Any = browser.run(
        """const start = performance.now(), select = document.getElementById("up");
        select.value = "memory_access";
        select.dispatchEvent(new Event("change", { bubbles: true }));
        return (performance.now() - start) / 1000"""
    )
    assert seconds < 1
    drawn = browser.run("return [...document.getElementById('candidates').data[1].y]")
    assert drawn == [y for _, y in pareto(list(zip(large.table["params"], large.table["memory_access"], strict=True)))]
    browser.run("document.querySelector('#front-table thead button').click()")
    assert len(browser.texts("#front-table tbody tr")) == len(large.pareto())
