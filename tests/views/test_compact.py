"""What a notebook shows: every result that the public names lead to, however large, in little height, and as text."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from torch import nn

import costmodel
from costmodel import formulas, views
from costmodel.budgets.bounds import bounds_of
from costmodel.budgets.subject import Settings, examine
from costmodel.budgets.verdict import verdict
from costmodel.conventions.reconciliation import reconcile
from costmodel.cross_check import QuantityCheck
from costmodel.difference import Difference, Differences
from costmodel.profiling.totals import Totals
from costmodel.rendering import Rendered, Report
from costmodel.shown import Shown
from costmodel.views import compact
from tests.decoding.networks import Tiny
from tests.views.test_browser import Browser, browser  # noqa: F401 - a fixture

MANY = 60
HOSTILE = "<img src=x onerror=alert(1)>"
LINES = 32
"""The most lines that a result takes: some 600 pixels."""
PIXELS = 640


@functools.cache
def deep(width: int = 4) -> nn.Module:
    """A network of many layers, one of which has a name that is markup."""
    model = nn.Sequential()
    for i in range(MANY):
        model.add_module(f"block_{i}" if i else HOSTILE.replace(".", "·"), nn.Linear(4 if i == 0 else width, width))
        model.add_module(f"act_{i}", nn.GELU())
    return model


@functools.cache
def profile(width: int = 4) -> costmodel.Profile:
    """What it costs."""
    return costmodel.profile(deep(width), (1, 4))


@functools.cache
def step() -> costmodel.TrainingStep:
    """What training it costs."""
    return costmodel.training_step(deep(), (2, 4))


@functools.cache
def crosscheck() -> costmodel.CrossCheck:
    """A cross-check in which much differs."""
    wrong = tuple(QuantityCheck(f"{HOSTILE} {i}", "Linear", "macs", 16, 17, agree=False) for i in range(MANY))
    return replace(profile().crosscheck(), comparisons=wrong)


def bounds() -> dict[str, Any]:
    """More bounds than are shown, none of which is kept."""
    return {"macs": [f"<= {n}" for n in range(1, 30)]}


PER_MODEL = {"Comparison", "Differences", "StepComparison"}
"""Results that are dicts of others, and named by them."""


def one_conv() -> dict[str, Any]:
    """The arguments of a convolution."""
    return {"c_in": 64, "c_out": 128, "kernel": 3, "size": (56, 56), "padding": 1}


SAMPLES: dict[str, Callable[[], Any]] = {
    "Profile": profile,
    "TrainingStep": step,
    "Forward": lambda: step().forward,
    "Comparison": lambda: costmodel.compare(
        {f"{HOSTILE} {i}": profile(4 + i % 3) for i in range(40)} | {"b": costmodel.profile(nn.Linear(3, 2), (7, 3))}
    ),
    "StepComparison": lambda: costmodel.compare({f"{HOSTILE} {i}": step() for i in range(40)}, baseline=f"{HOSTILE} 0"),
    "CrossCheck": crosscheck,
    "Coverage": lambda: replace(
        profile().coverage, unknown={f"lib::{HOSTILE}{i}": ("a" * 200,) * 50 for i in range(40)}
    ),
    "Difference": lambda: Difference(profile(4), profile(5)),
    "Differences": lambda: Differences(
        {f"{HOSTILE} {i}": profile(4) for i in range(50)}, {f"{HOSTILE} {i}": profile(5) for i in range(9, 99)}
    ),
    "Generation": lambda: costmodel.generation(Tiny(), prompt=5, new=4),
    "GenerationRoofline": lambda: costmodel.generation(Tiny(), prompt=5, new=4).roofline("a100"),
    "Guidelines": lambda: profile().guidelines(),
    "Measurement": lambda: costmodel.measure(deep(), (1, 4), peaks="a100", repeats=2),
    "PeakMemory": lambda: replace(profile().peak, live=profile().peak.live * MANY),
    "Provenance": lambda: costmodel.published(profile(), macs=[f"{n}k" for n in range(1, 20)]),
    "ReceptiveField": lambda: replace(
        costmodel.profile("resnet18").receptive_field(), notes=(HOSTILE,) + ("a note of some length " * 9,) * 30
    ),
    "Reconciliation": lambda: reconcile(profile(), costmodel.TOOLS.values()),
    "Recount": lambda: replace(
        profile().counted_as("thop"),
        steps=tuple(replace(s, op=f"{HOSTILE} {i}") for i, s in enumerate(profile().counted_as("thop").steps)),
    ),
    "Roofline": lambda: profile().roofline("a100"),
    "Scaling": lambda: costmodel.scaling(nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2)), ("B", 3, "H", "W")),
    "Sweep": lambda: costmodel.sweep(
        "mobilenet_v2", {"width": [0.25 + i / 40 for i in range(30)] + [-1.0], "resolution": [64 + i for i in range(9)]}
    ),
    "FormulaComparison": lambda: costmodel.formulas.compare(
        {f"{HOSTILE} {i}": ("conv", one_conv()) for i in range(30)}
    ),
    "LayerCost": lambda: formulas.linear(in_features=np.arange(1, 10**5), out_features=sympy.Integer(7)),
    "BackwardCost": lambda: formulas.conv(**one_conv()).backward(),
    "BlockCost": lambda: replace(
        formulas.depthwise_separable(c_in=8, c_out=8, kernel=3, size=(8, 8)),
        layers=tuple((f"{HOSTILE} {i}", formulas.linear(in_features=3, out_features=4)) for i in range(MANY)),
    ),
    "ClosedForm": lambda: costmodel.models.closed_form("mobilenet_v2", width=np.linspace(0.5, 1, 99), training=True),
    "Verdict": lambda: examine(
        "resnet18", None, Settings(), lambda subject: verdict(subject, bounds_of(bounds(), Settings()))  # type: ignore[arg-type, return-value]
    ),
}  # fmt: skip
"""A large one of each type of result, by the name of its class."""

ARGUMENTS = {"Call", "Convention", "Input", "Measure", "Value"}
"""What users write, and what stands in tables of their own: a line as it is."""
PARTS = {
    "Axis", "Finding", "LayerMemory", "Lifetime", "Peak", "Piece", "QuantityCheck", "Region", "Sample", "SixND",
    "StepLayer", "TensorSpec", "Times", "Traffic", "Work",
}  # fmt: skip
"""What a result is made of: of a row, or of a few numbers, and shown as a part of it."""
BASES = {Rendered, Report, Totals}
"""What results inherit from."""
RECORDS = {"Fusion", "Graph", "Pricing"}
"""What results are computed from."""


OTHERS = {"Count", "Figure", "Path", "Saved"}
"""Names that annotations have from elsewhere: an int, matplotlib's figures, a file, several of the results."""


def classes() -> dict[str, set[type]]:
    """Every class of the library, by its name."""
    for module in pkgutil.walk_packages(costmodel.__path__, "costmodel."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: dict[str, set[type]] = {}
    for name, loaded in list(sys.modules.items()):
        if name.partition(".")[0] == "costmodel":
            for value in vars(loaded).values():
                if isinstance(value, type) and value.__module__.startswith("costmodel"):
                    found.setdefault(value.__name__, set()).add(value)
    return found


def returned(owner: type) -> Iterator[str]:
    """What the public methods and properties of a class are annotated to return."""
    for name in dir(owner):
        if not name.startswith("_"):
            member = inspect.getattr_static(owner, name)
            member = member.fget if isinstance(member, property) else getattr(member, "func", member)
            if inspect.isfunction(member):
                yield str(member.__annotations__.get("return", ""))


def reachable() -> set[str]:
    """The classes of all that the public names return, and of all that such results return, by name."""
    known = classes()

    def named(annotation: str) -> set[type]:
        words = set(re.findall(r"\w+", annotation)) - OTHERS
        return {found for word in words for found in known.get(word, ())}

    public = [getattr(costmodel, name) for name in dir(costmodel)]
    todo = {o for o in public if isinstance(o, type) and not issubclass(o, Exception)}
    for o in public:
        if inspect.isfunction(o):
            todo |= named(str(o.__annotations__.get("return", "")))
    seen: set[type] = set()
    while todo:
        found = todo.pop()
        seen.add(found)
        if issubclass(found, Shown):
            todo |= {other for text in returned(found) for other in named(text)} - seen
    return {found.__name__ for found in seen}


def subclasses(owner: type) -> Iterator[type]:
    """Every class below another."""
    for below in owner.__subclasses__():
        yield below
        yield from subclasses(below)


def test_every_type_of_result_has_a_compact_view() -> None:
    """What the public names lead to is shown, is an argument, or is part of a result; a new type is none of it."""
    assert reachable() - SAMPLES.keys() == ARGUMENTS | PARTS | RECORDS
    mine = {found for found in subclasses(Shown) if found.__module__.startswith("costmodel")} - BASES
    assert {found.__name__ for found in mine} == SAMPLES.keys()
    assert (
        {found.view for found in mine}
        == {view for view, forms in views.VIEWS.items() if "fragment" in forms}
        == views.VIEWS.keys()
    )


class Seen(HTMLParser):
    """What a reader sees of a fragment before clicking on anything."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.lines = 0
        self.words = ""
        self.cells: list[int] = []
        """Lines of each cell of the row that is open."""
        self.feed(source)
        self.close()

    @property
    def is_folded(self) -> bool:
        """Whether a click is needed."""
        return "details" in self.open and "summary" not in self.open

    def add(self, lines: int) -> None:
        """So many lines more, of the cell that is open or of the whole."""
        if self.is_folded:
            return
        if "td" in self.open:
            self.cells[-1] += lines
        else:
            self.lines += lines

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)
        if tag == "tr":
            self.cells = [0]
        elif tag in ("td", "th"):
            self.cells.append(1)
        elif tag == "summary" or (tag == "div" and not re.search(r"(?<!-)height:", dict(attrs).get("style") or "")):
            self.add(1)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "tr":
            self.add(max(self.cells))

    def handle_data(self, data: str) -> None:
        self.words += data
        self.add(max(ceil(len(data.strip()) / 110) - 1, 0) + data.strip().count("\n"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_result_is_a_small_piece_of_safe_html(name: str) -> None:
    """However large it is: few lines, few bytes, no script, no style but of the elements themselves, texts escaped."""
    shown = SAMPLES[name]()
    html = shown._repr_html_()
    seen = Seen(html)
    assert seen.open == []
    assert seen.lines <= LINES
    assert len(html) < 30_000
    allowed = {"div", "strong", "span", "table", "tr", "td", "th", "details", "summary", "code"}
    assert {tag for tag, _ in seen.tags} <= allowed
    assert {attribute for _, attributes in seen.tags for attribute in attributes} <= {"style", "title"}
    assert "\n\n" not in html


@pytest.mark.parametrize(
    "name", ["Comparison", "CrossCheck", "Difference", "PeakMemory", "Roofline", "Sweep", "BlockCost"]
)
def test_what_is_left_out_is_said(name: str) -> None:
    """Where not all rows are shown, their number is, and where they are."""
    assert re.search(r"\d+ more \w+, in \.\w+", Seen(SAMPLES[name]()._repr_html_()).words)


def test_no_row_is_named_where_all_are_shown() -> None:
    """A table of few rows ends with the last one."""
    assert "more" not in Seen(costmodel.profile(nn.Linear(3, 2), (1, 3)).roofline("a100")._repr_html_()).words


def test_a_text_stays_beside_it() -> None:
    """A shell without HTML has the text of a result, and one line for each in a list."""
    pretty = pytest.importorskip("IPython.lib.pretty")
    check, roof = profile().crosscheck(), profile().roofline("a100")
    assert pretty.pretty(check) == str(check)
    assert pretty.pretty([check, roof]) == "[<CrossCheck of Sequential>, <Roofline of Sequential>]"


@pytest.mark.parametrize(
    "name", sorted({found.__name__ for found in subclasses(Rendered)} & SAMPLES.keys() - PER_MODEL)
)
def test_one_line_stands_for_a_result(name: str) -> None:
    """``repr`` of a result has no rows in it."""
    assert len(repr(SAMPLES[name]())) < 400


@pytest.mark.browser
@pytest.mark.parametrize("width", [800, 1400])
def test_heights_in_a_browser(browser: Browser, tmp_path: Path, width: int) -> None:  # noqa: F811
    """In a real browser, as narrow as a notebook beside a sidebar, no result is taller than half a screen."""
    body = "".join(f'<section id="{name}">{make()._repr_html_()}</section>' for name, make in SAMPLES.items())
    page = tmp_path / "all.html"
    page.write_text(f'<!doctype html><html data-ready="yes"><meta charset="utf-8">{body}</html>', "utf-8")
    browser.open(page, width)
    heights = browser.run("return [...document.querySelectorAll('section')].map(e => [e.id, e.offsetHeight])")
    assert len(heights) == len(SAMPLES)
    assert [(name, height) for name, height in heights if height > PIXELS] == []
    assert browser.complaints() == []


def test_the_bounds_can_be_missed() -> None:
    """A card with as many tables as its result has layers is too tall: the test of lines sees it."""
    column = compact.Column("", ["a"] * 20, is_text=True)
    html = compact.Card("all", tables=[compact.Table([column], 20)] * 5).html()
    assert Seen(html).lines > LINES
