from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch
from torch import nn

import costmodel
from costmodel.difference import Difference
from costmodel.views import differences, markdown

EVIL = "a|b`c`<script>alert(1)</script>\n# *x* [l](http://e.com) @user #1 https://e.com www.e.com"


def evil_model() -> nn.Module:
    """A model whose names are made to break out of a table."""
    kind = type("Ev|l`<b>", (nn.Linear,), {})
    model = nn.Sequential()
    model.add_module(EVIL.replace(".", ""), kind(4, 4))
    return model


def cells(line: str) -> list[str]:
    """A table row's cells as GitHub splits them: at pipes that no backslash escapes."""
    return [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def tables(text: str) -> list[list[str]]:
    """Every table as its lines."""
    return [block.strip().split("\n") for block in re.findall(r"(?:^\|.*$\n?)+", text, re.MULTILINE)]


@pytest.mark.parametrize("view", ["profile", "comparison", "crosscheck", "difference"])
def test_texts_of_a_model_stay_in_their_cells(view: str) -> None:
    """No name of a model adds a cell, a tag, a link, a mention, a heading or a line."""
    p = costmodel.profile(evil_model(), (1, 4))
    c = costmodel.compare({EVIL: evil_model()}, (1, 4))
    bigger = costmodel.profile(evil_model(), (2, 4))
    text = {
        "profile": p.to_markdown(),
        "comparison": c.to_markdown(),
        "crosscheck": p.crosscheck().to_markdown(),
        "difference": differences.difference(Difference(p, bigger)),
    }[view]
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "@user" not in text
    assert "://e" not in text
    assert not re.search(r"^# \*x", text, re.MULTILINE)
    for table in tables(text):
        assert len({len(cells(line)) for line in table}) == 1
    if view != "crosscheck":
        assert "alert" in text  # the name is there, harmless


def test_escaping_can_be_seen_through() -> None:
    """Escaped text reads as it was: only backslashes and entities are added."""
    import html

    text = "conv_1*x* <a> [b] & c|d"
    assert html.unescape(re.sub(r"\\(.)", r"\1", markdown.escape(text))) == text
    assert markdown.escape("layer1.0.conv_2") == "layer1.0.conv_2"


def test_a_profile_tells_totals_conventions_and_verdict_before_its_layers() -> None:
    """The summary is first, then what is counted, then whether it is true; the long table is folded."""
    text = costmodel.profile("mobilenet_v2").to_markdown(fold=False)
    parts = (
        "3,504,872", "300,774,272", "what most papers print as FLOPs", "agree to the last", "have a rule", "<details>",
        "features.0.conv",
    )  # fmt: skip
    order = [text.index(part) for part in parts]
    assert order == sorted(order)
    layers = tables(text)[-1]
    assert sum("Conv2d" in line for line in layers) == 52  # Table 2 of the paper: 1 + (17 * 3 - 1) + 1
    assert all(re.fullmatch(r" -+: ?| -+ ?", cell) for cell in layers[1].split("|")[1:-1])


def test_a_comparison_of_nine_networks_is_short() -> None:
    """It fits into a comment on GitHub, of 65,536 characters: totals and kinds of layer, but no layers."""
    names = ["alexnet", "vgg16", "resnet50", "resnet152", "inception_v4", "mobilenet_v2", "efficientnet_b7", "ghostnet"]
    c = costmodel.compare([*names, "shufflenet_v2"], baseline="vgg16")
    text = c.to_markdown()
    assert len(text.encode()) < 65_536
    assert all(f"\n## {name}\n" in text for name in names)
    assert "60.2 M" in text  # the parameters of ResNet-152, He et al., table 1
    assert "classifier.1" not in text


def test_figures_lie_beside_a_saved_report(tmp_path: Path) -> None:
    """Each is linked by a relative path that a viewer can follow, and a report saved again is the same to the byte."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    p, c = costmodel.profile(net, (1, 3, 8, 8)), costmodel.compare({"a": net, "b": net[:2]}, (1, 3, 8, 8))
    for result, expected in (
        (p, {"kinds", "layers", "receptive-field", "memory"}),
        (c, {"scatter", "ratios-macs", "ratios-params", "ratios-memory-access"}),
    ):
        path = result.save(tmp_path / "of mine" / "my report.md")
        linked = [unquote(link) for link in re.findall(r"^!\[.+\]\((\S+)\)$", path.read_text("utf-8"), re.MULTILINE)]
        assert {Path(link).stem for link in linked} == expected
        assert all(not Path(link).is_absolute() for link in linked)
        before = [(path.parent / link).read_bytes() for link in linked]
        assert all(b"<svg" in figure for figure in before)
        result.save(path)
        assert [(path.parent / link).read_bytes() for link in linked] == before


def test_a_report_has_no_empty_figure(tmp_path: Path) -> None:
    """Where nothing is multiplied there is no figure of MACs, and without an image no receptive field."""
    path = costmodel.profile(nn.ReLU(), (3,)).save(tmp_path / "p.md")
    assert [Path(link).stem for link in re.findall(r"\((\S+\.svg)\)", path.read_text("utf-8"))] == ["memory"]


def test_an_inexact_profile_says_so_in_markdown() -> None:
    """Totals carry ≥ and the missing rule is named."""
    p = costmodel.profile(Unruled(), (2, 3))
    text = p.to_markdown()
    assert not p.is_exact
    assert "| ≥ " in text
    assert "lower bounds" in text
    assert "i0" in text


class Unruled(nn.Module):
    """Runs an op that has no rule."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.i0e(x) + unruled(x)


@torch.library.custom_op("costmodel_tests::i0_like", mutates_args=())
def unruled(x: torch.Tensor) -> torch.Tensor:
    """An op of the tests' own, without a rule."""
    return x.clone()


@unruled.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


def test_a_difference_ranks_the_layers_that_caused_it() -> None:
    """Totals before and after, and the changed layers, those first that moved a total most."""
    old = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    new = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 80))
    d = Difference(costmodel.profile(old, (1, 8)), costmodel.profile(new, (1, 8)))
    assert [c.name for c in d.layers] == ["2", "1"]
    text = differences.difference(d)
    totals = {cells(line)[0]: cells(line)[1:] for line in tables(text)[0]}
    assert totals["MACs"] == ["192", "768", "+576", "+300.0%"]
    assert totals["params"] == ["216", "856", "+640", "+296.3%"]
    assert [cells(line)[0] for line in tables(text)[1][2:]] == ["2", "1"]
