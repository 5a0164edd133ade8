"""The door to the views: which formats each result has, and that each is what the result's own methods return."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import costmodel
from costmodel import views
from costmodel.errors import ConvertError
from costmodel.rendering import Rendered, Report
from costmodel.shown import Shown
from tests.results import one_of_each


@pytest.fixture(scope="module")
def results() -> dict[str, Shown]:
    """One result of each kind, by the name of its view."""
    return one_of_each()


@pytest.mark.parametrize("view", views.VIEWS)
def test_every_row_is_of_a_result_and_works(view: str, results: dict[str, Shown]) -> None:
    """Each kind of result in the table is rendered in each of its formats, as text or as figures."""
    result = results[view]
    for form, renderer in views.VIEWS[view].items():
        made = renderer()(result)
        assert made if form in ("figures", "png", "svg") else isinstance(made, str), form


def test_a_result_has_the_methods_of_its_formats_and_no_other(results: dict[str, Shown]) -> None:
    """Notebooks show all; profiles, steps, times, comparisons, counts are reports; others with a text are Markdown."""
    methods = {f"to_{form}" for form in ("markdown", "html", "json", "csv", "latex")} | {"save"}
    offered = {view: {name for name in methods if hasattr(result, name)} for view, result in results.items()}
    assert all(hasattr(result, "_repr_html_") for result in results.values())
    reports = {
        "profile", "comparison", "formulas", "generation", "measurement", "provenance", "scaling", "sweep", "training",
        "step comparison", "recount", "reconciliation",
    }  # fmt: skip
    assert all(offered.pop(view) == methods for view in reports)
    assert all(names == {"to_markdown"} & {f"to_{f}" for f in views.VIEWS[view]} for view, names in offered.items())
    assert {view for view, result in results.items() if isinstance(result, Report)} == reports


def test_every_page_has_one_header(results: dict[str, Shown]) -> None:
    """Each can be switched between light and dark, by a button and the script behind it, each once."""
    pages = {view: result.to_html() for view, result in results.items() if isinstance(result, Report)}
    assert len(pages) == 12
    for view, page in pages.items():
        assert page.count('<button type="button" id="theme"') == 1, view
        assert page.count('getElementById("theme").addEventListener') == 1, view


def test_a_result_is_shown_by_the_function_of_its_row(results: dict[str, Shown], tmp_path: Path) -> None:
    """A method, str() and a file hold what the row's function returns."""
    p = results["profile"]
    assert isinstance(p, Report)
    assert p.to_markdown() == views.render(p, "markdown")
    assert str(p) == views.render(p, "text")
    assert p.save(tmp_path / "p.TXT").read_text("utf-8") == f"{p}\n"
    assert str(results["guidelines"]) == views.render(results["guidelines"], "text")


def test_a_text_is_no_markdown(results: dict[str, Shown]) -> None:
    """What print() writes is a table for people: none of Markdown's pipes, rulers and fences, and no line over 120.

    A difference is for a pull request, and is Markdown.
    """
    for kind, result in results.items():
        if "text" in views.VIEWS[kind] and not kind.startswith("difference"):
            lines = str(result).splitlines()
            assert not [line for line in lines if line.startswith(("|", "#", "```")) or "|--" in line], kind
            assert max(map(len, lines)) <= 120, kind


def test_a_result_is_saved_in_its_own_formats_alone(results: dict[str, Shown], tmp_path: Path) -> None:
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


def test_results_are_equal_by_what_they_say() -> None:
    """Of the same model and inputs, hashes too; one parameter more or less, or another tool, makes others."""
    one, same, other = (costmodel.profile(nn.Linear(3, n), (4, 3)) for n in (2, 2, 1))
    assert one == same != other
    assert len({one, same, other}) == 2
    found = costmodel.profile("mobilenet_v1_cifar")
    assert found.counted_as("fvcore") == found.counted_as("fvcore") != found.counted_as("thop")
    assert costmodel.published(found, macs="1M") != costmodel.published(found, macs="2M")


def test_what_is_read_back_is_equal(results: dict[str, Shown], tmp_path: Path) -> None:
    """Profiles, steps and measurements; of any other result the error says what is read."""
    for view, result in results.items():
        if not isinstance(result, Report) or view == "generation":
            continue
        file = result.save(tmp_path / f"{view}.json")
        if view in ("profile", "training", "measurement"):
            assert costmodel.read_json(file) == result
        else:
            with pytest.raises(ConvertError, match="the JSON of other results is for other programs"):
                costmodel.read_json(file)
