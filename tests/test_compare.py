from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    for shown in (str(c), c.to_markdown(), c._repr_html_()):
        assert "–" in shown
        assert not re.search(r"(nan|inf)\s*×", shown, re.IGNORECASE)
    labels = [text.get_text().strip() for text in c.plot_ratios("macs").axes[0].texts]
    assert labels == ["–", "–"]
    rows = list(csv.DictReader(io.StringIO(c.to_csv())))
    assert [row["macs_ratio"] for row in rows] == ["", ""]


def test_specs_are_loaded() -> None:
    """A list of spec strings is enough: each model says what it takes."""
    c = costmodel.compare(["resnet18", "mobilenet_v1(width=0.25)"])
    assert c.table.loc["resnet18", "params"] == 11_689_512


def test_wrong_arguments_are_told() -> None:
    """A baseline that is not there, nothing to compare, and what is no list of models."""
    with pytest.raises(InputError, match="'c' is not among the models: a"):
        costmodel.compare({"a": linear(4)}, (1, 8), baseline="c")
    with pytest.raises(InputError, match="nothing to compare"):
        costmodel.compare([])
    for unnamed in ("resnet18", {1: linear(4)}):
        with pytest.raises(InputError, match="dict of name to model, or a list of spec strings"):
            costmodel.compare(unnamed, (1, 8))  # type: ignore[call-overload]


def test_modules_in_a_list_are_named_by_their_class() -> None:
    """Those of one class are numbered, and a profile has its own name."""
    named = costmodel.profile(nn.ReLU(), (1, 8))
    c = costmodel.compare([linear(4), nn.ReLU(), linear(5), named, linear(6)], (1, 8))
    assert list(c.profiles) == ["Linear", "ReLU", "Linear (2)", "ReLU (2)", "Linear (3)"]
    assert c.table["macs"].tolist() == [32, 0, 40, 0, 48]
    assert [p.name for p in c.profiles.values()] == list(c.profiles)


NETS = {"net": 4, "net (2)": 5, "net (3)": 6, "net (4)": 7}
"""Outputs of linear layers, by names such as a comparison of unnamed models gives."""


@pytest.mark.parametrize("order", list(itertools.permutations(NETS)))
def test_no_given_name_is_lost_to_a_generated_one(order: tuple[str, ...]) -> None:
    """Results whose names differ keep them, in any order; one more of a name that is there has a free number."""
    named = {name: costmodel.profile(linear(NETS[name]), (1, 8)) for name in order}
    profiles = [replace(p, name=name) for name, p in named.items()]
    assert costmodel.compare(profiles).table["macs"].to_dict() == {name: 8 * NETS[name] for name in order}
    assert list(costmodel.compare([profiles[0], *profiles]).profiles)[1:] == [
        {"net": "net (5)"}.get(order[0], f"{order[0]} (2)"), *order[1:]
    ]  # fmt: skip


def test_a_comparison_has_a_row_for_each_model_given() -> None:
    """Of a spec, a profile, a class or a training step that is given again, too; the first of a name keeps it."""
    spec, p, step = (
        "mobilenet_v1_cifar",
        costmodel.profile(linear(4), (1, 8)),
        costmodel.training_step(linear(4), (1, 8)),
    )
    assert list(costmodel.compare([spec, spec]).profiles) == [spec, f"{spec} (2)"]
    assert list(costmodel.compare([p, p, p]).profiles) == ["Linear", "Linear (2)", "Linear (3)"]
    assert list(costmodel.compare([step, step]).steps) == ["Linear", "Linear (2)"]
    many = [replace(p, name=name) for name in ("a", "a", "a (2)", "a (2)", "a (2) (2)", "a")]
    c = costmodel.compare(many, baseline="a")
    assert list(c.profiles) == ["a", "a (3)", "a (2)", "a (2) (3)", "a (2) (2)", "a (4)"]
    assert len(c.table) == len(c.to_csv().splitlines()) - 1 == 6


def test_a_model_that_is_given_again_on_the_command_line_is_a_row(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A spec, a saved profile or a step: as many rows as models. A name that was chosen is not numbered but refused."""
    from costmodel.cli import main

    path = tmp_path / "saved.json"
    costmodel.profile(linear(4), (1, 8)).save(path)
    vgg, saved = "vgg11", str(path)
    for given, rows in (
        ([vgg, vgg], [vgg, "vgg11 (2)"]),
        ([saved, saved], [saved, f"{saved} (2)"]),
        ([vgg, vgg, "--step"], [vgg, "vgg11 (2)"]),
    ):
        with pytest.raises(SystemExit) as left:
            main(["compare", *given, "--csv"])
        assert not left.value.code
        assert [row["model"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))] == rows
    for given, said in (
        (["a=vgg11", "a=vgg11"], "'a' names vgg11 and vgg11: give each of them a name of its own"),
        (["a=vgg11", "b=vgg11", "b"], "'b' names vgg11 and b: give"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["compare", *given])
        assert left.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_progress_sees_every_name() -> None:
    """Whoever shows progress is handed the names."""
    seen: list[str] = []

    def progress(names):  # type: ignore[no-untyped-def]  # a stub
        for name in names:
            seen.append(name)
            yield name

    costmodel.compare({"a": linear(4), "b": linear(5)}, (1, 8), progress=progress)
    assert seen == ["a", "b"]


@pytest.mark.parametrize(
    "progress",
    [
        lambda names: names[:1], lambda names: [], lambda names: [*names, "c"], lambda names: names[::-1],
        lambda names: [*names, names[0]], lambda names: None, 3, None,
    ],
)  # fmt: skip
def test_no_model_is_lost_to_a_progress_that_drops_names(progress: Any) -> None:
    """Whatever does not pass on the names as they are is an error."""
    with pytest.raises(InputError, match=r"progress=.*iterate"):
        costmodel.compare({"a": linear(4), "b": linear(5)}, (1, 8), progress=progress)


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


def test_least_times_on_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column for each device: 64 operations, or 4 x 8 + 8 + 4 numbers of 4 bytes, at a million a second."""
    monkeypatch.chdir(tmp_path)
    for name, peak, bandwidth in (("slow", 1e6, 1e12), ("narrow", 1e12, 1e6)):
        (tmp_path / f"{name}.toml").write_text(
            f'[{name}]\ntitle = "{name}"\npeak.float32.value = {peak}\npeak.float32.source = "made up"\n'
            f'bandwidth.value = {bandwidth}\nbandwidth.source = "made up"\n'
        )
    c = costmodel.compare({"one": linear(4)}, (1, 8), devices=["slow.toml", "narrow.toml"])
    assert c.table.loc["one", "least ms on slow.toml"] == 0.064
    assert c.table.loc["one", "least ms on narrow.toml"] == 4 * 44 / 1e3
    assert c.lower_is_better("least ms on slow.toml")
    assert "a lower bound on slow, by the roofline" in str(c)
    with pytest.raises(InputError, match="give names of devices"):
        costmodel.compare({"one": linear(4)}, (1, 8), devices=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has the name of a column of devices"):
        costmodel.compare(
            {"one": linear(4)},
            (1, 8),
            devices="h100",
            metrics={"least ms on h100": {"one": 1}},  # type: ignore[arg-type]
        )
