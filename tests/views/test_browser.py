"""The pages in a real browser: they ask nothing of the outside, raise no error, and answer mouse and keyboard."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from math import hypot
from pathlib import Path
from time import perf_counter
from typing import Any
from zlib import crc32

import pytest
from torch import Tensor, nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.conventions.reconciliation import reconcile
from costmodel.measures import Measure
from costmodel.views import units
from tests.decoding.networks import Tiny

selenium = pytest.importorskip("selenium", reason="no selenium: pip install -e '.[test]'")

from selenium import webdriver  # noqa: E402 - only where it is installed
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

pytestmark = pytest.mark.browser

DESKTOP, PHONE = 1400, 390
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--disable-dev-shm-usage",
)  # fmt: skip


class Browser:
    """Chromium with one page open, and what it asked for and complained of since."""

    def __init__(self, profile_folder: Path) -> None:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile_folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.get("about:blank")  # the browser's own first page asks for much, and none of it is ours

    def open(self, page: Path, width: int = DESKTOP, scheme: str = "light") -> None:
        """Opens a page at a width, as a reader of a dark or light system does, and waits until its charts are drawn."""
        self.load(page, width, scheme)
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def load(self, page: Path, width: int = DESKTOP, scheme: str = "light") -> None:
        """Opens a page that has no charts to wait for."""
        self.resize(width)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        self.driver.get(page.as_uri())

    def resize(self, width: int) -> None:
        """Makes the window as wide, below 600 pixels that of a phone."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str) -> None:
        """Waits until a script returns something true."""
        WebDriverWait(self.driver, 30).until(lambda _: self.run(script))

    def find(self, selector: str) -> Any:
        """The element of a selector, scrolled into the middle of the window."""
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        return element

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements of a selector that are shown."""
        script = """return [...document.querySelectorAll(arguments[0])]
            .filter((e) => e.checkVisibility()).map((e) => e.textContent)"""
        return list(self.run(script, selector))

    def requests(self) -> list[str]:
        """Every address asked for since the last question."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """What the console says since the last question."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(shot["data"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium for all tests of this file."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    opened = Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.driver.quit()


def linear(n: int) -> nn.Module:
    """A layer that knows its input."""
    made = nn.Linear(n, n)
    made.example_inputs = (1, n)  # type: ignore[assignment]  # as the library's own networks have it
    return made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A profile, a comparison, and a model without any arithmetic, as files."""
    folder = tmp_path_factory.mktemp("pages")
    results = {
        "profile": costmodel.profile("mobilenet_v2"),
        "comparison": compare(["alexnet", "resnet18", "mobilenet_v2"], baseline="resnet18"),
        "nothing": replace(costmodel.profile(nn.Sequential(nn.Flatten()), (1, 2, 2)), name="nothing"),
        "crowd": compare({f"a model of width {n}": linear(n) for n in range(100, 160, 2)}),
        "scattered": compare({f"{'a' * (n % 17)}net{n}": linear(n) for n in (8 + i * i * 7 % 99 for i in range(39))}),
        "small and large": compare({"a_network_whose_name_is_long": linear(9), "b": linear(40)}, baseline="b"),
        "nothings": Comparison({"nothing": costmodel.profile(nn.Sequential(nn.Flatten()), (1, 2, 2))}),
    }
    return {name: result.save(folder / f"{name}.html") for name, result in results.items()}


SCATTER = """
    const chart = document.getElementById('trade-off'), box = (e) => e.getBoundingClientRect();
    const names = [...chart.querySelectorAll('.textpoint text')].filter((t) => t.textContent);
    const dots = [...chart.querySelectorAll('.points path')].map(box);
    return [names.map((t) => [t.textContent, box(t).left, box(t).top, box(t).right, box(t).bottom]),
            dots.map((d) => [(d.left + d.right) / 2, (d.top + d.bottom) / 2, d.width / 2])]"""


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("page", ["crowd", "scattered"])
def test_names_in_a_crowd_touch_nothing(browser: Browser, pages: dict[str, Path], page: str, width: int) -> None:
    """No name touches another one or a bubble, whatever is turned; of a crowd some are left out, the front's stay."""
    browser.open(pages[page], width)
    for turned in (width, 700):
        browser.resize(turned)
        browser.until("const c = document.getElementById('trade-off'); return c._fullLayout.width === c.clientWidth")
        names, dots = browser.run(SCATTER)
        assert (0 if page == "crowd" else 5) < len(names) < len(dots)
        assert page != "crowd" or "a model of width 100" in [name for name, *_ in names]
        for i, (_, left, top, right, bottom) in enumerate(names):
            for _, l2, t2, r2, b2 in names[:i]:
                assert min(right, r2) - max(left, l2) < 0.5 or min(bottom, b2) - max(top, t2) < 0.5
            for x, y, radius in dots:
                assert hypot(max(left - x, x - right, 0), max(top - y, y - bottom, 0)) > radius - 0.5


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("page", ["comparison", "small and large"])
def test_ratios_meet_no_name(browser: Browser, pages: dict[str, Path], page: str, width: int) -> None:
    """The text behind a bar begins right of the longest name, and ends within the chart."""
    browser.open(pages[page], width)
    names, edge, texts = browser.run("""
        const box = (e) => e.getBoundingClientRect();
        const all = (s) => [...document.querySelectorAll(`#ratios ${s}`)].map(box);
        return [Math.max(...all('.ytick text').map((b) => b.right)), box(document.querySelector('#ratios')).right,
                all('.bartext').map((b) => [b.left, b.right])]""")
    assert texts
    assert all(names < left and right <= edge for left, right in texts)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_few_models_are_all_named(browser: Browser, pages: dict[str, Path], width: int) -> None:
    """Three bubbles have three names, at any width."""
    browser.open(pages["comparison"], width)
    names, dots = browser.run(SCATTER)
    assert (len(names), len(dots)) == (3, 3)


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_long_name_breaks_within_its_card(browser: Browser, tmp_path: Path, width: int) -> None:
    """The peak's module is named whole, be it wider than the card."""
    name = "a_layer_whose_name_is_wider_than_any_card"
    model = nn.Sequential()
    model.add_module(name, nn.Linear(8, 8))
    browser.open(costmodel.profile(model, (1, 8)).save(tmp_path / "long.html"), width)
    assert any(name in text for text in browser.texts("#summary dd"))
    widths = browser.run(
        "return [...document.querySelectorAll('#summary dd')].map((d) => [d.scrollWidth, d.clientWidth])"
    )
    assert all(needed <= given for needed, given in widths)


@pytest.mark.parametrize("name", ["profile", "comparison", "nothing", "nothings"])
def test_a_page_asks_for_nothing_and_complains_of_nothing(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """The file itself is the only request, whatever is touched; the console stays empty."""
    browser.requests(), browser.complaints()
    browser.open(pages[name])
    for quantity in ("params", "memory_access", "macs"):
        browser.find(f"#quantity input[value={quantity}]").send_keys(Keys.SPACE)
    browser.find("#tree-expand").click()
    browser.find("#theme").click()
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [pages[name].as_uri()]
    assert browser.complaints() == []


def test_a_request_would_be_seen_and_stopped(browser: Browser, pages: dict[str, Path]) -> None:
    """The check above can fail: an image from elsewhere is refused by the page's own policy, with a complaint."""
    browser.open(pages["nothing"])
    browser.complaints()
    browser.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    browser.until("return document.images[document.images.length - 1].complete")
    assert any("Content Security Policy" in message for message in browser.complaints())


def test_a_head_sorts_the_table(browser: Browser, pages: dict[str, Path]) -> None:
    """The first click puts the largest first and says so to a screen reader, the second the smallest."""
    browser.open(pages["profile"])
    p = costmodel.profile("mobilenet_v2")
    head = browser.find("#layer-table th[data-key=macs] button")
    head.click()
    order = p.layers.sort_values("macs", ascending=False, kind="stable")["name"].tolist()
    assert browser.texts("#layer-table tbody th")[:4] == order[:4]
    assert browser.run("return document.querySelector('#layer-table th[data-key=macs]').ariaSort") == "descending"
    head.send_keys(Keys.ENTER)
    assert browser.texts("#layer-table tbody th")[-1] == order[0]
    assert browser.run("return document.querySelectorAll('#layer-table [aria-sort]').length") == 1


def test_text_and_kind_filter_the_table(browser: Browser, pages: dict[str, Path]) -> None:
    """Only rows that match both stay, and the count says how many and what they hold."""
    browser.open(pages["profile"])
    layers = costmodel.profile("mobilenet_v2").layers
    Select(browser.find("#layer-kind")).select_by_value("depthwise conv")
    expected = layers[layers["kind"] == "depthwise conv"]
    assert browser.texts("#layer-table tbody th") == expected["name"].tolist()
    browser.find("#layer-filter").send_keys("features.4.")
    expected = expected[expected["name"].str.contains("features.4.", regex=False)]
    assert 0 < len(expected) < 17
    assert browser.texts("#layer-table tbody th") == expected["name"].tolist()
    (count,) = browser.texts("#layer-count")
    assert count.startswith(
        f"{len(expected)} of {len(layers)} layers · {units.si(int(expected['macs'].sum()), 'MACs')}"
    )
    browser.find("#layer-kind").click()
    browser.until("return !document.getElementById('filtered').hidden")
    browser.find("#filtered-clear").click()
    # Three blocks of 8 layers and an addition are one row.
    assert len(browser.texts("#layer-table tbody th")) == len(layers) - 3 * 9 + 1


def test_the_tree_opens_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    """Enter on a module shows what is in it, with its share; expand all shows every module."""
    browser.open(pages["profile"])
    p = costmodel.profile("mobilenet_v2")
    top = browser.texts("#tree .label")
    assert top[:2] == ["mobilenet_v2", "features"]
    features = browser.find("#tree li li button")
    features.send_keys(Keys.ENTER)
    assert features.get_attribute("aria-expanded") == "true"
    assert len(browser.texts("#tree .label")) > len(top)
    inside = int(p.modules.set_index("name").loc["features", "macs"])
    assert browser.texts("#tree li li .value")[0] == units.si(inside)
    assert browser.texts("#tree li li .percent")[0] == units.share(inside, p.macs)
    browser.find("#tree-expand").click()
    assert len(browser.texts("#tree .label")) == len(p.modules) + sum(
        layer.module is None for layer in p.pricing.layers
    )
    browser.find("#tree-collapse").click()
    assert browser.texts("#tree .label") == top


def test_a_chart_names_the_layer_under_the_mouse_and_a_click_filters(browser: Browser, pages: dict[str, Path]) -> None:
    """Hovering a bar shows the layer and its figure; a click leaves that layer in the table."""
    browser.open(pages["profile"])
    place = browser.find("#depth")
    layers = costmodel.profile("mobilenet_v2").layers
    tallest = int(layers["macs"].argmax())
    point = browser.run(
        """const l = arguments[0]._fullLayout;
        return [l.xaxis.l2p(arguments[1] + 1) + l._size.l, l.yaxis.l2p(arguments[2] / 2) + l._size.t,
                arguments[0].clientWidth / 2, arguments[0].clientHeight / 2];""",
        place, tallest, int(layers["macs"].max()),
    )  # fmt: skip
    mouse = ActionChains(browser.driver).move_to_element_with_offset(
        place, int(point[0] - point[2]), int(point[1] - point[3])
    )
    mouse.perform()
    browser.until("return document.querySelector('#depth .hovertext')")
    (hover,) = browser.texts("#depth .hovertext")
    assert layers["name"][tallest] in hover
    assert units.si(int(layers["macs"].max()), "MACs") in hover
    mouse.click().perform()
    browser.until("return !document.getElementById('filtered').hidden")
    assert browser.texts("#layer-table tbody th") == [layers["name"][tallest]]


def test_the_quantity_switch_changes_charts_tree_and_words(browser: Browser, pages: dict[str, Path]) -> None:
    """With parameters chosen, kinds, tree and heading are of parameters."""
    browser.open(pages["profile"])
    p = costmodel.profile("mobilenet_v2")
    browser.find("#quantity input[value=params]").send_keys(Keys.SPACE)
    by_kind = p.layers.groupby("kind")["params"].sum().sort_values(ascending=False)
    assert browser.run("return document.getElementById('kinds').data[0].x")[:3] == by_kind.tolist()[:3]
    assert browser.texts("#tree .value")[0] == units.si(p.params)
    assert browser.texts("#where-title") == ["Params by module"]
    assert browser.run("return document.getElementById('hierarchy').data[0].values")[0] == p.params
    browser.find("#shape input[value=treemap]").send_keys(Keys.SPACE)
    assert browser.run("return document.getElementById('hierarchy').data[0].type") == "treemap"


def test_a_comparison_answers(browser: Browser, pages: dict[str, Path]) -> None:
    """Ratios follow the baseline that is chosen, totals sort and filter, and a name opens its model."""
    browser.open(pages["comparison"])
    macs = [p.macs for p in compare(["alexnet", "resnet18", "mobilenet_v2"]).profiles.values()]
    assert browser.run("return document.getElementById('ratios').data[0].x.map((x) => x + 1)") == pytest.approx(
        [m / macs[1] for m in macs]
    )
    Select(browser.find("#baseline-select")).select_by_visible_text("alexnet")
    assert browser.run("return document.getElementById('ratios').data[0].x")[0] == 0
    browser.find("#total-table th[data-key=macs] button").click()
    assert browser.texts("#total-table tbody th") == ["resnet18", "alexnet", "mobilenet_v2"]
    browser.find("#total-filter").send_keys("mobile")
    assert browser.texts("#total-table tbody th") == ["mobilenet_v2"]
    browser.find("#total-table tbody tr:not([hidden]) a").click()
    assert browser.texts("#model-name") == ["mobilenet_v2"]
    assert browser.texts("#tree .label")[0] == "mobilenet_v2"
    assert "300,774,272 MACs" in browser.texts(".of-model .exact")


def test_a_ratio_to_nothing_is_a_dash(browser: Browser, tmp_path: Path) -> None:
    """No model is so many times a baseline without MACs; without a bar, a model of none says so beside any other."""
    c = compare({"none": nn.ReLU(), "some": nn.Linear(8, 3)}, (1, 8), baseline="none")
    browser.open(c.save(tmp_path / "page.html"))
    shown = "const [bars] = document.getElementById('ratios').data; return [bars.x, bars.text.map((t) => t.trim())]"
    assert browser.run(shown) == [[0, 0], ["–", "–"]]
    Select(browser.find("#baseline-select")).select_by_visible_text("some")
    assert browser.run(shown) == [[0, 0], ["none", "1.00×"]]


ACCURACIES = {"alexnet": 56.522, "resnet18": 69.758, "mobilenet_v2": 71.878, "vgg11": 69.02}


def test_the_axes_of_the_trade_off_are_chosen(browser: Browser, tmp_path: Path) -> None:
    """Accuracy against MACs first; the front is the library's own, both ways; who has no figure is not drawn, and said.

    A column that someone lacks sorts with those behind all others, whichever way it is sorted.
    """
    metrics = {"top-1": ACCURACIES, "ms": {"alexnet": 1, "resnet18": 30, "ghostnet": 400}}
    c = compare([*ACCURACIES, "ghostnet"], metrics=metrics, lower_is_better="ms")
    browser.complaints()
    browser.open(c.save(tmp_path / "page.html"))
    drawn = """const chart = document.getElementById('trade-off'), [front, dots] = chart.data;
        const {xaxis, yaxis} = chart.layout;
        return {front: front.x.map((x, i) => [x, front.y[i]]), dots: dots.x.map((x, i) => [x, dots.y[i]]),
                titles: [xaxis.title.text, yaxis.title.text], types: [xaxis.type, yaxis.type], names: dots.text}"""
    for x, y, types in (
        ("macs", "top-1", ["log", "linear"]),
        ("ms", "top-1", ["log", "linear"]),
        ("top-1", "params", ["linear", "log"]),
    ):
        Select(browser.find("#across")).select_by_value(x)
        Select(browser.find("#up")).select_by_value(y)
        seen = browser.run(drawn)
        assert seen["types"] == types
        figures = dict(zip(c.profiles, zip(c.totals(x), c.totals(y), strict=True), strict=True))
        assert seen["dots"] == [[None, None] if None in pair else list(pair) for pair in figures.values()]
        on_front = {figures[name] for name in c.front(x, y)}
        assert {tuple(corner) for corner in seen["front"][1:-1]} == on_front
    assert seen["titles"] == ["top-1", "Parameters"]
    assert "ghostnet" not in seen["names"]
    assert browser.texts("#trade .thinned") == [
        "top-1: higher is better. 1 of 5 models has no such figure, and is not drawn."
    ]
    for order in (["vgg11", "mobilenet_v2"], ["vgg11", "mobilenet_v2"]):
        browser.find("#total-table th[data-key=ms] button").click()
        assert set(browser.texts("#total-table tbody th")[-2:]) == set(order)
    assert browser.complaints() == []


@pytest.mark.parametrize("name", ["profile", "comparison"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_light_and_dark_at_every_width(
    browser: Browser, pages: dict[str, Path], name: str, width: int, record_property: Callable[[str, object], None]
) -> None:
    """A page fits its window, is not blank, follows the system's light or dark, and can be switched to the other."""
    seen = set()
    for scheme in ("light", "dark"):
        browser.open(pages[name], width, scheme)
        assert browser.run("return document.documentElement.scrollWidth") == width
        background = browser.run("return getComputedStyle(document.body).backgroundColor")
        shade = sum(int(n) for n in background.removeprefix("rgb(").removesuffix(")").split(","))
        assert (shade > 600) == (scheme == "light")
        shot = browser.screenshot()
        # A blank page of this size is a few kB.
        assert len(shot) > 60_000
        seen.add(crc32(shot))
        empty = """return Object.keys(DATA.charts).filter((id) => !document.querySelector(`#${id} svg`))"""
        assert browser.run(empty) == []
        browser.find("#theme").click()
        assert browser.run("return getComputedStyle(document.body).backgroundColor") != background
    assert len(seen) == 2


@pytest.mark.parametrize("width", [DESKTOP, 700, PHONE])
def test_a_waterfall_fits_every_width(browser: Browser, tmp_path: Path, width: int) -> None:
    """Pages of other tools' numbers fit, in light and dark; a line leads from the end of a bar to the next."""
    p = costmodel.profile("mobilenet_v3_small", (1, 3, 64, 64))
    every = reconcile(p, costmodel.TOOLS.values()).save(tmp_path / "every.html")
    one = p.counted_as("ptflops").save(tmp_path / "one.html")
    for page, scheme in product((every, one), ("light", "dark")):
        browser.requests(), browser.complaints()
        browser.load(page, width, scheme)
        assert browser.run("return document.documentElement.scrollWidth") == width
        shade = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", shade))) > 600) == (scheme == "light")
        gaps = browser.run("""return [...document.querySelectorAll(".waterfall s")].filter((s) => s.checkVisibility())
            .flatMap((s) => {
              const line = s.getBoundingClientRect(), item = s.closest("li");
              const [bar, next] = [item, item.nextElementSibling]
                .map((li) => li.querySelector("i").getBoundingClientRect());
              return [line.top - bar.bottom, line.bottom - next.top,
                Math.min(Math.abs(line.left - bar.left), Math.abs(line.left - bar.right)),
                Math.min(Math.abs(line.left - next.left), Math.abs(line.left - next.right))];
            })""")
        assert bool(gaps) == (width > 640)
        assert all(abs(gap) <= 2.5 for gap in gaps), gaps
        outside = """return [...document.querySelectorAll(".waterfall i")].filter((bar) => {
            const [a, b] = [bar, bar.parentElement].map((e) => e.getBoundingClientRect());
            return a.left < b.left - 1 || a.right > b.right + 3; }).length"""
        assert browser.run(outside) == 0
        assert [url for url in browser.requests() if not url.startswith("data:")] == [page.as_uri()]
        assert browser.complaints() == []


def test_paper_shows_what_a_reader_would_open(browser: Browser, tmp_path: Path) -> None:
    """Printed, a waterfall's smallest differences are there by name, which a screen shows behind a click."""
    page = costmodel.profile("mobilenet_v3_small", (1, 3, 64, 64)).counted_as("ptflops").save(tmp_path / "one.html")
    browser.load(page)
    shown = "return [...document.querySelectorAll('.differences tr')].map((row) => row.checkVisibility())"
    assert set(browser.run(shown)) == {False}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert set(browser.run(shown)) == {True}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_paper_has_whole_charts_and_heads_of_tables(browser: Browser, tmp_path: Path) -> None:
    """On a sheet of 700 pixels no chart is wider than its place, and heads are text, as buttons are not repeated."""
    browser.open(costmodel.profile("mobilenet_v3_small", (1, 3, 64, 64)).save(tmp_path / "one.html"))
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    over = """document.querySelector('main').style.width = '700px';
        return [...document.querySelectorAll('.chart .svg-container')].map((chart) =>
            Math.max(...[...chart.querySelectorAll('.main-svg')].map((svg) => svg.getBoundingClientRect().width))
            / chart.closest('.chart').getBoundingClientRect().width)"""
    found = browser.run(over)
    heads = browser.run(
        "return [...document.querySelectorAll('.sortable thead button')].map((b) => getComputedStyle(b).display)"
    )
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert len(found) >= 4
    assert max(found) <= 1.001
    assert set(heads) == {"contents"}


def test_numbers_are_written_as_units_writes_them(browser: Browser, pages: dict[str, Path]) -> None:
    """The page's own formatting and that of costmodel.views.units give the same words."""
    browser.open(pages["nothing"])
    counts = [0, 7, 640, 999, 999_499, 999_500, 999_999, 1500, 4_089_184_256, 25_557_032, 10**12, 12_345 * 10**12]
    assert browser.run("return arguments[0].map((n) => si(n, 'MACs'))", counts) == [units.si(n, "MACs") for n in counts]
    floats = [0.5, 12.34567, 999.6, 0.0123, 0.00025, 3e-8, 4.56e-12, 27056832102.4, 0.1 + 0.2]
    assert browser.run("return arguments[0].map((n) => si(n, 'J'))", floats) == [units.si(n, "J") for n in floats]
    digits = [1234.5, 0.1 + 0.2, 27056832102.4, 4_089_184_256]
    assert browser.run("return arguments[0].map(grouped)", digits) == [units.grouped(n) for n in digits]
    parts = [0, 1, 400, 499, 500, 501, 333_333, 999_999, 10**6]
    assert browser.run("return arguments[0].map((n) => share(n, 1e6))", parts) == [units.share(n, 10**6) for n in parts]
    values = [0.0734, 0.0999, 0.5, 1.0, 9.99, 12.345, 99.96, 1234.6]
    assert browser.run("return arguments[0].map(ratio)", values) == [units.ratio(v) for v in values]


def test_every_control_can_be_reached_and_is_named(browser: Browser, pages: dict[str, Path]) -> None:
    """Buttons, fields and links have names, none is taken out of the order of tabs, and focus is drawn."""
    browser.open(pages["comparison"])
    nameless = """return [...document.querySelectorAll('button, input, select, a')].filter((e) => e.checkVisibility())
        .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.title || (e.labels && e.labels.length)))
        .map((e) => e.outerHTML)"""
    assert browser.run(nameless) == []
    assert browser.run("return document.querySelectorAll('main [tabindex=\"-1\"]').length") == 0
    browser.find("body").send_keys(Keys.TAB)
    assert browser.run("return document.activeElement.className") == "skip"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_registered_measure_is_switched_to(browser: Browser, tmp_path: Path) -> None:
    """Charts, tree, table and words show a measure of one's own, with its title and unit, and sum to its total."""
    energy = Measure(
        "energy", "energy", "pJ", "4.6 pJ per MAC", additive=True, of_layer=lambda layer: 4.6 * layer.work.macs
    )
    widest = Measure(
        "widest", "widest tensor", "elements", "of the outputs", additive=False,
        of_layer=lambda layer: max((t.size for t in layer.outputs), default=0),
    )  # fmt: skip
    costmodel.register_measure(energy)
    costmodel.register_measure(widest)
    try:
        p = costmodel.profile("alexnet")
        browser.open(p.save(tmp_path / "p.html"))
        total = p.total("energy")
    finally:
        costmodel.unregister_measure("energy")
        costmodel.unregister_measure("widest")
    assert isinstance(total, float)
    browser.find("#quantity input[value=energy]").send_keys(Keys.SPACE)
    assert browser.texts("#where-title") == ["Energy by module"]
    assert browser.texts("#tree .value")[0] == units.si(total)
    assert browser.texts("#layer-count") == [f"{len(p.pricing.layers)} layers · {units.si(total)} pJ (100.0%)"]
    assert browser.run("return document.getElementById('hierarchy').data[0].values")[0] == pytest.approx(total)
    heads = browser.texts("#layer-table thead th")
    assert "Energy pJ" in heads
    assert "Widest tensor elements" in heads
    assert browser.run("return document.querySelectorAll('#quantity input[value=widest]').length") == 0
    assert browser.complaints() == []


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.up(x).relu())
        return out


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of seven alike blocks between two layers."""
    model = nn.Sequential(nn.Linear(7, 16), *[Block() for _ in range(7)], nn.Linear(16, 3))
    return costmodel.profile(model, (1, 7)).save(tmp_path_factory.mktemp("repeated") / "page.html")


def test_repeated_blocks_are_one_row_that_opens_by_keyboard(browser: Browser, repeated: Path) -> None:
    """The row has their sum. It opens to the layers of one of them, then to those of all, and closes again."""
    browser.open(repeated)
    rows = "#layer-table tbody th"
    assert browser.texts(rows) == ["0", "1 to 7, × 7", "8"]
    (shown,) = browser.texts("#layer-table tr.folded td[data-key=macs]")
    assert shown == units.si(7 * 2 * 16 * 64)
    one = ["1.up", "1/relu", "1.down", "1/add"]
    browser.find("#layer-table button.fold").send_keys(Keys.ENTER)
    assert browser.texts(rows) == ["0", "1 to 7, × 7", *one, "6 more, alike", "8"]
    assert browser.run("return document.activeElement.textContent + document.activeElement.ariaExpanded") == (
        "1 to 7, × 7true"
    )
    browser.find("#layer-table tr:nth-child(7) button").click()
    shown_names = browser.texts(rows)
    assert len(shown_names) == 1 + 1 + 7 * 4 + 1
    assert shown_names[-2:] == ["7/add", "8"]
    browser.find("#layer-table button.fold").click()
    assert browser.texts(rows) == ["0", "1 to 7, × 7", "8"]


def test_filter_and_order_find_the_layers_inside_a_fold(browser: Browser, repeated: Path) -> None:
    """What is looked for or ranked is a layer, wherever it is folded; without either the folds are back."""
    browser.open(repeated)
    browser.find("#layer-filter").send_keys("5.do")
    assert browser.texts("#layer-table tbody th") == ["5.down"]
    browser.find("#layer-filter").send_keys(Keys.BACKSPACE * 4)
    browser.find("#layer-table th[data-key=params] button").click()
    assert browser.texts("#layer-table tbody th")[:7] == [f"{i}.up" for i in range(1, 8)]
    browser.find("#layer-table th[data-key=index] button").click()
    browser.find("#layer-table th[data-key=index] button").click()
    assert browser.texts("#layer-table tbody th") == ["0", "1 to 7, × 7", "8"]


LARGE = 10_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 10,000 layers, each of another size than its neighbours."""
    sizes = [8 + i % 97 for i in range(LARGE + 1)]
    layers = [nn.Linear(a, b, device="meta") for a, b in pairwise(sizes)]
    return costmodel.profile(nn.Sequential(*layers), (1, 8)).save(tmp_path_factory.mktemp("large") / "page.html")


def test_a_page_of_ten_thousand_layers_opens_scrolls_and_filters(browser: Browser, large: Path) -> None:
    """Within a generous time and 8 MB: few elements are made at a time, and every layer is reached."""
    assert large.stat().st_size < 8_000_000
    begun = perf_counter()
    browser.complaints()
    browser.open(large)
    assert perf_counter() - begun < 60
    assert browser.complaints() == []
    assert browser.run("return document.querySelectorAll('*').length") < 30_000
    assert browser.texts("#layer-count")[0].startswith("10,000 layers")
    for share, expected in ((1, LARGE - 1), (0.5, LARGE // 2), (0, 0)):
        browser.run(
            """const s = document.querySelector('#layers .scroll');
            s.scrollTop = arguments[0] * (s.scrollHeight - s.clientHeight)""",
            share,
        )
        in_view = """const s = document.querySelector('#layers .scroll').getBoundingClientRect();
            return [...document.querySelectorAll('#layer-table tbody th')].filter((c) => {
                const r = c.getBoundingClientRect(); return r.bottom > s.top + 60 && r.top < s.bottom - 20;
            }).map((c) => Number(c.textContent))"""
        browser.until(f"return (() => {{{in_view}}})().length > 8")
        names = browser.run(in_view)
        assert names == list(range(names[0], names[0] + len(names)))
        assert names[0] - 30 <= expected <= names[-1] + 30
    browser.find("#layer-filter").send_keys("9876")
    assert browser.texts("#layer-table tbody th") == ["9876"]
    browser.find("#layer-filter").send_keys(Keys.BACKSPACE * 4)
    browser.find("#layer-table th[data-key=macs] button").click()
    largest = [i for i in range(LARGE) if (8 + i % 97) * (8 + (i + 1) % 97) == 103 * 104]
    assert [int(name) for name in browser.texts("#layer-table tbody th")[:5]] == largest[:5]


def test_charts_of_ten_thousand_layers_say_what_they_leave_out(browser: Browser, large: Path) -> None:
    """Bars are sums of layers in a row and sum to the total; small modules share a box, and the boxes sum to theirs."""
    browser.open(large)
    said = " ".join(browser.texts(".thinned"))
    assert "Each bar is the sum of 5 layers in a row." in said
    assert "1,000 largest of 10,001 parts" in said
    total = sum((8 + i % 97) * (8 + (i + 1) % 97) for i in range(LARGE))
    assert browser.run("return sum(document.getElementById('depth').data[0].y)") == total
    boxes = browser.run(
        "const {values, parents} = document.getElementById('hierarchy').data[0]; return [values, parents]"
    )
    assert boxes[0][0] == total
    assert sum(value for value, parent in zip(*boxes, strict=True) if parent == "0") == total
    assert len(boxes[0]) <= 1_001


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 200 models of 3 to 21 layers."""
    models = {
        f"width {width}, depth {depth}": nn.Sequential(
            *[layer for _ in range(depth) for layer in (nn.Linear(width, width, device="meta"), nn.ReLU())],
            nn.Linear(width, width, device="meta"),
        )
        for width in range(8, 28)
        for depth in range(1, 11)
    }
    profiles = {name: costmodel.profile(m, (1, int(name.split()[1].strip(",")))) for name, m in models.items()}
    return compare(profiles, baseline="width 8, depth 1").save(tmp_path_factory.mktemp("many") / "page.html")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_comparison_of_two_hundred_models_opens_and_is_readable(browser: Browser, many: Path, width: int) -> None:
    """Charts of a bar per model scroll within the window, names are thinned out, and each model is a click away."""
    assert many.stat().st_size < 8_000_000
    browser.complaints()
    begun = perf_counter()
    browser.open(many, width)
    assert perf_counter() - begun < 60
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") == width
    assert len(browser.run("return document.getElementById('ratios').data[0].x")) == 200
    for place in ("#totals .scroll", ".scroll:has(> #ratios)", ".scroll:has(> #mix)"):
        seen, whole = browser.run(
            "const e = document.querySelector(arguments[0]); return [e.clientHeight, e.scrollHeight]", place
        )
        assert seen < 900 < whole
    names = browser.run("return document.getElementById('trade-off').data[1].text.filter(Boolean)")
    assert 0 < len(names) < 100
    assert "Where names would cover each other some are left out" in " ".join(browser.texts("#trade figcaption"))
    browser.find("#total-filter").send_keys("width 27, depth 10")
    browser.find("#total-table tbody tr:not([hidden]) a").click()
    assert browser.texts("#model-name") == ["width 27, depth 10"]
    assert browser.texts("#layer-table tbody th") == ["0 to 19, × 10", "20"]


def test_a_page_of_figures_is_switched_and_fits(browser: Browser, tmp_path: Path) -> None:
    """Light and dark without a chart on the page; plots lie in the middle of their cards, sections are linked."""
    page = costmodel.generation(Tiny(), prompt=5, new=4).with_answers(memory="1MB").save(tmp_path / "g.html")
    for width in (DESKTOP, PHONE):
        browser.load(page, width)
        paper = "return getComputedStyle(document.body).backgroundColor"
        light = browser.run(paper)
        browser.find("#theme").click()
        assert browser.run(paper) != light
        left, right = browser.run(
            "const [card, plot] = ['#figures figure', '.plot'].map((s) => "
            "document.querySelector(s).getBoundingClientRect()); "
            "return [plot.left - card.left, card.right - plot.right]"
        )
        assert abs(left - right) <= 1 or (width == PHONE and left > 0)  # what is wider than the phone scrolls
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert browser.find("nav a[href='#answers']").is_displayed()
    assert browser.complaints() == []
