"""The pages: structure, escaping, determinism, size, and that nothing is asked of the outside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.profiling import Profile
from costmodel.views import charts

HOSTILE = "</script><img src=x onerror=alert(1)>&'\"{{7*7}}"


class Page(HTMLParser):
    """What a browser would see of a page: its tags with their attributes, its ids, the text of its scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data
        elif self.lasttag != "style":
            self.text.append(data)

    @property
    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[1])


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)
        self.unused = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head((y + y).mean((2, 3)))


@pytest.fixture(scope="module")
def small() -> Profile:
    """A model with a block, an op outside any leaf, and a layer that never runs."""
    return costmodel.profile(Small(), (1, 3, 16, 16))


@pytest.fixture(scope="module")
def two() -> Comparison:
    """It, beside a linear classifier."""
    return compare({"small": Small(), "linear": nn.Sequential(nn.Flatten(), nn.Linear(768, 4))}, (1, 3, 16, 16))


def test_a_profile_page_has_every_section(small: Profile) -> None:
    """Summary, charts, table, tree and cross-check have their places, and no id is there twice."""
    page = Page(small.to_html())
    assert len(page.ids) == len(set(page.ids))
    places = {
        "summary",
        "where",
        "along",
        "memory",
        "roof",
        "layers",
        "modules",
        "check",
        "layer-table",
        "tree",
        "data",
    }
    assert places <= set(page.ids)
    assert set(charts.of_profile()) <= set(page.ids)


def test_a_comparison_page_has_every_section(two: Comparison) -> None:
    """It has the trade-off, the totals, the ratios, and each model's own part."""
    page = Page(two.to_html())
    assert len(page.ids) == len(set(page.ids))
    assert set(charts.of_comparison()) | {"totals", "baseline-select", "model-select"} <= set(page.ids)
    assert [m["name"] for m in page.data["models"]] == ["small", "linear"]


def test_the_summary_says_exact_numbers_units_and_the_verdict(small: Profile) -> None:
    """The head has every digit of a total with its unit, the convention, and what the cross-check found."""
    text = Page(small.to_html()).words
    # 16·16 positions of 8 filters of 27 taps, and 8 to 4 channels.
    assert "55,328 MACs" in text
    # 8·27 + 8, 2·8, 8·4 + 4, 5·7 + 7.
    assert "318 params" in text
    assert "Derived twice, and equal to the last integer" in text
    assert "a multiply-accumulate is two" in text


def test_what_charts_are_drawn_from_sums_to_the_totals(small: Profile) -> None:
    """The tree's own shares, and the rows of the table, each sum to the profile's totals."""
    (model,) = Page(small.to_html()).data["models"]
    for quantity in ("macs", "flops", "params", "memory_access", "activations"):
        assert sum(model["tree"]["figures"][quantity]) == getattr(small, quantity), quantity
    for quantity in ("macs", "flops", "memory_access", "activations"):
        assert sum(model["layers"]["figures"][quantity]) == getattr(small, quantity), quantity
    assert max(model["memory"]["curve"]) == small.peak_memory
    # A parameter that no layer uses is in the tree, and in no row.
    assert sum(model["tree"]["figures"]["params"]) - sum(model["layers"]["figures"]["params"]) == 42


def test_nothing_is_asked_of_the_outside(two: Comparison) -> None:
    """No tag names an address, and the page's own policy forbids the browser every request."""
    page = Page(two.to_html())
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:,")), (tag, value)
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(
        r"@import|url\((?!['\"]?data:)", re.sub(r"<script.*?</script>", "", two.to_html(), flags=re.DOTALL)
    )


def test_a_hostile_name_stays_text() -> None:
    """Markup in the name of a model or a module is text everywhere, inside JSON too."""
    model = nn.Sequential()
    model.add_module(HOSTILE.replace(".", ""), nn.Linear(4, 4))
    p = replace(costmodel.profile(model, (1, 4)), name=HOSTILE)
    plain = Page(replace(p, name="plain").to_html())
    for source in (p.to_html(), Comparison({HOSTILE: p}).to_html()):
        page = Page(source)
        assert not [t for t, a in page.tags if t == "img" or "onerror" in a]
        assert len(page.scripts) == len(plain.scripts)
        assert page.data["models"][0]["name"] == HOSTILE
        assert HOSTILE in page.data["models"][0]["layers"]["name"]
        assert HOSTILE in page.words
    assert "<img" not in p._repr_html_()
    assert "<img" not in Comparison({HOSTILE: p})._repr_html_()


def test_the_same_result_gives_the_same_bytes(small: Profile) -> None:
    """A page holds no date, no address in memory and no random id."""
    assert costmodel.profile(Small(), (1, 3, 16, 16)).to_html() == small.to_html()


def test_a_page_stays_below_eight_megabytes() -> None:
    """The biggest network of the zoo, beside itself twice, with plotly in it once."""
    p = costmodel.profile(costmodel.models.efficientnet_b7())
    page = Comparison({"one": p, "two": p, "three": p}).to_html()
    assert len(page.encode()) < 8_000_000
    assert len(re.findall(r"^\* plotly\.js v", page, re.MULTILINE)) == 1


def test_a_profile_with_an_unknown_op_says_so_first() -> None:
    """Totals are at least so much, the op is named, and the seal is no tick."""

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.costmodel_html_test.odd(x)

    library = torch.library.Library("costmodel_html_test", "DEF")
    library.define("odd(Tensor x) -> Tensor")
    library.impl("odd", lambda x: x + 1, "CompositeExplicitAutograd")
    p = costmodel.profile(Odd(), (1, 4))
    assert not p.is_exact
    page = Page(p.to_html())
    text = page.words
    assert "Lower bounds: 1 operation without a rule" in text
    assert "costmodel_html_test.odd" in text
    assert "at least 0 MACs" in text
    assert any(a.get("class") == "verdict incomplete" for _, a in page.tags)


@pytest.mark.parametrize("name", sorted(charts.of_comparison()))
def test_every_chart_is_a_figure_that_plotly_knows(name: str) -> None:
    """Each name in a chart is one of plotly's own, once the page's columns are filled in."""
    from plotly import graph_objects as go

    one = {
        "title": "MACs", "height": 300, "range": [0, 1], "range_x": [0, 1], "range_y": [0, 1], "dtick_x": 1,
        "dtick_y": 1, "ridge": 1, "input": 1, "orientation": "v", "peak_side": ["top left"], "position": ["top left"],
        "color": ["#111111"], "ink": ["#111111"], "type_x": "log", "type_y": "linear", "format_x": "~s", "format_y": "",
        "title_x": "MACs", "title_y": "top-1",
    }  # fmt: skip

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        if not isinstance(value, str) or value[:1] not in ("@", "$"):
            return value
        if value == "$font":
            return "serif"
        if value in ("@mix.kind", "@mix.color"):  # one trace a kind
            return "#111111"
        return "#111111" if value[0] == "$" else one.get(value.split(".")[1], [1])

    made = go.Figure(filled(charts.of_comparison()[name]))
    assert made.data


def test_the_check_of_charts_can_fail() -> None:
    """A name that plotly does not know is refused."""
    from plotly import graph_objects as go

    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure({"data": [{"type": "bar", "colour": "red"}]})


def test_a_notebook_shows_a_compact_table(small: Profile, two: Comparison) -> None:
    """A fragment has the totals and the verdict."""
    for fragment in (small._repr_html_(), two._repr_html_()):
        page = Page(fragment)
        assert "55.3 k" in "".join(page.text)
    assert "derived twice and equal" in small._repr_html_()
    assert f"{len(small.layers)} layers</span>" in small._repr_html_()


def test_a_comparison_ranges_from_the_least_to_the_most(two: Comparison) -> None:
    """The head of a comparison names the model with the least and with the most, and how far they are apart."""
    text = Page(two.to_html()).words
    # 768·4 MACs of the one linear layer against 55,328.
    assert "3.07 k – 55.3 k linear to small, 18.0×" in text


def test_a_comparison_shows_receptive_fields_where_there_are_any() -> None:
    """One number where all axes are equal, one for each where not; models of vectors have no such column."""
    square, oblong = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)), nn.Conv2d(3, 4, (1, 7))
    page = compare({"square": square, "oblong": oblong}, (1, 3, 16, 16)).to_html()
    assert '<td class="n" data-sort="5">5</td>' in page
    assert '<td class="n" data-sort="1">1×7</td>' in page
    head = '<button type="button">Receptive field</button>'
    assert head in page
    assert head not in compare({"vectors": nn.Linear(8, 8)}, (1, 8)).to_html()


def test_the_library_of_charts_is_what_plotly_ships() -> None:
    """It is read without importing plotly, and is the text that plotly itself gives."""
    from plotly.offline import get_plotlyjs

    assert charts.library() == get_plotlyjs()
    code = "import sys; from costmodel.views import charts; charts.library(); print('plotly' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
