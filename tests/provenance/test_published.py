"""``costmodel.published``: every way to count, by hand on small models; what is made of it; the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import costmodel
from costmodel.cli import main


def net() -> nn.Sequential:
    """A convolution of 2,160 MACs, a batch norm of 80 elements, a linear layer of 160 MACs."""
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(80, 2))


class Language(nn.Module):
    """Tables of 7 tokens and 4 positions, an output that shares the first, and a frozen layer that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(7, 3), nn.Embedding(4, 3)
        self.norm, self.out, self.idle = nn.LayerNorm(3), nn.Linear(3, 7, bias=False), nn.Linear(2, 2)
        self.out.weight = self.tokens.weight
        self.idle.requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> Any:
        return self.out(self.norm(self.tokens(x) + self.positions.weight))


def counts(found: costmodel.Provenance) -> dict[str, int]:
    """The count of each convention."""
    return dict(zip(found.table["convention"], found.table["count"], strict=True))


CONV, NORM, LINEAR = 5 * 3 * 9 + 5, 2 * 5, 80 * 2 + 2


@pytest.mark.parametrize(
    ("quantity", "convention", "count"),
    [
        ("macs", "MACs", 2160 + 160),
        ("flops", "2 MACs", 2 * (2160 + 160)),
        ("macs", "FLOPs", 2 * (2160 + 160) + 80 + 2 * 80 + 2),
        ("macs", "MACs of convolutions", 2160),
        ("macs", "MACs but for the last layer", 2160),
        ("flops", "fvcore", 2160 + 160 + 2 * 80),
        ("flops", "twice fvcore", 2 * (2160 + 160 + 2 * 80)),
        ("flops", "FlopCounterMode", 2 * (2160 + 160)),
        ("flops", "half of FlopCounterMode", 2160 + 160),
        ("params", "params", CONV + NORM + LINEAR),
        ("params", "params but for norms", CONV + LINEAR),
        ("params", "weights", 5 * 3 * 9 + 80 * 2),
        ("params", "params and running statistics", CONV + NORM + LINEAR + 2 * 5),
        ("params", "params but for the last layer", CONV + NORM),
        ("activations", "activations", 80 + 2),
        ("activations", "activations of convolutions", 80),
        ("activations", "fvcore", 80 + 2),
    ],
)
def test_each_convention_on_a_small_network(quantity: str, convention: str, count: int) -> None:
    """What it counts is what it says, and it makes that number."""
    found = costmodel.published(net(), (1, 3, 4, 4), **{quantity: count})  # type: ignore[arg-type]  # one of four
    assert counts(found)[convention] == count
    assert convention in set(found.matches["convention"])


def test_each_convention_on_a_small_language_model() -> None:
    """Shared tables count once, and are no layer's own; frozen parameters and those of idle layers count apart."""
    params = 7 * 3 + 4 * 3 + 6 + 6
    found = counts(costmodel.published(Language(), costmodel.Input((1, 4), torch.int64), params=params))
    assert found["params"] == params
    assert found["trainable params"] == found["ptflops"] == params - 6
    assert found["active params"] == params - 6
    assert found["params but for embeddings"] == 12
    assert found["params but for norms"] == params - 6
    assert "params but for the last layer" not in found  # its only weight is the table's


def test_what_leaves_nothing_out_is_no_convention_of_its_own() -> None:
    """Without norms, biases and tables, parameters are counted in one way."""
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False))
    kinds = costmodel.published(model, (1, 3), params=20).findings[0].reckonings
    assert [r.convention for r in kinds if r.kind in ("library", "paper")] == [
        "params",
        "params but for the last layer",
    ]


@pytest.mark.parametrize("name", ["vgg16", "mobilenet_v2", "shufflenet_v1", "efficientnet_b0"])
def test_whole_networks_in_closed_form(name: str) -> None:
    """What is left out of a paper's network is what its table says, by arithmetic alone."""
    form = costmodel.models.closed_form(name)
    norms = [row.cost for row in form.rows if row.kind == "norm"]
    last = [row for row in form.rows if row.kind == "linear"][-1]
    found = counts(costmodel.published(name, macs="1M", params="1M"))
    expected = {
        "MACs of convolutions": sum(row.macs for row in form.rows if row.kind.endswith("conv")),
        "MACs but for the last layer": form.macs - last.macs,
        "params but for the last layer": form.params - last.cost.params,
        "params but for norms": form.params - sum(norm.params for norm in norms),
        "params and running statistics": form.params + form.buffers - len(norms),  # a norm counts its batches, too
    }
    absent = {"params but for norms", "params and running statistics"} if name == "vgg16" else set()
    assert {convention: found.get(convention) for convention in expected} == expected | dict.fromkeys(absent)


class Attention(nn.Module):
    """Attention of 2 heads over 5 keys of 4 numbers, fused or written out."""

    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        if self.fused:
            return functional.scaled_dot_product_attention(q, k, v)
        return torch.matmul(torch.matmul(q, k.transpose(-2, -1)).softmax(-1), v)


def test_attention_written_out() -> None:
    """Of a model with the fused op, what fvcore counts in one without: two products, 3 queries each."""
    shapes = [(1, 2, 3, 4), (1, 2, 5, 4), (1, 2, 5, 6)]
    fused = costmodel.published(Attention(fused=True), shapes, macs=300, activations=66)
    written = costmodel.published(Attention(fused=False), shapes, macs=300, activations=66)
    macs, activations = 2 * 3 * 5 * (4 + 6), 2 * 3 * 5 + 2 * 3 * 6
    for finding, count in zip(fused.findings, (macs, activations), strict=True):
        assert {r.convention: r.count for r in finding.reckonings if "fvcore" in r.convention and "twice" not in
                r.convention} == {"fvcore": 0, "fvcore, attention written out": count}  # fmt: skip
    for finding, count in zip(written.findings, (macs, activations), strict=True):
        assert {r.convention: r.count for r in finding.reckonings if r.convention.startswith("fvcore")} == {
            "fvcore": count
        }


def products() -> nn.Module:
    """A class with every operator that fvcore counts activations of, and some that it does not."""

    class Products(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 2)
            self.same, self.linear = nn.Conv2d(2, 2, 3, padding="same"), nn.Linear(7, 5)

        def forward(self, x: torch.Tensor) -> Any:
            y = self.linear(self.same(self.up(self.conv(x))))
            z = torch.einsum("ncij,nckj->ncik", y, y) @ y
            flat = z.flatten(0, 1)
            unused = torch.bmm(flat, flat.transpose(1, 2))
            del unused
            return torch.bmm(flat, flat.transpose(1, 2)), torch.addmm(flat[0], flat[0], flat[0, :5, :5])

    return Products()


def test_fvcore_counts_activations_so() -> None:
    """Convolutions, linear layers and products; none with padding given as a text, nor what no output depends on."""
    from fvcore.nn import ActivationCountAnalysis

    model = products()
    analysis = ActivationCountAnalysis(model, torch.rand(1, 3, 8, 8)).unsupported_ops_warnings(enabled=False)
    found = costmodel.published(model, (1, 3, 8, 8), activations="1M")
    assert counts(found)["fvcore"] == analysis.total()


def test_a_tool_that_fails_is_listed_with_its_reason() -> None:
    """fvcore asserts that a norm has two dimensions; it has no count, and every other has one."""
    found = costmodel.published(nn.LayerNorm(8), (8,), macs="1k").table.set_index("convention")
    assert found["count"]["fvcore"] is None
    assert found["what"]["fvcore"].startswith("it fails: layer_norm of [8]")
    assert found["count"]["MACs"] == 0


def test_matches_come_first_and_the_others_by_their_distance() -> None:
    """A rounded count stands before one that is truncated; behind them the nearest."""
    [finding] = costmodel.published("resnet50", params="25.5M").findings
    assert finding.matches[0].match == "rounded"
    assert finding.matches[-1].match == "truncated"
    others = [abs(r.difference or 0) for r in finding.reckonings if not r.match]
    assert others == sorted(others)
    assert finding.nearest is finding.reckonings[0]


def test_several_figures_and_none() -> None:
    """Each is a section of its own, in order; without one there is nothing to look for."""
    found = costmodel.published(net(), (1, 3, 4, 4), macs=["2.3k", "9k"], params=312)
    assert [f.figure.title for f in found.findings] == ["2.3k MACs", "9k MACs", "312 params"]
    assert [bool(f.matches) for f in found.findings] == [True, False, True]
    assert not found.ok
    with pytest.raises(
        costmodel.InputError, match="there is no figure to look for: give one of macs=, flops=, params="
    ):
        costmodel.published(net(), (1, 3, 4, 4))


def test_a_profile_stands_for_its_model(tmp_path: Path) -> None:
    """It is not made again; one that was read from a file does not have the model that tools look at."""
    model = net()
    p = costmodel.profile(model, (1, 3, 4, 4))
    assert costmodel.published(p, macs="2.3k").ok
    saved = costmodel.read_json(p.save(tmp_path / "p.json"))
    with pytest.raises(costmodel.CostModelError, match="which a saved profile does not have"):
        costmodel.published(saved, macs="2.3k")  # type: ignore[arg-type]  # read_json may return a step


def test_views_say_the_same(tmp_path: Path) -> None:
    """The verdicts, every count, and what the conventions leave out stand in each format."""
    found = costmodel.published(net(), (1, 3, 4, 4), macs="2.2k", params="9k")
    page, text = found.to_html(), str(found)
    for view in (text, found.to_markdown(), page):
        assert "2.2k MACs: MACs of convolutions, 2,160, rounded" in view
        assert (
            "9k params: no convention makes it; the nearest is params and running statistics, 322 (0 k, -96.42 %)"
            in view
        )
        assert "no linear layer and no other product (He et al., arXiv:1512.03385, section 4.1: VGG-16)" in view
    assert max(map(len, costmodel.views.provenance.text(found, 80).splitlines())) <= 80
    document = json.loads(found.to_json())
    assert [figure["matches"] for figure in document["figures"]] == [
        ["MACs of convolutions", "MACs but for the last layer"], []
    ]  # fmt: skip
    assert len(found.to_csv().splitlines()) == 1 + len(found.table)
    for suffix in ("html", "md", "json", "csv", "tex", "txt"):
        assert found.save(tmp_path / f"p.{suffix}").stat().st_size
    assert page.count("<script") == page.count("function setTheme") == 1


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Its exit status is 1 where no convention makes a figure; figures may be given several times."""

    def run(*arguments: str, status: int) -> str:
        with pytest.raises(SystemExit) as left:
            main(["published", "resnet18", *arguments])
        captured = capsys.readouterr()
        assert (left.value.code or 0) == status, captured.err
        return captured.out + captured.err

    assert "✓ 1.8G FLOPs: MACs, 1,814,073,344, rounded" in run("--flops", "1.8G", status=0)
    said = run("--macs", "1.8G", "--macs", "99G", "--params", "11689512", "--json", status=1)
    assert [bool(figure["matches"]) for figure in json.loads(said)["figures"]] == [True, False, True]
    assert "wrote" in run("--params", "11.7M", "--save", str(tmp_path / "p.html"), status=0)
    assert "error: macs='much' is no printed figure" in run("--macs", "much", status=2)
