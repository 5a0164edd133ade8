"""Other tools' numbers as columns of a comparison: in every form, exact, with the reason where there is none."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
from pathlib import Path

import pytest
from torch import nn

import costmodel
from costmodel.cli import main
from costmodel.comparison import Comparison, compare
from costmodel.errors import InputError

FVCORE = costmodel.TOOLS["fvcore"].version
THOP = costmodel.TOOLS["thop"].version


def nets() -> dict[str, nn.Module]:
    """8 MACs of a layer, and a norm of a vector, on which fvcore fails and of which thop counts 4 an element."""
    return {"linear": nn.Linear(8, 1), "norm": nn.LayerNorm(8)}


@pytest.fixture(scope="module")
def both() -> Comparison:
    """Both of them as three tools count them."""
    return compare(nets(), (8,), counted_as=("fvcore", "FlopCounterMode", "thop"), columns=None)


def test_each_tool_is_a_column(both: Comparison) -> None:
    """Behind the measures, in the order asked for; the numbers are those of the profiles' own recounts, by hand."""
    columns = list(both.table.columns)
    assert columns[-5:] == ["fvcore", "FlopCounterMode", "thop", "input", "mode"]
    assert both.totals("fvcore") == [8, None]
    assert both.totals("FlopCounterMode") == [16, 0]
    assert both.totals("thop") == [8, 4 * 8]
    assert both.table["fvcore"].isna().tolist() == [False, True]


def test_what_a_tool_has_no_number_of_is_said_and_why(both: Comparison) -> None:
    """Every form has the reason, a dash or nothing as the number, and never 0."""
    reason = "none of norm: layer_norm of [8]: it asserts two to five dimensions"
    shown = str(both)
    assert f"fvcore: as counted by fvcore {FVCORE}, computed without running it; {reason}" in " ".join(shown.split())
    (row,) = [line for line in shown.splitlines() if line.startswith("norm ")]
    assert "–" in row.split()
    assert r"none of norm: layer_norm of \[8\]: it asserts" in both.to_markdown()
    for text in (both.to_latex(), both.to_html(), both._repr_html_()):
        assert reason in text
    rows = list(csv.DictReader(io.StringIO(both.to_csv())))
    assert [row["fvcore"] for row in rows] == ["8", ""]
    assert json.loads(both.to_json())["metrics"]["fvcore"]["sources"] == {"norm": reason.partition(": ")[2]}


def test_every_form_says_which_version_counted(both: Comparison) -> None:
    """Markdown, LaTeX, pages and JSON head the column with the tool's version and the unit; cells do not repeat it."""
    for text in (both.to_markdown(), both.to_latex(), both.to_html(), both._repr_html_(), both.to_json()):
        assert f"fvcore {FVCORE}" in text
        assert f"thop {THOP}" in text
    for text in (both.to_markdown(), both.to_latex(), both.to_html(), both._repr_html_()):
        assert f"fvcore {FVCORE} (MACs)" in text
        assert "(FLOPs)" in text
    cells = [line.split(" & ") for line in both.to_latex().splitlines() if line.startswith(("linear", "norm"))]
    assert [row[-3:] for row in cells] == [["8", "16", r"8 \\"], ["–", "0", r"32 \\"]]
    rows = [line.split("|") for line in both.to_markdown().splitlines() if line.startswith("| linear |")]
    assert "8 MACs" not in " ".join(cell for row in rows for cell in row)
    first, second = str(both).splitlines()[:2]
    assert second[first.index("fvcore") :].split()[0] == "(MACs)"


def test_json_reads_back_as_metrics(both: Comparison) -> None:
    """What a comparison wrote makes the same columns again, without counting anything."""
    written = json.loads(both.to_json())["metrics"]
    again = compare(nets(), (8,), metrics=written)
    assert json.loads(again.to_json())["metrics"] == written
    assert again.to_latex() == both.to_latex()


def test_columns_may_be_chosen(both: Comparison) -> None:
    """A table of a paper: this library's MACs beside the tools' numbers, and nothing else."""
    chosen = compare(nets(), (8,), counted_as="fvcore", columns=["macs", "fvcore"])
    assert list(chosen.table.columns) == ["macs", "fvcore"]
    assert rf"model & MACs & fvcore {FVCORE} (MACs) \\" in chosen.to_latex()
    assert r"linear & 8 & 8 \\" in chosen.to_latex()
    hidden = compare(nets(), (8,), counted_as="fvcore", columns=["macs"])
    assert "fvcore" not in hidden.to_latex()


def test_a_comparison_with_tools_pickles(both: Comparison) -> None:
    """It holds figures, and no tool."""
    assert pickle.loads(pickle.dumps(both)).to_json() == both.to_json()


def test_a_profile_whose_model_is_gone_has_a_reason(tmp_path: Path) -> None:
    """A saved profile has no model that a tool's number could be read off; beside it one that has."""
    saved = costmodel.read_json(costmodel.profile(nn.Linear(8, 1), (8,)).save(tmp_path / "p.json"))
    made = compare({"saved": saved, "here": nn.Linear(8, 1)}, (8,), counted_as=["fvcore"])
    assert made.totals("fvcore") == [None, 8]
    assert "a saved profile does not have" in made.metrics["fvcore"].sources["saved"]


def test_nonsense_is_refused_before_anything_is_traced() -> None:
    """Names of no tool, of a metric that is there, what is no name, and training steps."""

    class Untouched(nn.Module):
        def forward(self) -> None:
            raise AssertionError("traced")

    models = {"m": Untouched()}
    with pytest.raises(InputError, match=r"'Fvcore' is no tool .* did you mean 'fvcore'\?"):
        compare(models, (), counted_as=["Fvcore"])
    with pytest.raises(InputError, match="the metric 'thop' has the name of a column of counted_as"):
        compare(models, (), counted_as=["thop"], metrics={"thop": {"m": 1}})
    for wrong in (3, [3], [None], [["fvcore"]]):
        with pytest.raises(InputError, match=r"is no tool whose convention|give names of costmodel\.TOOLS"):
            compare(models, (), counted_as=wrong)  # type: ignore[call-overload]  # nonsense is what is tried
    step = costmodel.training_step(nn.Linear(3, 2), (4, 3), optimizer="sgd")
    with pytest.raises(
        InputError, match="counted_as and devices are of models' forwards: compare models, not training steps"
    ):
        compare({"a": step, "b": step}, counted_as=["fvcore"])  # type: ignore[call-overload]  # it takes none


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``--tool`` may be repeated, chosen by ``--columns``, and goes into every file."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "from torch import nn\ndef a(): return nn.Linear(8, 1)\ndef b(): return nn.Linear(8, 2)\n"
    )
    arguments = ["compare", "net.py:a", "net.py:b", "-i", "1,8", "--tool", "fvcore", "--tool", "ptflops"]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--columns", "fvcore,ptflops", "--save", "c.md", "--csv"])
    assert not left.value.code
    assert capsys.readouterr().out == "model,fvcore,ptflops\nnet.py:a,8,9\nnet.py:b,16,18\n"
    assert f"fvcore {FVCORE}" in Path("c.md").read_text("utf-8")
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--step"])
    assert left.value.code == 2
    assert "--metrics, --columns, --tool and --device are of forwards" in capsys.readouterr().err


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
def test_a_column_that_was_asked_for_by_name_stays_in_any_width(width: int) -> None:
    """Tools and metrics of one's own do, before any measure; what comes by itself may go, and is then named."""
    from costmodel.views.text import comparison

    c = compare(nets(), (8,), counted_as=("fvcore", "thop"), metrics={"top-1": {"norm": 1}})
    shown = comparison(c, width=width)
    assert {"fvcore", "thop", "top-1"} <= set(shown.splitlines()[1].split()) | set(shown.splitlines()[0].split())
    (left_out,) = re.findall(r"columns left out at this width: ([^:]*)(?=fvcore:)", " ".join(shown.split())) or [""]
    assert not {"fvcore", "thop", "top-1"} & set(re.split(r"[,\s]+", left_out))
    if width <= 40:
        assert "FLOPs" in left_out
