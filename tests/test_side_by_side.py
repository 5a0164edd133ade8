"""Closed forms side by side: figures by hand, ratios derived in symbols, what goes to which formula, errors."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from fractions import Fraction
from math import isnan
from pathlib import Path

import pytest
import sympy

from costmodel import formulas as f
from costmodel.errors import CostModelError, InputError
from costmodel.side_by_side import COMPARED, named, parse, parse_arguments
from costmodel.symbolic import without_floors
from costmodel.views import formulas as view
from costmodel.views import styled
from tests.formulas.test_carriers import CALLS

THREE = ("conv", "depthwise_separable", "grouped_conv")
NUMBERS = {"c_in": 64, "c_out": 128, "kernel": 3, "size": (56, 56), "padding": 1, "groups": 4}
MACS = 56 * 56 * 128 * 64 * 9  # one product per output element, input channel and tap

COSTS = [name for name in CALLS if isinstance(f.CATALOG[name](**CALLS[name]), f.LayerCost | f.BlockCost)]


def test_the_three_convolutions_by_hand() -> None:
    """Standard, depthwise separable and grouped: every figure counted on paper, ratios to the first."""
    table = f.compare(*THREE, **NUMBERS).table
    assert list(table.index) == list(THREE)
    assert list(table.columns) == [*COMPARED, *(f"{q}_ratio" for q in COMPARED), "output_shape"]
    assert table["macs"].tolist() == [MACS, 56 * 56 * 64 * 9 + 56 * 56 * 64 * 128, MACS // 4]
    assert table["params"].tolist() == [
        128 * 64 * 9 + 128,
        64 * 9 + 64 * 128 + 2 * 64 + 2 * 128,  # two norms have a weight and a bias for each channel
        128 * 16 * 9 + 128,
    ]
    outputs = 56 * 56 * 128
    assert table["flops"].tolist()[0] == 2 * MACS + outputs
    assert table["memory_access"].tolist()[0] == 56 * 56 * 64 + 128 * 64 * 9 + 128 + outputs
    assert all(type(n) is int for q in COMPARED for n in table[q])
    # Howard et al., MobileNets, arXiv:1704.04861, section 3.1: 1 / N + 1 / D_K^2.
    assert table["macs_ratio"].tolist() == [1.0, float(Fraction(1, 128) + Fraction(1, 9)), 0.25]


def test_the_ratios_are_derived_in_symbols() -> None:
    """1 / N + 1 / k^2 and 1 / g come out of the formulas: at other numbers, too, they give the ratio of the figures."""
    c = f.compare(*THREE, **NUMBERS)
    n, k, g = sympy.symbols("c_out kernel groups", integer=True, positive=True)
    assert c.ratio_formula(c.sides[1], "macs").equals(1 / n + 1 / k**2)
    assert c.ratio_formula(c.sides[2], "macs").equals(1 / g)
    other = f.compare(*THREE, **{**NUMBERS, "c_out": 96, "kernel": 5, "padding": 2, "groups": 8}).ratios("macs")
    assert other == [1.0, 1 / 96 + 1 / 25, 1 / 8]


def test_symbols_as_arguments() -> None:
    """Figures are expressions, in which ints have been put in; an int beside them stays one."""
    groups = sympy.Symbol("groups", integer=True, positive=True)
    c = f.compare("conv", "grouped_conv", **{**NUMBERS, "groups": groups})
    assert c.table["macs"].tolist() == [MACS, MACS / groups]
    assert c.ratios("macs") == [1.0, 1 / groups]
    names = ("c_in", "c_out", "kernel", "height", "width")
    every = {name: sympy.Symbol(name, integer=True, positive=True) for name in names}
    size = (every.pop("height"), every.pop("width"))
    whole = f.compare("conv", "depthwise_separable", size=size, **every)
    assert whole.ratio_formula(whole.sides[1], "macs").equals(1 / every["c_out"] + 1 / every["kernel"] ** 2)


def test_a_dict_gives_labels_and_arguments() -> None:
    """Each formula has arguments of its own beside those for all; what differs between them is a number in ratios."""
    wide = {"c_out": 128}
    c = f.compare({"narrow": ("conv", {"c_out": 64}), "wide": ("conv", wide)}, c_in=8, kernel=3, size=9)
    assert c.table.loc["wide", "macs"] == 7 * 7 * 128 * 8 * 9
    assert c.ratio_formula(c.sides[1], "macs") == 2
    assert wide == {"c_out": 128}
    both = f.compare("grouped_conv(groups=2)", "grouped_conv(groups=4)", c_in=8, c_out=8, kernel=1, size=(4, 4))
    assert both.ratios("macs") == [1.0, 0.5]
    assert list(f.compare({"mine": "conv"}, c_in=1, c_out=1, kernel=1, size=(2, 2)).table.index) == ["mine"]


def test_groups_are_for_those_that_need_them() -> None:
    """``conv`` beside ``grouped_conv`` is the standard convolution, and the notes say so; alone it takes groups."""
    c = f.compare(*THREE, **NUMBERS)
    assert "groups" not in c.sides[0].arguments
    assert "groups is for grouped_conv; give conv its own as conv(groups=...)" in c.notes
    assert "depthwise_separable does not take padding and groups" in c.notes
    assert f.compare("conv", **NUMBERS).table["macs"].tolist() == [MACS // 4]


def test_outputs_of_other_sizes_are_pointed_out() -> None:
    """Without padding the standard convolution's output is smaller. Of sizes given apart no ratio is derived."""
    c = f.compare("conv", "depthwise_separable", c_in=64, c_out=128, kernel=3, size=56)
    assert any("differ in size: conv 54×54, depthwise_separable 56×56" in note for note in c.notes)
    n, k = sympy.symbols("c_out kernel", integer=True, positive=True)
    assert c.ratio_formula(c.sides[1], "macs").equals(1 / n + 1 / k**2)
    apart = f.compare({"a": ("conv", {"size": 8}), "b": ("conv", {"size": 16})}, c_in=1, c_out=1, kernel=3)
    assert apart.ratio_formula(apart.sides[1], "macs") is None


@pytest.mark.parametrize(
    ("names", "arguments", "says"),
    [
        (("konv",), {}, "no formula is called 'konv'; did you mean conv"),
        (("separable",), {}, "did you mean depthwise_separable"),
        (("zzz",), {}, "lists those of a group: convolutions, linear layers, norms, pooling"),
        (("conv", "linear"), {"c_inn": 1}, "none of conv, linear takes c_inn; did you mean c_in?"),
        (("conv(cin=3)",), {}, "conv does not take cin; did you mean c_in?"),
        (("conv", "conv"), {}, "'conv' is given twice"),
        (
            ("activation", "linear"),
            {},
            "activation needs name, and no symbol can stand for it: name=name: must be a word",
        ),
        (("conv",), {**NUMBERS, "groups": 5}, "c_in=64 is not divisible by groups=5"),
        (("conv",), {"groups": 5, "c_in": 64}, "conv: c_in=64 is not divisible by groups=5"),
        (("conv",), {"stride": 0}, "conv: stride=(0, 0): must be at least 1"),
        (("conv",), {"padding": "p"}, "conv: padding='p' is unknown: give a number per axis, 'same' or 'valid'"),
        (("conv",), {"groups": "a b"}, "conv: groups='a b': must be a whole number"),
        (("upsample",), {}, "upsample: give either factor or output_size"),
        (("fold",), {}, "fold needs output_size, and no symbol can stand for it: size=output_size does not say"),
        (("glu",), {}, "glu needs shape, and no symbol can stand for it"),
        (("conv",), {**NUMBERS, "c_in": 6.4}, "c_in=6.4: must be a whole number"),
        (("conv_output_size",), {"size": (8, 8), "kernel": 3}, "gives tuple, and no cost to compare"),
        ((), {}, "nothing to compare"),
        ((3,), {}, "3 is no formula"),
        (({"a": ("conv", 3)},), {}, "is no formula"),
        (({"a": ("conv", {3: 1})},), {}, "arguments have names, and 3 is none"),
        (("conv",), {**NUMBERS, "bias": float("inf")}, "bias=inf must be a whole number"),
        (("conv",), {**NUMBERS, "c_out": 1 + 2j}, "c_out=(1+2j) must be a whole number"),
        (("conv(c_in",), {}, "has no closing parenthesis"),
        (("conv(c_in=)",), {}, "cannot be read"),
        (("conv(1, 2)",), {}, "write NAME=VALUE"),
    ],
)
def test_errors_say_what_to_write(names: tuple[str, ...], arguments: dict[str, object], says: str) -> None:
    """Whatever is given: an error of the library, which names the nearest or what there is."""
    with pytest.raises(InputError) as raised:
        f.compare(*names, **arguments)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 500


def test_a_word_for_a_count_is_a_symbol() -> None:
    """A name of one's own, or that of another argument, which then has its value; a word that chooses stays a word."""
    c_in, g = sympy.symbols("c_in g", integer=True, positive=True)
    at = {"c_out": 8, "kernel": 3, "size": 9, "bias": False}
    assert f.compare("conv", groups="g", **at).table["params"].tolist() == [72 * c_in / g]
    assert f.compare("conv", groups="c_in", **at).table["params"].tolist() == [72]
    assert f.compare("conv", groups="c_in", c_in=4, **at).table["params"].tolist() == [72]
    assert f.compare("conv", padding="same", c_in=4, **at).sides[0].cost.output_size == (9, 9)


@pytest.mark.parametrize("written", ["size=(h,w)", "size=[h, w]", "size=hxw"])
def test_a_word_in_a_size_is_a_symbol(written: str) -> None:
    """Each axis may be a number or a symbol, in parentheses or with an x."""
    h, w = (sympy.Symbol(name, integer=True, positive=True) for name in "hw")
    (cost,) = (side.cost for side in f.compare(f"pointwise_conv(c_in=2, c_out=3, {written})").sides)
    assert cost.macs == 6 * h * w
    assert f.compare("pointwise_conv(c_in=2, c_out=3, size=7xw)").sides[0].cost.macs == 42 * w
    assert parse_arguments("name=max, kernel=1x7") == {"name": "max", "kernel": (1, 7)}


def test_a_symbol_of_another_formula_is_none_that_was_given() -> None:
    """What one formula needs and another does not take is not said to have been left out."""
    assert not [note for note in f.compare("linear", "conv").notes if "does not take" in note]


def test_what_is_on_by_default_is_said() -> None:
    """A bias that nobody asked for is in the figures; one that was given stands in the call."""
    c = f.compare("conv", "grouped_conv", "depthwise_separable", **NUMBERS)
    assert "bias=True by default: conv, grouped_conv" in c.notes
    assert "norm=True by default: depthwise_separable" in c.notes
    given = f.compare("conv", **NUMBERS, bias=True)
    assert not any("bias" in note for note in given.notes)


def test_what_is_not_given_is_a_symbol() -> None:
    """In Python as on the command line; what only one of the formulas is not given, the other has as a number."""
    c = f.compare("conv(c_in=3)", "depthwise_separable", kernel=3, padding=1)
    c_in, c_out, height, width = sympy.symbols("c_in c_out H W", integer=True, positive=True)
    conv, separable = c.table["macs"]
    assert sympy.expand(conv - 27 * c_out * height * width) == 0
    assert sympy.expand(separable - c_in * (9 + c_out) * height * width) == 0
    assert "Symbols, as no number is given: H, W, c_in, c_out" in c.notes


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_no_symbol_is_broken_in_a_narrow_terminal(width: int) -> None:
    """A formula breaks between its factors; a column that does not fit is named."""
    c = f.compare("conv", "depthwise_separable", **NUMBERS)
    text = styled.plain(view.parts(c, width), width)
    assert max(map(len, text.splitlines())) <= width
    table = text.partition("─\n")[2].partition("\ndepthwise_separable counts")[0]
    words = {"ratio", "conv", "depthwise_separable", "params", "MACs", "FLOPs", "memory", "access", "elements"}
    symbols = {"H", "W", "H_out", "W_out", "c_in", "c_out", "kernel", "groups"}
    assert set(re.findall(r"[A-Za-z_]+", table)) <= words | symbols
    assert ("columns left out at this width: numbers" in text) == (width <= 60)


def test_every_formula_is_in_one_group() -> None:
    """The groups hold the whole catalogue, each formula once."""
    grouped = [function.__name__ for group in f.GROUPS.values() for function in group]
    assert sorted(grouped) == sorted(set(grouped)) == sorted(f.CATALOG)
    for near, meant in (("Conv2d", "conv"), ("BatchNorm2d", "batch_norm"), ("ghost", "ghost_module")):
        with pytest.raises(CostModelError, match=meant):
            named(near)


@pytest.mark.parametrize("name", COSTS)
def test_every_formula_compares_with_itself(name: str) -> None:
    """Ratio 1 or none, in every format; an expression that is shown gives the figure where numbers are put in."""
    c = f.compare({"a": (name, CALLS[name]), "b": (name, CALLS[name])})
    for quantity in COMPARED:
        assert all(ratio == 1 or isnan(ratio) for ratio in c.ratios(quantity))
        side = c.sides[0]
        shown = c.formula(side, quantity)
        if shown is not None:
            values = {symbol: side.values[symbol.name] for symbol in shown.free_symbols}
            assert shown.subs(values) == getattr(f.CATALOG[name](**CALLS[name]), quantity)
    for text in (str(c), c.to_markdown(), c.to_html(), c.to_csv(), c.to_latex(), c._repr_html_()):
        assert "b" in text
    assert json.loads(c.to_json())["formulas"][1]["figures"]["macs" if c.sides[0].cost.macs else "memory_access"] >= 0
    assert str(pickle.loads(pickle.dumps(c))) == str(c)


def test_huge_counts() -> None:
    """Counts are exact at any size, and every format has them."""
    c = f.compare("conv", "depthwise_separable", c_in=10**60, c_out=10**60, kernel=3, size=(10**30, 10**30), padding=1)
    assert c.table["macs"].tolist()[0] == 9 * 10**180
    assert c.ratios("macs")[1] == pytest.approx(1 / 9)
    assert f"{9 * 10**180:,}" in c.to_markdown()
    assert c.plot("macs").axes
    assert f.compare({"a": ("conv", {"c_in": 1}), "b": ("conv", {"c_in": 10**400})}, c_out=1, kernel=1, size=1).ratios(
        "macs"
    ) == [1.0, float("inf")]


def test_arguments_as_text() -> None:
    """What a command line gives: ints, sizes with an x, words, tuples; nothing is executed."""
    assert parse("conv") == ("conv", {})
    assert parse_arguments("size=56x28,groups=4,bias=false") == {"size": (56, 28), "groups": 4, "bias": False}
    assert parse_arguments("size=(7, 7, 7), function=gelu, padding='same'") == {
        "size": (7, 7, 7), "function": "gelu", "padding": "same",
    }  # fmt: skip
    assert parse_arguments("") == {}
    for bad in ("a=__import__('os')", "**{}", "1", "a=1)", "a=" + "(" * 10_000):
        with pytest.raises(InputError):
            parse_arguments(bad)


def test_floors_that_round_stay() -> None:
    """Only what is whole loses its floor."""
    c = sympy.Symbol("c_in", integer=True, positive=True)
    assert without_floors(c // 2, {"c_in": 7}) == c // 2
    assert without_floors(c // 2, {"c_in": 8}) == c / 2


def test_plot_draws_a_bar_for_each(tmp_path: Path) -> None:
    """A panel for each quantity, or one of them in given axes; what is an expression has its text and no bar."""
    from matplotlib.figure import Figure

    c = f.compare(*THREE, **NUMBERS)
    panels = [ax for ax in c.plot().axes if ax.get_visible()]
    assert [ax.get_title("left") for ax in panels] == ["params", "MACs", "FLOPs", "memory access (elements)"]
    widths = [bar.get_width() for bar in panels[1].patches]
    assert [width / widths[0] for width in widths] == pytest.approx(c.ratios("macs"))
    ax = Figure().add_subplot()
    assert c.plot("macs", ax) is ax.figure
    with pytest.raises(InputError, match="one set of axes holds one quantity"):
        c.plot(ax=ax)
    with pytest.raises(InputError, match="there are params"):
        c.plot("weights")
    symbol = sympy.Symbol("groups", integer=True, positive=True)
    half = f.compare("conv", "grouped_conv", **{**NUMBERS, "groups": symbol}).plot("macs").axes[0]
    assert [bar.get_width() for bar in half.patches] == [1, 0]
    assert any("231211008/groups" in text.get_text() for text in half.texts)


def test_saved_in_every_format(tmp_path: Path) -> None:
    """Like other results, and as a picture; the same bytes for the same comparison."""
    c = f.compare(*THREE, **NUMBERS)
    for suffix in ("md", "html", "json", "csv", "tex", "txt", "svg", "png"):
        first = c.save(tmp_path / f"a.{suffix}").read_bytes()
        assert first
        assert c.save(tmp_path / f"a.{suffix}").read_bytes() == first
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a_figures" / "side-by-side.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()
    read = json.loads((tmp_path / "a.json").read_text())["formulas"][1]
    assert read["figures"]["macs"] == 27_496_448
    assert read["ratios_in_symbols"]["macs"] == "kernel**(-2) + 1/c_out"
    assert "1704.04861" in read["source"]
    page = (tmp_path / "a.html").read_text("utf-8")
    assert "27,496,448" in page
    assert "ratio 1/c_out + 1/kernel²" in page
    assert " `1/c_out + 1/kernel²` |" in (tmp_path / "a.md").read_text("utf-8")


WITHOUT_TORCH = """
import sys, types
sys.modules["torch"] = None  # an import of it fails
package = types.ModuleType("costmodel")  # in the place of costmodel/__init__.py, which imports torch
package.__path__ = [sys.argv[1]]
sys.modules["costmodel"] = package
from pathlib import Path
from costmodel.side_by_side import compare
c = compare("conv", "depthwise_separable", c_in=64, c_out=128, kernel=3, size=56, padding=1)
print(c, c.ratio_formula(c.sides[1], "macs"))
for suffix in ("md", "html", "json", "csv", "tex", "txt", "svg", "png"):
    c.save(Path(sys.argv[2]) / f"c.{suffix}")
from costmodel.cli.explain import explain
explain(["conv"])
explain(["conv", "grouped_conv"], ["c_in=64,c_out=128"])
"""


def test_without_torch(tmp_path: Path) -> None:
    """The comparison, its formats and the command work in a process in which torch cannot be imported."""
    package = Path(f.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(package), str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kernel**(-2) + 1/c_out" in done.stdout
