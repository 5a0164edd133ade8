"""The page of a training step: structure, escaping, determinism; and in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from torch import nn

import costmodel
from costmodel.training import TrainingStep
from costmodel.views import units
from tests.views.test_browser import DESKTOP, PHONE, Browser, browser  # noqa: F401 - browser is a fixture
from tests.views.test_html import HOSTILE, Page


@pytest.fixture(scope="module")
def step() -> TrainingStep:
    """A step of ResNet-18 on 2 samples."""
    return costmodel.training_step("resnet18", (2, 3, 64, 64), optimizer="adamw")


@pytest.fixture(scope="module")
def page(step: TrainingStep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, as a file."""
    return step.save(tmp_path_factory.mktemp("training") / "step.html")


def test_the_page_has_each_figure(step: TrainingStep) -> None:
    """Totals with every digit, each category at the peak, each layer; every id once."""
    made = Page(step.to_html())
    for count in (step.macs, step.flops, step.params, step.saved_bytes, step.peak_memory):
        assert f"{count:,}" in made.words
    for category in step.memory.loc[step.memory["bytes"] > 0, "category"]:
        assert category in made.words
    assert all(name in made.words for name in step.layers["name"])
    assert len(made.ids) == len(set(made.ids))


def test_the_data_of_the_page_is_the_step_s(step: TrainingStep) -> None:
    """The stacked curve adds up to the total of each operation, and what is live at the peak to the peak."""
    data = Page(step.to_html()).data["step"]
    stacked = [sum(column) for column in zip(*data["curve"]["bytes"].values(), strict=True)]
    assert stacked == data["curve"]["total"] == step.curve["total"].tolist()
    live, at = data["live"], data["peak"]
    here = [n for n, a, b in zip(live["bytes"], live["from"], live["to"], strict=True) if a <= at <= b]
    assert sum(here) <= step.peak_memory
    assert sum(here) > 0.9 * step.peak_memory


def test_the_page_is_the_same_twice(step: TrainingStep) -> None:
    """The same step makes the same bytes."""
    assert step.to_html() == step.to_html()


def test_a_hostile_name_is_text() -> None:
    """Markup in a module's name appears as text, in page and notebook, and ends no script."""
    model = nn.Sequential()
    model.add_module(HOSTILE.replace(".", "·"), nn.Linear(2, 2))
    hostile = costmodel.training_step(model, (1, 2), optimizer="sgd")
    made = Page(hostile.to_html())
    assert not any(tag == "img" for tag, _ in made.tags)
    assert json.loads(made.scripts[1])
    assert "<img" not in hostile._repr_html_()


def test_the_fragment_has_the_totals(step: TrainingStep) -> None:
    """A notebook shows peak, saved activations and the check, without a script."""
    shown = step._repr_html_()
    assert f"{step.peak_memory:,} bytes" in shown
    assert "Saved activations" in shown
    assert "<script" not in shown


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_complains_of_nothing(browser: Browser, page: Path, width: int, scheme: str) -> None:  # noqa: F811
    """At a desk and on a phone, light and dark: nothing is asked for, nothing overflows, all charts are drawn."""
    browser.requests(), browser.complaints()
    browser.open(page, width, scheme)
    assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    for chart in ("step-memory", "keepers", "by-kind"):
        assert browser.run(f"return document.querySelectorAll('#{chart} path').length") > 0, chart


@pytest.mark.browser
def test_pointing_at_an_operation_tells_what_is_live(browser: Browser, page: Path, step: TrainingStep) -> None:  # noqa: F811
    """Without a touch it is the peak's; pointing at an operation names it and its bytes; a click keeps it."""
    browser.open(page)
    assert browser.texts("#live-title") == ["Live at the peak"]
    assert re.search(r"\d [kM]B$", browser.texts("#live li")[0])
    chart = browser.find("#step-memory")
    ActionChains(browser.driver).move_to_element_with_offset(chart, -300, 60).perform()
    browser.until("return document.getElementById('live-title').textContent.startsWith('Live at operation')")
    (title,) = browser.texts("#live-title")
    at = step.curve.iloc[int(title.rpartition(" ")[2].replace(",", "")) - 1]
    for told in (browser.texts("#live-where")[0], browser.texts("#step-memory .hovertext")[0]):
        assert at["op"] in told
        assert units.si(int(at["total"]), "B") in told
    ActionChains(browser.driver).click().move_to_element_with_offset(chart, 300, 60).perform()
    assert browser.texts("#live-title") == [title]
    ActionChains(browser.driver).click().perform()
    browser.until("return document.getElementById('live-title').textContent === 'Live at the peak'")


@pytest.mark.browser
def test_the_table_filters_and_sorts(browser: Browser, page: Path, step: TrainingStep) -> None:  # noqa: F811
    """A word leaves the rows that match; a head sorts by its figures."""
    browser.open(page)
    browser.find("#layer-filter").send_keys("standard conv")
    expected = step.layers[step.layers["kind"] == "standard conv"]["name"].tolist()
    assert browser.texts("#layer-table tbody th") == expected
    browser.find("#layer-filter").clear()
    browser.run("document.getElementById('layer-filter').dispatchEvent(new Event('input'))")
    browser.find("#layer-table th:last-child button").click()
    ranked = step.layers.sort_values("saved_bytes", ascending=False, kind="stable")["name"].tolist()
    assert browser.texts("#layer-table tbody th")[0] == ranked[0]


@pytest.mark.browser
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_comparison_of_steps_fits_its_window(
    browser: Browser,  # noqa: F811
    step: TrainingStep,
    tmp_path: Path,
    width: int,
) -> None:
    """Tables and figure scroll by themselves, the figure stays legible, and no sign needs a font of emoji."""
    page = costmodel.compare({"one": step, "two": step}, baseline="one").save(tmp_path / "steps.html")
    browser.complaints()
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.driver.get(page.as_uri())
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelector('img.plot').clientWidth") >= 560
    assert not set("✅❌⚠") & set(browser.run("return document.body.textContent"))
