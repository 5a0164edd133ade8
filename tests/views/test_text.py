from __future__ import annotations

import re

import pytest
from torch import nn

import costmodel
from costmodel.errors import InputError
from costmodel.views import grid, styled, text
from costmodel.views.tree import tree


@pytest.fixture(scope="module")
def profile() -> costmodel.Profile:
    """MobileNetV2, four levels deep."""
    return costmodel.profile("mobilenet_v2")


@pytest.mark.parametrize("width", [50, 80, 130, 200])
def test_no_line_is_wider_than_the_terminal(profile: costmodel.Profile, width: int) -> None:
    """The width is respected, at the price of columns, which are named."""
    lines = text.profile(profile, width).split("\n")
    assert max(map(len, lines)) <= width
    assert any("columns left out" in line for line in lines) == (width < 130)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_comparison_respects_the_width(width: int) -> None:
    """So does a comparison, and every model stays."""
    shown = text.comparison(costmodel.compare(["alexnet", "mobilenet_v1(width=0.5)"], baseline="alexnet"), width)
    assert max(map(len, shown.split("\n"))) <= width
    assert "mobilenet_v1(width=0.5)" in shown
    assert "149 M" in shown  # Table 6 of the paper


@pytest.mark.parametrize("name", ["mobilenet_v2", "googlenet", "shufflenet_v2", "alexnet"])
def test_a_whole_is_the_sum_of_its_parts(name: str) -> None:
    """In the tree every node's figures are the sums over its children, and the root's the profile's totals."""
    p = costmodel.profile(name)
    root = tree(p)
    assert {"params", "macs", "memory_access_bytes", "activations", "params_bytes"} <= root.figures.keys()
    for quantity, figure in root.figures.items():
        assert figure == p.total(quantity), quantity
        for _, node in root.walk():
            if node.children:
                assert sum(child.figures[quantity] or 0 for child in node.children) == node.figures[quantity]


def test_parameters_of_modules_that_do_not_run_have_a_row() -> None:
    """What belongs to the model and to no layer is shown, so that columns sum to totals."""

    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 3)

        def forward(self, x):  # type: ignore[no-untyped-def]  # a stub
            return self.used(x)

    shown = text.profile(costmodel.profile(Idle(), (1, 2)), 120)
    assert re.search(r"\(did not run\) +.* 9 ", shown)


def test_a_module_called_twice_has_two_rows() -> None:
    """Each call is a row of its own, and the second adds no parameters."""
    shared = nn.Linear(4, 4)
    shown = text.profile(costmodel.profile(nn.Sequential(shared, shared), (1, 4)), 120)
    assert "0 (call 2)" in shown


def test_sorted_layers_are_flat_and_descending(profile: costmodel.Profile) -> None:
    """--sort lists layers under their full names, the greatest first, and --top so many of them."""
    shown = styled.plain(text.profile_parts(profile, sort="params", top=3), grid.WIDE)
    rows = [line.split()[0] for line in shown.split("\n") if line.startswith(("features.", "classifier."))]
    assert rows == ["classifier.fc", "features.18.conv", "features.17.project.conv"]


def test_an_unknown_column_is_refused_with_the_known_ones(profile: costmodel.Profile) -> None:
    """The error lists what there is."""
    with pytest.raises(InputError, match=r"'mac'.*macs"):
        text.profile_parts(profile, columns=["mac"])
    with pytest.raises(InputError, match=r"'kind'.*macs"):
        text.profile_parts(profile, sort="kind")


def test_digits_stand_below_each_other(profile: costmodel.Profile) -> None:
    """The last digits of a column's numbers are aligned, whatever their prefixes, or none."""
    shown = styled.plain(text.profile_parts(profile, columns=["params"], depth=9), grid.WIDE).split("\n")
    start = next(i for i, line in enumerate(shown) if line.startswith("─"))
    lines = shown[start + 1 : start + 100]
    assert {len(re.sub(r" [kM]$", "", line)) for line in lines} == {len(shown[start]) - 2}


@pytest.mark.parametrize(("line", "shown"), [
    ("✓ all of it agrees", "✓ all of it\n  agrees"),
    ("! all of it agrees", "! all of it\n  agrees"),
    ("  ✗ all of it agrees", "  ✗ all of\n    it\n    agrees"),
    ("  all of it agrees", "  all of it\n    agrees"),
    ("all of it agrees, ✓", "all of it\nagrees, ✓"),
])  # fmt: skip
def test_what_a_line_goes_on_with_stands_below_its_first_word(line: str, shown: str) -> None:
    """A line with a mark goes on below the word behind it, an indented one two further in, any other at the margin."""
    assert styled.plain([line], 11) == shown


def test_a_text_of_a_model_is_no_markup() -> None:
    """Square brackets in names are text, not styles."""
    shown = text.profile(costmodel.profile(nn.ModuleDict({}).__class__ and _bracketed(), (1, 2)), 120)
    assert "[red]x[/]" in shown


def _bracketed() -> nn.Module:
    model = nn.Sequential()
    model.add_module("[red]x[/]", nn.Linear(2, 2))
    return model


def test_a_long_name_of_a_metric_takes_lines_and_not_width() -> None:
    """Its head wraps between words, so that the table fits a narrow terminal; a word that is longer stays whole."""
    c = costmodel.compare(
        {"a": nn.Linear(8, 4)}, (1, 8),
        metrics={"latency of the whole network (ms)": {"a": 3}, "COCO-val2017-VOC-labels miou": {"a": 60.5}},
    )  # fmt: skip
    lines = text.comparison(c, width=60).splitlines()
    head = [re.sub(" +", " ", line).strip() for line in lines[: lines.index(next(x for x in lines if x[0] == "─"))]]
    assert head == ["latency of", "the whole COCO-val2017-VOC-labels", "model MACs network (ms) miou"]


def test_a_ratio_that_has_no_room_is_called_by_its_quantity() -> None:
    """Above the table ``ratio`` is enough, as it stands beside its quantity; in a list it is not."""
    from costmodel.views.training import comparison as of_steps

    step = costmodel.training_step(nn.Linear(8, 4), (2, 8))
    shown = " ".join(of_steps.text(costmodel.compare({"a": step, "b": step}, baseline="a"), 40).split())
    (left_out,) = re.findall("columns left out at this width: (.*)", shown)
    listed = left_out.split(", ")
    assert {"params ratio", "MACs ratio", "FLOPs ratio"} <= set(listed)
    assert len(set(listed)) == len(listed)
