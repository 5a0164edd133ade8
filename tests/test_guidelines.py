"""ShuffleNetV2's guidelines against sums by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.formulas.memory import pointwise_memory_access, pointwise_memory_access_bound
from costmodel.guidelines import FORMULAS


class Fork(nn.Module):
    """Two branches of one and two convolutions, concatenated, and a shortcut around all."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, n, 1, bias=False) for n in (2, 4, 2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.c(self.b(x))], 1) + x


def test_equal_widths_are_no_finding() -> None:
    """G1 has nothing to say of a convolution with as many channels in as out."""
    assert costmodel.profile(nn.Conv2d(64, 64, 1), (1, 64, 9, 9)).guidelines().findings == ()


def test_images_in_a_list_fork_as_any_input_does() -> None:
    """As detectors take them."""

    class Listed(Fork):
        def forward(self, x: list[Tensor]) -> Tensor:  # type: ignore[override]
            return super().forward(*x)

    listed = costmodel.profile(Listed(), ([(1, 4, 8, 8)],)).guidelines().findings
    assert listed == costmodel.profile(Fork(), (1, 4, 8, 8)).guidelines().findings


@pytest.mark.parametrize(("c_in", "c_out"), [(52, 312), (36, 432), (90, 180)])
def test_unequal_widths(c_in: int, c_out: int) -> None:
    """G1 of a 1x1 convolution is its closed form against the paper's bound at the same multiply-accumulates."""
    (finding,) = costmodel.profile(nn.Conv2d(c_in, c_out, 1, bias=False), (1, c_in, 56, 56)).guidelines().findings
    assert finding.guideline == "G1"
    assert finding.measure == {52: "1:6", 36: "1:12", 90: "1:2"}[c_in]
    assert finding.paid == pointwise_memory_access(c_in=c_in, c_out=c_out, size=(56, 56))
    least = pointwise_memory_access_bound(macs=56 * 56 * c_in * c_out, size=(56, 56))
    assert finding.least == pytest.approx(least, rel=1e-12)
    assert finding.saving == pytest.approx(finding.paid - least)
    even, percent = {52: ("127", "30"), 36: ("125", "46"), 90: ("127", "6")}[c_in]
    assert f"{even} channels in and {even} out instead of {c_in} and {c_out}" in finding.advice
    assert f"move {percent} % less" in finding.advice


def test_a_stride_moves_the_even_point() -> None:
    """With a stride of 2 a quarter of the positions come out, so four times the channels out are even."""
    assert costmodel.profile(nn.Conv2d(16, 64, 1, stride=2), (1, 16, 8, 8)).guidelines().of("G1") == ()
    assert costmodel.profile(nn.Conv2d(16, 16, 1, stride=2), (1, 16, 8, 8)).guidelines().of("G1") != ()


@pytest.mark.parametrize("kernel", [1, 3])
def test_groups(kernel: int) -> None:
    """G2: without groups, the same input and multiply-accumulates would write g times fewer channels."""
    conv = nn.Conv2d(8, 16, kernel, groups=4, padding=kernel // 2, bias=False)
    (finding,) = costmodel.profile(conv, (1, 8, 5, 5)).guidelines().findings
    dense = costmodel.profile(nn.Conv2d(8, 4, kernel, padding=kernel // 2, bias=False), (1, 8, 5, 5))
    assert costmodel.profile(conv, (1, 8, 5, 5)).macs == dense.macs
    assert (finding.guideline, finding.measure, finding.least) == ("G2", "g = 4", dense.memory_access)


def test_depthwise_convolutions_have_no_say_in_groups() -> None:
    """G2 is about groups of several channels."""
    assert costmodel.profile(nn.Conv2d(8, 8, 3, groups=8), (1, 8, 5, 5)).guidelines().findings == ()


def test_forks() -> None:
    """G3 counts the ops of each parallel branch; what it would save is reading the fork again, and the join."""
    result = costmodel.profile(Fork(), (1, 4, 3, 3)).guidelines()
    assert [(b.fork, b.branches) for b in result.blocks] == [("", (1, 2)), ("", (4, 0))] or [
        (b.fork, sorted(b.branches)) for b in result.blocks
    ] == [("", [1, 2]), ("", [0, 4])]
    (finding,) = result.of("G3")
    assert finding.layer == "cat"
    assert finding.saving == 4 * 9 + 2 * 4 * 9  # x a second time; both halves read and the whole written
    assert finding.measure == "2 branches of 1 + 2 ops"


def test_a_shortcut_and_a_gate_are_no_fragmentation() -> None:
    """One path beside an identity, or computing the gate of what it scales, is not two parallel branches."""
    for name in ("mobilenet_v2", "se_resnet50"):
        blocks = costmodel.profile(costmodel.models.build(name)).guidelines()
        assert blocks.blocks
        assert all("shortcut" in f.layer or "/add" in f.layer for f in blocks.of("G3"))
    assert costmodel.profile(costmodel.models.mobilenet_v2()).guidelines().of("G3") == ()


def test_inception_has_four_branches() -> None:
    """GoogLeNet's nine inception modules fork four ways: 1x1, two pairs of convolutions, pool and projection."""
    findings = costmodel.profile(costmodel.models.googlenet()).guidelines().of("G3")
    assert len(findings) == 9
    assert {f.measure.split(" of ")[0] for f in findings} == {"4 branches"}


def test_elementwise_ops() -> None:
    """G4: the share of elementwise ops, and what joining the convolution's kernel would save."""
    p = costmodel.profile(nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.ReLU()), (1, 3, 4, 4))
    result = p.guidelines()
    (finding,) = result.of("G4")
    assert (finding.layer, finding.measure, finding.saving) == ("0", "1 elementwise op", 2 * 8 * 16)
    assert result.elementwise_memory_access == 2 * 8 * 16
    assert result.elementwise_share == 256 / (48 + 24 + 128 + 256)
    assert (result.ops, result.elementwise_ops, result.elementwise_op_share) == (2, 1, 0.5)
    assert result.elementwise_kinds == {"activation": 256}


def test_shares_of_nothing_are_0() -> None:
    """A view is no op that moves data or computes, and of no memory access nothing is a share."""
    result = costmodel.profile(nn.Flatten(), (1, 2, 4, 4)).guidelines()
    assert (result.ops, result.memory_access, result.findings) == (0, 0, ())
    assert (result.elementwise_share, result.elementwise_op_share) == (0, 0)


def test_a_norm_is_elementwise_at_inference_only() -> None:
    """In training it reduces over the batch first, so G4 does not count it, nor would it join the convolution."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, track_running_stats=False))
    result = costmodel.profile(model, (2, 3, 4, 4), mode="train").guidelines()
    assert (result.ops, result.elementwise_ops, result.of("G4")) == (2, 0, ())
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8))
    result = costmodel.profile(model, (2, 3, 4, 4)).guidelines()
    assert (result.ops, result.elementwise_ops, len(result.of("G4"))) == (2, 1, 1)


def test_findings_are_ranked_and_advise() -> None:
    """The largest saving comes first; every finding has a formula and one sentence of advice."""
    result = costmodel.profile(costmodel.models.shufflenet_v1()).guidelines()
    savings = [f.saving for f in result.findings]
    assert savings == sorted(savings, reverse=True)
    assert min(savings) > 0
    assert {f.guideline for f in result.findings} == set(FORMULAS)
    assert all(f.formula and f.advice.endswith(".") and f.advice.count(". ") == 0 for f in result.findings)
    assert list(result.rows.saving) == savings
    assert list(result.rows.share) == [saving / result.memory_access for saving in savings]


def test_the_text_names_every_guideline_and_the_first_findings() -> None:
    """Markdown has a row for each guideline and each of the findings asked for."""
    result = costmodel.profile(costmodel.models.shufflenet_v1()).guidelines()
    text = result.to_markdown(3)
    assert all(f"| {name}: " in text for name in FORMULAS)
    assert sum(line.startswith(("| G1 |", "| G2 |", "| G3 |", "| G4 |")) for line in text.splitlines()) == 3
    assert result.findings[0].layer in text
