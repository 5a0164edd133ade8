from __future__ import annotations

import csv
import io
import json
import math

import pytest
import torch
from torch import nn

import costmodel
from costmodel.difference import Difference
from costmodel.errors import InputError


def linear(n: int) -> nn.Module:
    """n·8 MACs."""
    return nn.Linear(8, n, bias=False)


def test_a_table_with_ratios_to_the_baseline() -> None:
    """One row per model in the order given; ratios are to the baseline."""
    c = costmodel.compare({"a": linear(4), "b": linear(6)}, (1, 8), baseline="a")
    assert c.table["macs"].tolist() == [32, 48]
    assert c.table["macs_ratio"].tolist() == [1.0, 1.5]
    assert list(c.profiles) == ["a", "b"]
    assert c.profiles["b"].name == "b"


def test_nothing_of_the_baseline_has_no_ratio() -> None:
    """A ratio to zero is not a number, and no error."""
    c = costmodel.compare({"none": nn.ReLU(), "some": linear(8)}, (1, 8), baseline="none")
    assert all(math.isnan(x) for x in c.table["macs_ratio"])
    assert "nan" in str(c)


def test_specs_are_loaded() -> None:
    """A list of spec strings is enough: each model says what it takes."""
    c = costmodel.compare(["resnet18", "mobilenet_v1(width=0.25)"])
    assert c.table.loc["resnet18", "params"] == 11_689_512


def test_wrong_arguments_are_told() -> None:
    """A baseline that is not there, nothing to compare, and models without a name."""
    with pytest.raises(InputError, match="'c' is not among the models: a"):
        costmodel.compare({"a": linear(4)}, (1, 8), baseline="c")
    with pytest.raises(InputError, match="nothing to compare"):
        costmodel.compare([])
    for unnamed in ("resnet18", [linear(4)]):
        with pytest.raises(InputError, match="dict of name to model, or a list of spec strings"):
            costmodel.compare(unnamed, (1, 8))  # type: ignore[arg-type]


def test_progress_sees_every_name() -> None:
    """Whoever shows progress is handed the names."""
    seen: list[str] = []

    def progress(names):  # type: ignore[no-untyped-def]  # a stub
        for name in names:
            seen.append(name)
            yield name

    costmodel.compare({"a": linear(4), "b": linear(5)}, (1, 8), progress=progress)
    assert seen == ["a", "b"]


def test_the_forms_of_a_comparison_agree() -> None:
    """CSV and JSON hold the same exact integers as the table."""
    c = costmodel.compare({"a": linear(4), "b": linear(6)}, (1, 8))
    rows = list(csv.DictReader(io.StringIO(c.to_csv())))
    read = json.loads(c.to_json())
    assert [int(row["macs"]) for row in rows] == c.table["macs"].tolist()
    assert [m["totals"]["macs"] for m in read["models"]] == c.table["macs"].tolist()
    assert c.to_latex().count(r" \\") == 3


def test_every_form_names_the_input_of_each_model() -> None:
    """Text, Markdown, page, notebook, CSV, JSON, LaTeX and table: the same input, with no warning."""
    c = costmodel.compare({"a": linear(4), "b": linear(6)}, costmodel.Input((3, 8), torch.float32))
    assert c.inputs == {"a": "3×8 float32", "b": "3×8 float32"}
    assert (c.table["input"].tolist(), c.table["mode"].tolist()) == (["3×8 float32"] * 2, ["eval"] * 2)
    assert list(c.table.columns[-2:]) == ["input", "mode"]
    forms = (str(c), c.to_markdown(), c.to_html(), c._repr_html_(), c.to_csv())
    assert all("3×8 float32" in form for form in forms)
    assert r"a & 3$\times$8 float32 & 32 &" in c.to_latex()
    assert [m["inputs"] for m in json.loads(c.to_json())["models"]] == [[{"shape": [3, 8], "dtype": "float32"}]] * 2
    assert c.warnings == ()
    assert json.loads(c.to_json())["warnings"] == []
    assert not any("differ:" in form for form in forms)


def test_inputs_that_differ_are_warned_of_in_every_form() -> None:
    """Which model has which; the input of most is named last. Modes of saved profiles may differ, too."""
    p = costmodel.profile(linear(4), (3, 8))
    c = costmodel.compare({"a": p, "b": costmodel.profile(linear(4), (5, 8)), "c": p})
    warning = "he inputs differ: 5×8 float32 for b; 3×8 float32 for the others"
    forms = (str(c), c.to_markdown(), c.to_html(), c._repr_html_())
    assert all(warning in form for form in forms)
    assert "% the inputs differ: 5×8 float32 for b" in c.to_latex()
    assert json.loads(c.to_json())["warnings"] == [f"t{warning}"]
    assert c.table["input"].tolist() == ["3×8 float32", "5×8 float32", "3×8 float32"]
    train = costmodel.profile(linear(4), (3, 8), mode="train")
    assert costmodel.compare({"a": p, "b": train}).warnings == ("the modes differ: eval mode for a; train mode for b",)


def test_a_narrow_terminal_names_the_input_below_the_table() -> None:
    """Where the column has no room, one line says what all models were given, or the warning who was given what."""
    from costmodel.views.text import comparison

    shown = comparison(costmodel.compare(["resnet18", "mobilenet_v2"]), width=60)
    assert "input 1×3×224×224 float32, eval mode" in shown
    shown = comparison(costmodel.compare(["resnet18", "inception_v3"]), width=60)
    assert "1×3×299×299 float32 for inception_v3" in " ".join(shown.split())


def test_a_difference_finds_new_gone_and_changed_layers() -> None:
    """Layers are matched by name; what is as it was is not listed."""

    def model(**layers: nn.Module) -> costmodel.Profile:
        chain = nn.Sequential()
        for name, layer in layers.items():
            chain.add_module(name, layer)
        return costmodel.profile(chain, (1, 8))

    old = model(same=linear(8), changed=linear(8), gone=linear(8))
    new = model(same=linear(8), changed=nn.Linear(8, 8), new=nn.Linear(8, 16))
    assert {c.name: c.what for c in Difference(old, new).layers} == {"changed": "changed", "gone": "gone", "new": "new"}


def test_growth_is_measured_exactly() -> None:
    """One more than the limit is over it; the limit itself is not."""
    from fractions import Fraction

    old = costmodel.profile(linear(100), (1, 8))
    at, over = costmodel.profile(linear(101), (1, 8)), costmodel.profile(linear(102), (1, 8))
    assert "params" not in Difference(old, at).grown(Fraction(1, 100))
    assert "params" in Difference(old, over).grown(Fraction(1, 100))
    assert Difference(over, old).grown(Fraction(0)) == []


def test_half_precision_is_a_difference_in_bytes_alone() -> None:
    """As many elements, half the bytes, in the totals and in the layer."""
    whole, half = (
        costmodel.profile(linear(4).to(dtype), costmodel.Input((2, 8), dtype)) for dtype in (torch.float32, torch.half)
    )
    found = Difference(whole, half)
    (layer,) = found.layers
    for name in ("memory_access_bytes", "peak_memory"):
        was, now = found.totals[name]
        assert was == 2 * now, name
    assert layer.difference("memory_access") == 0
    assert layer.difference("memory_access_bytes") == -2 * (2 * 8 + 8 * 4 + 2 * 4)
