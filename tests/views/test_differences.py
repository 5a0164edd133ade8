"""What changed in a folder of models: the table first, details collapsed, and short enough for a comment."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from torch import nn

import costmodel
from costmodel.cli import main
from costmodel.cli.folders import read_costs
from costmodel.difference import Difference, Differences

GITHUB_TAKES = 65_536
"""Characters of a comment: the API answers "Body is too long (maximum is 65536 characters)"."""

NET = """
from torch import nn

def small(n=8):
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.ReLU())
"""
FILE = """
[budget.changes]
model = "net.py:small"
input = [1, 3, 8, 8]
macs = "<= 1M"
training_peak = "<= 8GB"

[budget."stays/put"]
model = "net.py:small(n=4)"
input = [1, 3, 8, 8]
params = "<= {limit}"
"""


def linear(n: int, rows: int = 1, **how: str) -> costmodel.Profile:
    """The profile of one layer."""
    return costmodel.profile(nn.Sequential(nn.Linear(4, n)), (rows, 4), **how)


def row(text: str, name: str) -> list[str]:
    """The cells of a row of the first table."""
    (line,) = re.findall(rf"^\| {re.escape(name)} +\|(.*)\|$", text, re.MULTILINE)
    return [cell.strip() for cell in line.split("|")]


def test_models_that_changed_stand_first() -> None:
    """A row each, with its change; new ones and gone ones by themselves; those that stay; details collapsed."""
    old = {"grows": linear(8), "stays": linear(3), "goes": linear(2)}
    d = Differences(old, {"grows": linear(16), "stays": linear(3), "comes": linear(5)})
    text = d.to_markdown(limit=Fraction(1, 2))
    assert text.startswith("### Costs: 1 of 2 changed, 1 new, 1 gone\n")
    assert row(text, "grows")[:2] == ["80 (+100.0%) ❌", "64 (+100.0%) ❌"]  # 16 * 4 + 16, of 8 * 4 + 8
    assert row(text, "comes (new)")[:2] == ["25", "20"]
    assert row(text, "goes (gone)")[:2] == ["10", "8"]
    assert "❌ Grew by more than 50%: grows." in text
    assert "Unchanged: stays." in text
    summary, details = text.split("<details>", 1)
    assert "difference" not in summary
    assert "<summary>grows: 1 layer changed</summary>" in details
    assert Difference(old["grows"], linear(16)).to_markdown(limit=Fraction(1, 2)).split("\n", 2)[2].strip() in details


def test_another_input_is_no_change_of_the_model_alone() -> None:
    """Where a side had another input, or other settings, the text says both."""
    text = Differences(
        {"a": linear(8), "b": linear(8)}, {"a": linear(8, 2), "b": linear(8, mode="train")}
    ).to_markdown()
    assert "⚠️ Inputs or settings differ: a." in text  # nothing of b changed
    assert "before on 1×4 float32, in eval mode; after on 2×4 float32, in eval mode." in text
    assert "settings differ" not in Differences({"a": linear(8)}, {"a": linear(9)}).to_markdown()


@pytest.mark.parametrize("models", [1, 60, 600])
def test_it_fits_into_a_comment(models: int) -> None:
    """However many models changed, the text is short enough, its blocks are closed, and what is left out is said."""
    old, new = linear(8), costmodel.profile(nn.Sequential(*[nn.Linear(4, 4) for _ in range(40)]), (1, 4))
    names = [f"a model with a long name, number {i}" for i in range(models)]
    text = Differences(dict.fromkeys(names, old), dict.fromkeys(names, new)).to_markdown()
    assert len(text) < GITHUB_TAKES - 2_000  # room for what else a comment says
    assert text.count("<details>") == text.count("</details>") > 0
    left_out = re.search(r"the details of (\d+) models", text)
    shown = len(re.findall("<summary>a model with", text))
    assert shown + int(left_out[1] if left_out else 0) == models
    assert (left_out is None) == (models == 1)
    assert ("more rows" in text) == (models == 600)


def test_names_stay_text() -> None:
    """No name of a model adds a cell, a tag or a mention."""
    evil = "a|b</summary><script>@user"
    text = Differences({evil: linear(8)}, {evil: linear(9)}).to_markdown()
    assert "<script" not in text
    assert text.count("</summary>") == 1
    assert "@user" not in text


def test_check_saves_what_diff_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``check --save FOLDER`` on both sides of a change, ``diff FOLDER FOLDER``; whatever the budgets are called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "costmodel.toml").write_text(FILE.format(limit="1k"))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([*arguments])
        assert isinstance(left.value.code, int)
        return (left.value.code, *capsys.readouterr())

    assert run("check", "--save", "base", "--save", "base.md")[0] == 0
    assert sorted(path.name for path in (tmp_path / "base").iterdir()) == [
        "changes (training step).json", "changes.json", "stays%2Fput.json",
    ]  # fmt: skip
    assert (tmp_path / "base.md").read_text("utf-8").startswith("### Budgets: ✅ 2 budgets kept\n")
    assert run("diff", "base", "base")[1] == (
        "### Costs: none of 3 changed\n\nUnchanged: changes, changes (training step), stays/put.\n"
    )
    (tmp_path / "net.py").write_text(NET.replace("n=8", "n=9"))
    (tmp_path / "costmodel.toml").write_text(FILE.format(limit="100"))
    status, *_ = run("check", "--save", "head", "-o", "head.md")
    assert status == 1
    verdict = (tmp_path / "head.md").read_text("utf-8")
    assert "### Budgets: ❌ 1 of 2 budgets not kept\n\n- **stays/put**: params: 112 params of at most 100" in verdict
    assert re.search(r"<summary>Every bound</summary>(.|\n)*  - ✓ MACs: 8\.75 kMACs of at most 1\.00 MMACs", verdict)
    status, shown, said = run("diff", "base", "head", "--fail-over", "12%", "--save", "d.md")
    assert status == 1
    assert row(shown, "changes")[0] == "252 (+12.5%) ❌"  # 27 weights and a bias each, of 9 channels and not 8
    assert row(shown, "changes (training step)")[0] == "252 (+12.5%) ❌"
    assert "\nUnchanged: stays/put.\n" in shown
    assert "changes grew by more than 12%: params, MACs" in said
    assert (tmp_path / "d.md").read_text("utf-8") == shown
    assert run("diff", "base", "head", "--fail-over", "300%")[0] == 0


BUDGET = '[budget.{name}]\nmodel = "net.py:small"\ninput = [1, 3, 4, 4]\n{bound}\n'


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Checks budgets of these names, or with a bound, into the folder ``costs``; returns what is said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)

    def run(*arguments: str, **budgets: str) -> str:
        texts = [BUDGET.format(name=name, bound=bound or 'macs = "<= 1M"') for name, bound in budgets.items()]
        (tmp_path / "costmodel.toml").write_text("".join(texts))
        with pytest.raises(SystemExit) as left:
            main(["check", *arguments, "--save", "costs"])
        assert left.value.code == 0, capsys.readouterr()
        return capsys.readouterr().err

    return run


def files(tmp_path: Path) -> list[str]:
    """What is in the folder ``costs``."""
    return sorted(path.name for path in (tmp_path / "costs").iterdir())


def test_a_folder_has_no_budget_that_is_gone(tmp_path: Path, save: Callable[..., str]) -> None:
    """What an earlier check left is removed, and said; files of others stay, and budgets that were not asked for."""
    save(one="", two="", three='training_peak = "<= 1GB"')
    (tmp_path / "costs/own.json").write_text("{}")
    (tmp_path / "costs/notes.txt").write_text("mine")
    assert "removed" not in save("--budget", "one", one="", two="", three='training_peak = "<= 1GB"')
    said = save(one="", three="")
    assert files(tmp_path) == ["notes.txt", "one.json", "own.json", "three.json"]
    assert re.findall(r"removed \S+?(\w+(?: \(training step\))?)\.json", said) == ["three (training step)", "two"]


def test_names_that_differ_in_capitals_alone_have_files_of_their_own(tmp_path: Path, save: Callable[..., str]) -> None:
    """Whatever the file system takes for one name; also where one of them was there before."""
    save(Net="")
    assert files(tmp_path) == ["Net.json"]
    save(Net="", net="", NET="")
    assert len({file.casefold() for file in files(tmp_path)}) == len(files(tmp_path)) == 3
    assert set(read_costs(tmp_path / "costs")) == {"Net", "net", "NET"}
    save(net="")
    assert files(tmp_path) == ["net.json"]


def test_models_are_saved_beside_each_other(tmp_path: Path, save: Callable[..., str]) -> None:
    """Of a model that is named, and not a file of budgets, no other's costs are removed."""
    save(one="")
    save("mobilenet_v1_cifar")
    save("net.py:small", "--input", "1,3,4,4")
    assert set(read_costs(tmp_path / "costs")) == {"one", "mobilenet_v1_cifar", "net.py:small"}


@pytest.mark.parametrize("place", ["file", "file/below", "folder.md"])
def test_a_place_that_cannot_hold_the_costs_is_refused_before_the_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder is to be, and the other way round: also of a model that there is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["check", "no_such_model", "--save", place])
    assert (left.value.code, (tmp_path / "file").read_text()) == (2, "mine")
    assert "cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("diff", "base", "nowhere"), "nowhere is no folder"),
        (("diff", "base", "base", "--step"), "folders have saved profiles"),
        (("check", "alexnet", "--save", "x.html"), "name a file .md"),
    ],
)
def test_what_no_folder_can_mean_is_refused(
    arguments: tuple[str, ...], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A folder and something else, options of a trace, a file of another kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    with pytest.raises(SystemExit) as left:
        main([*arguments])
    assert left.value.code == 2
    assert remedy in capsys.readouterr().err
