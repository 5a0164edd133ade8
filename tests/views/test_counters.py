"""Views of other tools' numbers: waterfalls whose bars add up, tables for papers, pages, JSON."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import nn

import costmodel
from costmodel import views
from costmodel.conventions.reconciliation import Reconciliation, reconcile
from costmodel.conventions.recount import Recount, Step
from costmodel.views import waterfall
from costmodel.views.figures import svg
from tests.robustness.test_hostile_names import Hostile

NETWORKS = ("resnet18", "mobilenet_v3_small", "googlenet")


@pytest.fixture(scope="module")
def found() -> dict[str, Reconciliation]:
    """What every tool counts in each of the networks, by name."""
    return {
        name: reconcile(costmodel.profile(name, (2, 3, 64, 64)), costmodel.TOOLS.values()) for name in NETWORKS
    }  # fmt: skip


def recounts(found: dict[str, Reconciliation]) -> list[Recount]:
    """All of them, of tools in either unit."""
    made = [r for one in found.values() for r in one.recounts.values()]
    assert {r.unit for r in made} == {"MACs", "FLOPs"}
    return made


def test_bars_add_up_to_the_total(found: dict[str, Reconciliation]) -> None:
    """Each bar begins where the one before ends, from the profile's MACs to the tool's number, with any joined."""
    for name, one in found.items():
        macs = costmodel.profile(name, (2, 3, 64, 64)).macs
        for r in one.recounts.values():
            for most in (1, 2, 5, 100):
                first, *steps, last = waterfall.bars(r, most)
                assert (first.kind, first.end, last.kind, last.amount) == ("total", macs, "total", r.total)
                assert macs + sum(step.amount for step in steps) == r.total
                assert [step.start for step in steps] == [bar.end for bar in (first, *steps[:-1])][: len(steps)]


def recount_of_steps(macs: int, amounts: list[int]) -> Recount:
    """A recount with these differences, each of its own op and reason."""
    steps = tuple(Step("layer", f"op{i}", f"reason {i}", n) for i, n in enumerate(amounts))
    tool, total = costmodel.TOOLS["fvcore"], macs + sum(amounts)
    return Recount("net", (), "eval", tool, macs, total, None, (), steps)


def of_steps(macs: int, amounts: list[int], most: int) -> list[waterfall.Bar]:
    """The bars of such a recount."""
    return waterfall.bars(recount_of_steps(macs, amounts), most)


@given(st.integers(0, 10**12), st.lists(st.integers(-(10**12), 10**12).filter(bool), max_size=12), st.integers(1, 8))
def test_any_differences_add_up(macs: int, amounts: list[int], most: int) -> None:
    """With any differences: the largest have bars of their own, what is added before what is left out."""
    first, *steps, last = of_steps(macs, amounts, most)
    assert first.amount == macs
    assert last.amount == (steps[-1].end if steps else macs)
    assert last.amount == macs + sum(amounts)
    own = [step for step in steps if step.label != "smaller differences"]
    assert sorted((abs(step.amount) for step in own), reverse=True) == sorted(map(abs, amounts))[::-1][: len(own)]
    assert len(own) == (len(amounts) if len(amounts) <= most + 1 else most)
    assert [step.amount < 0 for step in own] == sorted(step.amount < 0 for step in own)
    assert [step.kind for step in steps] == ["more" if step.amount >= 0 else "less" for step in steps]


def test_a_unit_is_a_step_with_a_name(found: dict[str, Reconciliation]) -> None:
    """The first step to a number in FLOPs is as large as the MACs; to one in MACs there is none such."""
    for r in recounts(found):
        units = [bar for bar in waterfall.bars(r) if bar.kind == "unit"]
        assert [(bar.label, bar.amount) for bar in units] == ([("unit", r.macs)] if r.unit == "FLOPs" else [])
        if units:
            assert waterfall.bars(r)[1] == units[0]


def test_ops_of_one_reason_are_one_bar() -> None:
    """Two ops that are counted for the same reason are one step, which names both."""
    steps = (Step("a", "relu", "1 an output", 5), Step("b", "gelu", "1 an output", 7), Step("a", "relu", "twice", 1))
    r = Recount("net", (), "eval", costmodel.TOOLS["fvcore"], 100, 113, None, (), steps)
    assert [(bar.label, bar.amount) for bar in waterfall.bars(r)[1:-1]] == [("gelu, relu", 12), ("relu", 1)]


@pytest.mark.parametrize("most", [0, -1, 1.5, "3", None])
def test_a_number_of_bars_that_is_none(most: object) -> None:
    """It is refused."""
    model = nn.Conv2d(3, 4, 3)
    r = costmodel.profile(model, (1, 3, 8, 8)).counted_as("ptflops")
    with pytest.raises(costmodel.InputError, match="is no number of differences: give an int of at least 1"):
        r.plot_waterfall(most)  # type: ignore[arg-type]  # nonsense is what is tried


def test_the_figure_draws_the_bars(found: dict[str, Reconciliation]) -> None:
    """Each rectangle spans its step's levels; of a total, from where the axis begins, which is 0 or said."""
    for r in recounts(found):
        drawn, bars = r.plot_waterfall(), waterfall.bars(r)
        (ax,) = drawn.axes
        first = ax.get_xlim()[0]
        assert len(ax.patches) == len(bars)
        for patch, bar in zip(ax.patches, bars, strict=True):
            box = patch.get_bbox()
            assert (box.x0, box.x1) == pytest.approx((max(min(bar.start, bar.end), first), max(bar.start, bar.end)))
        assert ("does not begin at 0" in ax.get_xlabel()) == (first > 0)
        assert ax.get_xlabel().startswith(r.unit)
        assert f"{r.tool.name} {r.tool.version}" in ax.get_title("left")


@pytest.mark.parametrize("macs", [1_582_671_872, 15_470_264_320, 3_000, 7 * 10**15])
@pytest.mark.parametrize("added", [1, 7, 190, 51_200, 3_333_333, -1_500])
@pytest.mark.parametrize("width", [8, 2.5])
def test_the_figure_s_ticks_differ_and_never_meet(macs: int, added: int, width: float) -> None:
    """Also where differences are small beside the total: they are then what ticks, and both totals, tell apart."""
    ax = Figure((width, 3)).add_subplot()
    recount_of_steps(macs, [added]).plot_waterfall(ax=ax)
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    shown = [label for at, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True) if low <= at <= high]
    texts = [label.get_text() for label in shown]
    boxes = [label.get_window_extent() for label in shown]
    assert len(set(texts)) == len(texts) >= 1
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
    totals = [text.get_text() for text in ax.texts if text.get_text()[0].isdigit()]
    assert len(set(totals)) == len(totals) == 2
    if low > 0:
        assert "0" in texts
        scale = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
        for at, text in zip((at for at in ax.get_xticks() if low <= at <= high), texts, strict=True):
            number, _, prefix = text.replace("−", "-").partition(" ")
            assert round(float(number) * scale[prefix]) == round(at) - macs


def test_the_figure_is_drawn_into_axes_and_the_same_twice(found: dict[str, Reconciliation]) -> None:
    """Axes that are given are drawn into; the same recount has the same bytes."""
    r = found["resnet18"].recounts["ptflops"]
    ax = Figure().add_subplot()
    assert r.plot_waterfall(ax=ax) is ax.figure
    assert svg(r.plot_waterfall()) == svg(r.plot_waterfall())


def test_the_picture_in_the_documentation_is_the_figure() -> None:
    """docs/_static/waterfall.svg is what ``plot_waterfall`` draws; where it has changed: write the bytes there."""
    picture = Path(__file__).parents[2] / "docs/_static/waterfall.svg"
    assert picture.read_bytes() == svg(costmodel.profile("mobilenet_v2").counted_as("ptflops").plot_waterfall())


class Bars(HTMLParser):
    """The bars of a page: of each tool the left end, the width and the amount that is printed."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[list[tuple[float, float, int]]] = []
        self.amount = ""
        self.reads = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("class") == "waterfall":
            self.lists.append([])
        self.reads = given.get("class") == "amount"
        if tag == "i":
            left, width = re.findall(r"(?:left|width):([\d.]+)%", given["style"] or "")
            amount = int(self.amount.replace(",", "").replace("−", "-"))
            self.lists[-1].append((float(left), float(width), amount))

    def handle_data(self, data: str) -> None:
        if self.reads and data.strip():
            self.amount, self.reads = data.strip(), False


def test_the_page_draws_the_bars(found: dict[str, Reconciliation]) -> None:
    """The amounts on the page add up to the total, and lie within the track where those before end."""
    one = found["mobilenet_v3_small"]
    page = Bars()
    page.feed(one.to_html())
    assert len(page.lists) == len(one.recounts)
    for bars, r in zip(page.lists, one.recounts.values(), strict=True):
        (_, _, first), *steps, (_, _, last) = bars
        assert (first, last) == (r.macs, r.total)
        assert first + sum(amount for *_, amount in steps) == last
        level = bars[0][0] + bars[0][1]
        for left, width, amount in steps:
            assert level == pytest.approx(left if amount >= 0 else left + width, abs=0.01)
            level = left + width if amount >= 0 else left
        assert all(0 <= left <= left + width <= 100.01 for left, width, _ in bars)


def test_a_page_needs_no_script(found: dict[str, Reconciliation]) -> None:
    """Pages are small, hold their style, fetch nothing, and run what switches light and dark alone."""
    for page in (found["resnet18"].to_html(), found["resnet18"].recounts["thop"].to_html()):
        assert len(page) < 100_000
        assert page.count("<script") == page.count("function setTheme") == 1
        assert not re.search(r"(src|href)=\"(?!#|data:)", page)


def test_the_pages_of_one_tool_have_every_difference(found: dict[str, Reconciliation]) -> None:
    """Layer by layer, with the sign of each; a page of all tools has them by op."""
    r = found["resnet18"].recounts["fvcore"]
    page = r.to_html()
    assert page.count("<tr><td><code") == len(r.steps)
    assert all(f">{step.name or 'the model itself'}</code>" in page for step in r.steps)


def test_json_has_the_number_and_what_leads_to_it(found: dict[str, Reconciliation]) -> None:
    """Of every tool the version, unit, total, parameters and differences, which add up; also where there are none."""
    one = found["googlenet"]
    written = json.loads(one.to_json())
    assert [row["tool"] for row in written] == list(costmodel.TOOLS)
    for row in written:
        r = one.recounts[row["tool"]]
        alone = json.loads(r.to_json())
        assert alone == {key: value for key, value in row.items() if key != "why"}
        assert (alone["version"], alone["unit"], alone["total"]) == (r.tool.version, r.unit, r.total)
        assert (alone["params"], alone["input"], alone["mode"]) == (r.params, "2×3×64×64 float32", "eval")
        assert alone["macs"] + sum(step["amount"] for step in alone["differences"]) == alone["total"]


def test_a_tool_that_fails_is_in_every_view(tmp_path: Path) -> None:
    """It has a row with its reason and no number, and no waterfall."""
    model = nn.LayerNorm(8)
    one = reconcile(costmodel.profile(model, (8,)), costmodel.TOOLS.values())
    assert "fvcore" not in one.recounts
    row = next(row for row in json.loads(one.to_json()) if row["tool"] == "fvcore")
    assert (row["total"], row["params"], row["differences"]) == (None, None, [])
    assert "layer_norm of [8]" in row["why"]
    assert one.rows.set_index("tool")["total"]["fvcore"] is None
    for text in (str(one), one.to_markdown(), one.to_latex(), one.to_html(), one._repr_html_()):
        assert re.search(r"layer(\\\\|\\)?_norm of", text)
        assert "fails" in text
    for suffix in ("html", "md", "json", "csv", "tex", "txt"):
        assert one.save(tmp_path / f"r.{suffix}").stat().st_size
    assert not (tmp_path / "r_figures" / "waterfall-fvcore.svg").exists()
    assert (tmp_path / "r_figures" / "waterfall-thop.svg").exists()


def test_tables_of_a_paper_say_who_counted(found: dict[str, Reconciliation]) -> None:
    """LaTeX and Markdown name tool and version, and have every digit."""
    one = found["resnet18"]
    for r in one.recounts.values():
        for text in (r.to_markdown(), r.to_latex()):
            assert f"as counted by {r.tool.name} {r.tool.version}" in text
            assert f"{r.total:,}" in text
        assert f"{r.tool.name} {r.tool.version} &" in one.to_latex()
        assert f"| {r.tool.name} {r.tool.version} " in one.to_markdown()


def cells(row: str) -> list[str]:
    """The cells of a row of LaTeX."""
    return re.split(r"(?<!\\)&", row.removesuffix(r" \\"))


def test_latex_rows_have_as_many_cells_as_columns(found: dict[str, Reconciliation]) -> None:
    """What would end a cell or begin a command in a reason or a name is escaped."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    p = costmodel.profile(model, (1, 3, 8, 8))
    strange = costmodel.compare({"[50%] of a_b & c\\d": p}).profiles["[50%] of a_b & c\\d"].counted_as("ptflops")
    made = [strange, *found.values(), *recounts(found)]
    for result in made:
        _, body = result.to_latex().split("\\toprule\n")
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and not line.startswith(r"\multicolumn")]
        assert len({len(cells(row)) for row in rows}) == 1
        assert all(c.isascii() or c == "–" for c in body)
        assert not re.search(r"(?<!\\)[_%#^~]", body)
    assert "% [50%] of a_b & c\\d as counted by ptflops" in strange.to_latex()


def test_differences_stand_below_their_rows_in_latex(found: dict[str, Reconciliation]) -> None:
    """The table of all tools has them in a line of its whole width: as a column, the page would be too narrow."""
    one = found["resnet18"]
    lines = one.to_latex().splitlines()
    for line in one.lines:
        (at,) = [i for i, row in enumerate(lines) if row.startswith(f"{line.tool} {line.version} &")]
        assert lines[at + 1].startswith(r"\multicolumn{4}{p{0.8\linewidth}}{\footnotesize ")
        assert line.why.replace("_", r"\_") in lines[at + 1]


def test_names_that_harm_are_text() -> None:
    """No name of a layer breaks a line, becomes a tag or a formula, or moves a cursor."""
    model = Hostile()
    p = replace(costmodel.profile(model, (1, 2, 4, 4)), name="\x1b[31m<b>a|b\n[c]")
    one = reconcile(p, costmodel.TOOLS.values())
    for made in (one, *one.recounts.values()):
        assert all(
            c == "\n" or c.isprintable() for c in str(made) + made.to_markdown() + made.to_latex() + made.to_csv()
        )
        assert not re.search(r"^(lines|\[c\])", str(made) + made.to_csv() + made.to_markdown(), re.MULTILINE)
        for page in (made.to_html(), made._repr_html_()):
            assert "<img src=x" not in page
            assert "<b>a" not in page
        for table in re.findall(r"(?:^\|.*\n)+", made.to_markdown(), re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "[31mred" in one.recounts["ptflops"].to_csv()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_terminal_loses_no_word(found: dict[str, Reconciliation], width: int) -> None:
    """At any width tables fit, and have each difference with its whole reason."""
    for one in found.values():
        shown = waterfall_text(one, width)
        assert max(map(len, shown.splitlines())) <= width
        for line in one.lines:
            assert squeezed(line.why) in squeezed(shown)
    for r in recounts(found):
        shown = recount_text(r, width)
        assert max(map(len, shown.splitlines())) <= width
        words = set(shown.split())
        assert all(set(step.why.split()) <= words for step in r.steps)


def waterfall_text(one: Reconciliation, width: int) -> str:
    """A reconciliation at a width."""
    return str(views.render(one, "text", width=width))


def recount_text(r: Recount, width: int) -> str:
    """A recount at a width."""
    return str(views.render(r, "text", width=width))


def squeezed(text: str) -> str:
    """Without spaces and line breaks."""
    return "".join(text.split())


def test_they_pickle(found: dict[str, Reconciliation]) -> None:
    """Recounts and reconciliations are read back equal, their tools by name."""
    one = pickle.loads(pickle.dumps(found["resnet18"]))
    assert one.to_json() == found["resnet18"].to_json()
    assert one.recounts["thop"].tool is costmodel.TOOLS["thop"]
