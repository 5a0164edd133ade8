"""Every kind of page: on a phone, on paper and by keyboard."""

from __future__ import annotations

import re
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from torch import nn

import costmodel
from costmodel import views
from costmodel.rendering import Report
from costmodel.shown import Shown
from tests.views.test_browser import DESKTOP, PHONE, Browser, browser  # noqa: F401 - browser is a fixture
from tests.views.test_door import results  # noqa: F401 - a fixture

pytestmark = pytest.mark.browser

PAGES = [view for view, forms in views.VIEWS.items() if "html" in forms]
ALL = [*PAGES, "formulas in symbols"]
PAPER = 718
"""Pixels of the width of A4 between Chromium's margins."""


@pytest.fixture(scope="module")
def pages(
    results: dict[str, Shown],  # noqa: F811 - the fixture
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """A page of each kind, and one of closed forms whose figures are expressions."""
    folder = tmp_path_factory.mktemp("pages")
    symbols = costmodel.formulas.compare("conv", "grouped_conv", "depthwise_separable", kernel=3)
    made = {view: result for view, result in results.items() if isinstance(result, Report)}
    assert sorted(made) == sorted(PAGES)
    return {view: r.save(folder / f"{view}.html") for view, r in (made | {"formulas in symbols": symbols}).items()}


def opened(browser: Browser, page: Path, width: int) -> None:  # noqa: F811 - the fixture
    """A page, with its charts if it has any."""
    has_script = "dataset.ready" in page.read_text("utf-8")
    (browser.open if has_script else browser.load)(page, width)


@pytest.mark.parametrize("view", ALL)
def test_a_page_fits_a_phone(browser: Browser, pages: dict[str, Path], view: str) -> None:  # noqa: F811
    """No page is wider than the window, no text runs into its neighbour, and no expression is squeezed to a column."""
    opened(browser, pages[view], PHONE)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE
    assert browser.texts("h1")
    crowded = browser.run("""
        return [...document.querySelectorAll('td, th')].filter((cell) => cell.checkVisibility()
                && getComputedStyle(cell).overflowX === 'visible' && cell.scrollWidth > cell.clientWidth + 1)
            .map((cell) => cell.textContent)""")
    assert crowded == []
    narrow = browser.run("""
        return [...document.querySelectorAll('td code')].filter((code) => code.checkVisibility())
            .map((code) => [code.textContent, code.getClientRects().length, code.closest('td').clientWidth])
            .filter(([, lines, width]) => lines > 2 && width < 200)""")
    assert narrow == []


@pytest.mark.parametrize("view", ALL)
def test_every_section_that_is_linked_has_a_heading(browser: Browser, pages: dict[str, Path], view: str) -> None:  # noqa: F811
    """A link of the bar leads to a section whose first words are its heading; links and sections are as many."""
    opened(browser, pages[view], DESKTOP)
    found = browser.run("""
        return [...document.querySelectorAll('.bar nav a')].map((link) => {
            const section = document.querySelector(link.hash), heading = section?.querySelector('h2')?.innerText;
            return [link.textContent, heading && section.innerText.startsWith(heading) ? heading : ''];
        })""")
    assert found
    assert [link for link, heading in found if not heading.strip()] == []
    without = """return [...document.querySelectorAll('main > section:not(#summary)')].filter((section) =>
        section.checkVisibility() && !section.querySelector('h2')).map((section) => section.id)"""
    assert browser.run(without) == []


@pytest.mark.parametrize("view", ALL)
def test_paper_shows_all_of_a_page(browser: Browser, pages: dict[str, Path], view: str) -> None:  # noqa: F811
    """In print nothing scrolls, nothing is wider than the sheet, and charts are drawn for its width."""
    opened(browser, pages[view], DESKTOP)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    charts = browser.run("""return [...document.querySelectorAll('.chart')].filter((c) => c._fullLayout
        && c.checkVisibility()).map((c) => [c.id, c._fullLayout.width])""")
    assert [name for name, width in charts if width > 1.2 * PAPER] == []
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    metrics = {"width": PAPER, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        hidden = browser.run("""return [...document.querySelectorAll('.scroll')].filter((scroll) =>
            getComputedStyle(scroll).overflow !== 'visible').map((scroll) => scroll.ariaLabel)""")
        assert hidden == []
        assert browser.run("return document.documentElement.scrollWidth") <= PAPER
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


FOCUSED = """
    let shown = document.activeElement;
    if (shown === document.body) return null;
    const box = document.activeElement, at = [...document.querySelectorAll('*')].indexOf(box);
    if (box.type === 'radio') shown = box.nextElementSibling;
    const style = getComputedStyle(shown), rect = shown.getBoundingClientRect();
    const out = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
    let whole = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 1;
    for (let p = shown.parentElement; p && p !== document.body; p = p.parentElement) {
        if (getComputedStyle(p).overflowX === 'visible') continue;
        const around = p.getBoundingClientRect();
        const sides = [rect.left - out - around.left, around.right - rect.right - out,
                       rect.top - out - around.top, around.bottom - rect.bottom - out];
        if (Math.min(...sides) < -1) whole = false;
    }
    const stays = shown.closest('table')?.tHead?.rows[0].cells[0], cell = shown.closest('th, td');
    if (stays && cell !== stays && getComputedStyle(stays).left === '0px'
        && rect.left - out < stays.getBoundingClientRect().right - 1 && cell.cellIndex > 0) whole = false;
    return [at, whole, shown.outerHTML.slice(0, 120)]"""
REACHABLE = """
    const all = [...document.querySelectorAll('*')], radios = new Set();
    return all.filter((e) => e.matches('a[href], button, select, input, summary, [tabindex="0"]') && e.checkVisibility()
        && !e.disabled && (e.type !== 'radio' || (!radios.has(e.name) && radios.add(e.name))))
        .map((e) => all.indexOf(e.type === 'radio' ? document.querySelector(`[name=${e.name}]:checked`) : e))
"""


@pytest.mark.parametrize(("width", "is_back"), [(DESKTOP, False), (PHONE, False), (PHONE, True)])
@pytest.mark.parametrize("view", PAGES)
def test_the_keyboard_reaches_every_control(
    browser: Browser,  # noqa: F811 - the fixture
    pages: dict[str, Path],
    view: str,
    width: int,
    *,
    is_back: bool,
) -> None:
    """Tab comes to each link, button, field and table that scrolls; the outline of what has the focus is seen whole."""
    opened(browser, pages[view], width)
    reachable: list[int] = browser.run(REACHABLE)
    met: dict[int, Any] = {}
    while True:
        tab = ActionChains(browser.driver)
        tab = tab.key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT) if is_back else tab.send_keys(Keys.TAB)
        tab.perform()
        found = browser.run(FOCUSED)
        if found is None or found[0] in met:
            break
        until = perf_counter() + 2
        while not found[1] and perf_counter() < until:  # it is scrolled to
            found = browser.run(FOCUSED)
        met[found[0]] = found
    assert set(reachable) <= set(met)
    assert [what for _, whole, what in met.values() if not whole] == []
    unnamed = browser.run("""return [...document.querySelectorAll('*')].filter((e) => e.scrollWidth > e.clientWidth + 1
        && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.checkVisibility()
        && !e.matches('.bar nav, .segments') && !(e.tabIndex >= 0 && e.ariaLabel)).map((e) => e.className)""")
    assert unnamed == []


def test_one_is_not_several(browser: Browser, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    """A model, and a step, of one layer, one operation and one kind say no "1 layers"."""
    one = nn.Linear(4, 4)
    for result in (costmodel.profile(one, (1, 4)), costmodel.training_step(one, (1, 4), optimizer=None)):
        opened(browser, result.save(tmp_path / "one.html"), DESKTOP)
        shown = browser.run("return document.body.innerText")
        assert "Layers" in shown
        assert not re.findall(r"\b1 \w+s\b of operation|\b1 (?:layers|operations|kinds|comparisons)\b", shown)
