"""Repeated blocks are folded where people read: one row for all, and one of them below."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import costmodel
from costmodel.cli import main
from costmodel.views.fold import LEAST, Run, folded, runs, span
from costmodel.views.tree import Node, tree


class Block(nn.Module):
    """A residual block of two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.up(x).relu())
        return out


def stack(*widths: int) -> nn.Sequential:
    """Blocks of such widths between a stem and a head, each with a layer before it where the width changes."""
    layers: list[nn.Module] = [nn.Linear(7, widths[0])]
    for before, width in zip((widths[0], *widths), widths, strict=False):
        layers += [nn.Linear(before, width)] if before != width else []
        layers.append(Block(width))
    return nn.Sequential(*layers, nn.Linear(widths[-1], 3))


def rows(shown: str) -> list[list[str]]:
    """The rows of a printed table, split into cells, below the ruled head."""
    lines = shown.split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("──"))
    stop = next(i for i, line in enumerate(lines) if i > start and not re.search(r"\d( k)?$", line))
    return [re.split(r"(?<=\w) {2,}", line.rstrip()) for line in lines[start + 1 : stop]]


@given(st.lists(st.integers(0, 2), max_size=40))
def test_runs_cover_every_item_once_and_repeat_what_they_say(items: Sequence[int]) -> None:
    """Laid end to end the runs are the items; each is one item, or at least three equal units."""
    at = 0
    for run in runs(items):
        assert run.start == at
        assert run.times == 1 == run.length or run.times >= LEAST
        unit = items[at : at + run.length]
        assert list(items[at : run.stop]) == list(unit) * run.times
        at = run.stop
    assert at == len(items)


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ("abcc", []),
        ("abbbc", [Run(1, 1, 3)]),
        ("ababab", [Run(0, 2, 3)]),
        # Three of one, and four of which each holds such three: the longer run folds more.
        ("aaabaaabaaab", [Run(0, 4, 3)]),
        # What is left of a run that does not divide it stays by itself.
        ("abababa", [Run(0, 2, 3)]),
    ],
)
def test_a_run_is_as_long_as_it_can_be(items: str, found: list[Run]) -> None:
    """Of several ways to fold, the one that covers most rows, by its shortest unit."""
    assert [run for run in runs(items) if run.times > 1] == found


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("layers.0", "layers.31"), "layers.0 to 31, × 32"),
        (("encoder_layer_0", "encoder_layer_11"), "encoder_layer_0 to 11, × 32"),
        (("layers.1", "blocks.9"), "layers.1 to blocks.9, × 32"),
        (("block10", "block11"), "block10 to 11, × 32"),
        (("add", "add"), "add, × 32"),
    ],
)
def test_a_run_is_called_by_its_first_and_last_name(names: tuple[str, str], said: str) -> None:
    """The last is said without what it shares with the first."""
    assert span(*names, 32) == said


def test_alike_blocks_are_one_row_and_one_of_them_below() -> None:
    """Seven blocks of one width are one row with their sum, an each-row with a seventh, and that block's own layers."""
    shown = costmodel.profile(stack(*[16] * 7), (1, 7)).to_text(columns=["params", "macs"])
    # 16 to 64 and back with biases: 64·17 + 16·65 parameters, 2·16·64 MACs.
    assert rows(shown) == [
        ["Sequential", "15.1 k", "14.5 k"], ["├─ 0", "128", "112"],
        ["├─ 1 to 7, × 7", "14.9 k", "14.3 k"], ["│  └─ each of 7", "2.13 k", "2.05 k"],
        ["│     ├─ up", "1.09 k", "1.02 k"], ["│     ├─ relu", "0", "0"], ["│     ├─ down", "1.04 k", "1.02 k"],
        ["│     └─ add", "0", "0"], ["└─ 8", "51", "48"],
    ]  # fmt: skip
    assert "--unfold shows each" in shown


def test_blocks_that_differ_in_a_figure_stay_apart() -> None:
    """Of a stage whose first block differs, as ResNet's, only those behind it are folded; two alone are not."""
    shown = costmodel.profile(stack(16, 16, 32, 32, 32), (1, 7)).to_text(columns=["macs"], depth=1)
    assert [row[0] for row in rows(shown)] == [
        "Sequential", "├─ 0", "├─ 1", "├─ 2", "├─ 3", "├─ 4 to 6, × 3", "│  └─ each of 3", "└─ 7",
    ]  # fmt: skip


def test_what_repeats_together_is_folded_together() -> None:
    """Pairs of a layer and its activation are one row, and the pair is below it."""
    model = nn.Sequential(*[layer for _ in range(5) for layer in (nn.Linear(4, 4), nn.ReLU())])
    shown = costmodel.profile(model, (1, 4)).to_text(columns=["macs"])
    assert [row[0] for row in rows(shown)] == [
        "Sequential", "└─ 0 to 9, × 5", "   └─ each of 5", "      ├─ 0", "      └─ 1",
    ]  # fmt: skip


def test_a_layer_that_is_called_again_is_folded_behind_its_first_call() -> None:
    """The first call holds the parameters, and differs from those after it, which are alike."""
    shared = nn.Linear(4, 4)
    shown = costmodel.profile(nn.Sequential(*[shared] * 6), (1, 4)).to_text(columns=["params", "macs"])
    assert rows(shown)[1:] == [["├─ 0", "20", "16"], ["└─ 0, × 5", "0", "80"], ["   └─ each of 5", "0", "16"]]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "shufflenet_v2", "vgg16"])
def test_every_row_is_its_rows_below_as_often_as_it_says(name: str) -> None:
    """Sums hold in a folded tree as in the whole one, and its root has the profile's totals."""
    p = costmodel.profile(name)
    root = folded(tree(p))
    assert len(list(root.walk())) < len(list(tree(p).walk()))
    for quantity, figure in root.figures.items():
        assert figure == p.total(quantity), quantity
        for _, node in root.walk():
            if node.children:
                below = sum(child.figures[quantity] or 0 for child in node.children)
                assert node.figures[quantity] == node.times * below


def test_unfolded_every_block_has_its_row() -> None:
    """``fold=False`` shows the tree as it ran."""
    p = costmodel.profile(stack(*[16] * 7), (1, 7))
    shown = p.to_text(fold=False)
    assert [f"─ {i} " in shown for i in range(9)] == [True] * 9
    assert "×" not in "".join(line for line in shown.split("\n") if "─ " in line and "1×" not in line)
    assert "unfold" not in shown
    assert "each of" not in shown


def test_a_fold_takes_no_level_of_the_tree() -> None:
    """``depth`` counts modules: what is inside a folded block is as deep as inside one that stands alone."""
    p = costmodel.profile(stack(*[16] * 7), (1, 7))
    assert folded(tree(p)).depth == tree(p).depth == 2
    levels = {node.label: level for level, node in folded(tree(p)).walk()}
    assert (levels["1 to 7, × 7"], levels["each of 7"], levels["up"]) == (1, 1, 2)


@pytest.mark.parametrize("change", [
    lambda node: setattr(node, "kind", "other"),
    lambda node: setattr(node, "output_shape", (1, 5)),
    lambda node: node.figures.update(macs=17),
    lambda node: setattr(node, "is_exact", False),
    lambda node: setattr(node, "type", "Other"),
])  # fmt: skip
def test_nothing_that_is_shown_may_differ(change: Callable[[Node], None]) -> None:
    """A layer that differs from its neighbours in anything but its name stands by itself."""
    root = tree(costmodel.profile(nn.Sequential(*[nn.Linear(4, 4) for _ in range(7)]), (1, 4)))
    change(root.children[3])
    assert [child.label for child in folded(root).children] == ["0 to 2, × 3", "3", "4 to 6, × 3"]


def test_inside_a_block_names_count() -> None:
    """Blocks whose inner layers go by other names are not alike, as one stands for all."""
    root = tree(costmodel.profile(stack(*[16] * 7), (1, 7)))
    root.children[4].children[0].label = "rise"
    assert [child.label for child in folded(root).children] == ["0", "1 to 3, × 3", "4", "5 to 7, × 3", "8"]


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The cells of each collapsed table by its summary, without the head."""
    found = re.findall(r"<summary>(.*?)</summary>\n\n((?:\|.*\n)+)", text)
    return {
        title: [[cell.strip() for cell in line.strip("|").split("|")] for line in body.strip().split("\n")[2:]]
        for title, body in found
    }


def test_markdown_has_a_row_for_each_fold_and_a_table_of_one_of_it() -> None:
    """The rows of the first table sum to the totals, those of a fold's to its row by the number of times."""
    p = costmodel.profile(stack(*[16] * 7), (1, 7))
    found = markdown_tables(p.to_markdown())
    assert list(found) == ["All 30 layers, in the order in which they ran", "Each of 1 to 7, × 7"]
    every, each = found.values()
    assert [row[0] for row in every] == ["0", "1 to 7, × 7", "8"]
    assert [row[0] for row in each] == ["1.up", "1/relu", "1.down", "1/add"]
    assert [row[5] for row in every] == ["112", "14.3 k", "48"]  # 7 to 16; 7 blocks of 2·16·64; 16 to 3
    assert [row[5] for row in each] == ["1.02 k", "0", "1.02 k", "0"]
    assert [row[0] for row in next(iter(markdown_tables(p.to_markdown(fold=False)).values()))] == list(p.layers["name"])


def test_markdown_of_a_training_step_is_folded_likewise() -> None:
    """Forward and backward of all blocks are in one row, and those of one block in a table of its own."""
    step = costmodel.training_step(stack(*[16] * 7), (2, 7), optimizer="sgd")
    found = markdown_tables(step.to_markdown())
    every, each = found[f"All {len(step.layers)} layers, in the order in which they ran"], found["Each of 1 to 7, × 7"]
    assert [row[0] for row in every][:2] == ["0", "1 to 7, × 7"]
    # 2 samples: 2·7·2·16·64 forward, and twice that backward.
    assert every[1][3:5] == ["28.7 k", "57.3 k"]
    assert [row[0] for row in each] == ["1.up", "1/relu", "1.down", "1/add"]
    unfolded = next(iter(markdown_tables(step.to_markdown(fold=False)).values()))
    assert [row[0] for row in unfolded] == list(step.layers["name"])


def test_tables_for_programs_and_papers_have_every_layer() -> None:
    """CSV, JSON, LaTeX and DataFrames are complete."""
    p = costmodel.profile(stack(*[16] * 7), (1, 7))
    names = list(p.layers["name"])
    assert len(names) == 30
    assert [line.split(",")[0] for line in p.to_csv().split("\n")[1:-1]] == names
    assert [layer["name"] for layer in json.loads(p.to_json())["layers"]] == names
    assert [line.split(" & ")[0] for line in p.to_latex().split("\n") if " & " in line][1:-1] == names


def test_the_command_folds_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    """``costmodel profile --unfold`` has a row for each of MobileNetV2's three blocks of 64 channels."""
    shown = []
    for options in ([], ["--unfold"]):
        with pytest.raises(SystemExit):
            main(["profile", "mobilenet_v2", "--depth", "2", *options])
        shown.append(capsys.readouterr().out)
    assert "8 to 10, × 3" in shown[0]
    assert "├─ 9 " not in shown[0]
    assert "├─ 9 " in shown[1]
    assert "each of" not in shown[1]
    with pytest.raises(SystemExit):
        main(["profile", "mobilenet_v2", "--unfold", "--markdown"])
    assert "Each of" not in capsys.readouterr().out
