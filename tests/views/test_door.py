"""The door to the views: which formats each result has, and that each is what the result's own methods return."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from torch import nn

import costmodel
from costmodel import views
from costmodel.conventions.reconciliation import reconcile
from costmodel.difference import Difference
from costmodel.errors import ConvertError
from costmodel.rendering import Rendered, Report
from tests.decoding.networks import Tiny


@pytest.fixture(scope="module")
def results() -> dict[str, Rendered]:
    """One result of each kind, by the name of its view."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    p = costmodel.profile(model, (1, 3, 16, 16))
    step = costmodel.training_step(nn.Linear(3, 2), (4, 3), optimizer="sgd")
    generated = costmodel.generation(Tiny(), prompt=5, new=4)
    made = (
        p,
        generated,
        generated.roofline("a100"),
        step,
        costmodel.compare({"a": step, "b": step}),
        costmodel.compare({"a": p, "b": p}),
        p.crosscheck(),
        Difference(p, p),
        p.guidelines(),
        p.roofline("a100"),
        p.counted_as("fvcore"),
        reconcile(p.name, p.macs, p.params, p.counted_as, costmodel.TOOLS.values()),
        costmodel.scaling(nn.Linear(3, 2), ("B", 3)),
        costmodel.sweep("mobilenet_v2", {"width": [0.5, 1.0, -1.0]}),
        costmodel.formulas.compare("conv", "depthwise_conv", c_in=4, channels=4, c_out=4, kernel=3, size=(8, 8)),
    )
    return {result.view: result for result in made}


@pytest.mark.parametrize("view", views.VIEWS)
def test_every_row_is_of_a_result_and_works(view: str, results: dict[str, Rendered]) -> None:
    """Each kind of result in the table is rendered in each of its formats, as text or as figures."""
    result = results[view]
    for form, renderer in views.VIEWS[view].items():
        made = renderer()(result)
        assert made if form in ("figures", "png", "svg") else isinstance(made, str), form


def test_a_result_has_the_methods_of_its_formats_and_no_other(results: dict[str, Rendered]) -> None:
    """Profiles, steps, generations and comparisons, of formulas too, are reports; the others are Markdown and text."""
    methods = {f"to_{form}" for form in ("markdown", "html", "json", "csv", "latex")} | {"save", "_repr_html_"}
    offered = {view: {name for name in methods if hasattr(result, name)} for view, result in results.items()}
    reports = {
        "profile", "comparison", "formulas", "generation", "scaling", "sweep", "training", "step comparison",
    }  # fmt: skip
    assert all(offered.pop(view) == methods for view in reports)
    assert all(names == {"to_markdown"} for names in offered.values())
    assert {view for view, result in results.items() if isinstance(result, Report)} == reports


def test_a_result_is_shown_by_the_function_of_its_row(results: dict[str, Rendered], tmp_path: Path) -> None:
    """A method, str() and a file hold what the row's function returns."""
    p = results["profile"]
    assert isinstance(p, Report)
    assert p.to_markdown() == views.render(p, "markdown")
    assert str(p) == views.render(p, "text")
    assert p.save(tmp_path / "p.TXT").read_text("utf-8") == f"{p}\n"
    assert str(results["guidelines"]) == results["guidelines"].to_markdown()


def test_a_result_is_saved_in_its_own_formats_alone(results: dict[str, Rendered], tmp_path: Path) -> None:
    """Another suffix is refused, with those that this result has."""
    with pytest.raises(ConvertError, match=r"nothing is written as \.html; there are \.md \.markdown \.txt$"):
        views.save(results["crosscheck"], tmp_path / "c.html")
    with pytest.raises(ConvertError, match=r"a file without suffix; there are \.html \.htm \.md "):
        views.save(results["profile"], tmp_path / "p")


def test_a_row_is_all_that_a_new_result_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A result of a kind that the library does not know has every format that its row names."""

    class Sum(Rendered):
        view = "sum"

    monkeypatch.setitem(views.VIEWS, "sum", {"text": lambda: lambda _: "2", "markdown": lambda: lambda _: "# 2"})
    assert (str(Sum()), Sum().to_markdown()) == ("2", "# 2")
    assert views.save(Sum(), tmp_path / "s.md").read_text("utf-8") == "# 2\n"


def test_a_result_that_was_looked_at_is_pickled(results: dict[str, Rendered]) -> None:
    """Whatever a profile or a step has computed for its views, it pickles and reads back equal."""
    for view in ("profile", "comparison", "training", "step comparison"):
        again = pickle.loads(pickle.dumps(results[view]))
        assert str(again) == str(results[view])
