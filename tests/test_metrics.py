"""Columns of one's own in a comparison: read from what users have, shown in every form, and never 0 where missing."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import costmodel
from costmodel.comparison import Comparison, compare
from costmodel.errors import InputError
from costmodel.metrics import Metric

TOP_1 = {"small": 69.758, "large": 80.858}


def three(metrics: Any = None, **options: Any) -> Comparison:
    """Linear layers of 4, 8 and 16 outputs."""
    sizes = {"small": 4, "large": 8, "largest": 16}
    return compare({name: nn.Linear(8, n) for name, n in sizes.items()}, (1, 8), metrics=metrics, **options)


def given(kind: str, folder: Path) -> Any:
    """The same figures, as users have them."""
    table = pd.DataFrame({"top-1": TOP_1})
    if kind == "a mapping":
        return {"top-1": TOP_1}
    if kind == "a series":
        return table["top-1"]
    if kind == "a mapping of series":
        return {"top-1": table["top-1"]}
    if kind == "a table":
        return table
    path = folder / "of mine.csv"
    # A spreadsheet begins with a byte-order mark, and ends lines in CR LF.
    path.write_bytes("\ufeffmodel,top-1\r\nsmall,69.758\r\nlarge,80.858\r\nlargest,\r\n".encode())
    return path if kind == "a path" else str(path)


KINDS = ["a mapping", "a series", "a mapping of series", "a table", "a path", "a path as text"]


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_read_from_what_users_have(kind: str, tmp_path: Path) -> None:
    """Mappings, pandas and CSV give the same column, and a model that they do not name has no figure."""
    c = three(given(kind, tmp_path))
    assert dict(c.metrics["top-1"].figures) == {"small": 69.758, "large": 80.858, "largest": None}


def test_what_is_missing_is_never_zero() -> None:
    """Empty in CSV and table, null in JSON, a dash for people; no form has a 0 for it."""
    c = three({"top-1": TOP_1, "calls": {"large": 2**60 + 1}})
    assert c.table["top-1"].tolist()[:2] == [69.758, 80.858]
    assert math.isnan(c.table["top-1"].iloc[2])
    assert c.table["calls"].isna().tolist() == [True, False, True]
    assert int(c.table["calls"].iloc[1]) == 2**60 + 1  # no float has this integer
    rows = list(csv.DictReader(io.StringIO(c.to_csv())))
    assert [(row["top-1"], row["calls"]) for row in rows] == [
        ("69.758", ""), ("80.858", str(2**60 + 1)), ("", "")
    ]  # fmt: skip
    read = json.loads(c.to_json())["metrics"]
    assert read["top-1"] == {"figures": {**TOP_1, "largest": None}, "better": "higher"}
    (line,) = [line for line in str(c).splitlines() if line.startswith("largest")]
    assert line.split().count("–") == 2
    (line,) = [line for line in c.to_markdown().splitlines() if line.startswith("| largest ")][:1]
    assert [cell.strip() for cell in line.split("|")][-3:-1] == ["–", "–"]
    (line,) = [line for line in c.to_latex().splitlines() if line.startswith("largest")]
    assert line.endswith(r"& – & – \\")
    assert '<td class="n" data-sort="" data-key="top-1" title=""><span>–</span></td>' in c.to_html()
    assert c._repr_html_().count(">–</td>") == 3


@pytest.mark.parametrize(
    ("figures", "cells"),
    [
        ((72.0, 71.88, None), ["72.00", "71.88", "–"]),
        ((69.758, 81, 0.1 + 0.2), ["69.758", "81.000", "0.300"]),
        ((72.0, 81, None), ["72", "81", "–"]),
        ((-0.5, 10, 3), ["-0.5", "10.0", "3.0"]),
        ((1 / 3, 200 / 3, 1), ["0.333333", "66.666667", "1.000000"]),
        ((1234.5, 0.00123, 7), ["1,234.5", "0.00123", "7"]),
        ((10**30, 2**40, 1e-9), ["1e+30", "1,099,511,627,776", "1e-09"]),
    ],
)
def test_a_columns_figures_have_the_decimals_that_one_of_them_needs(
    figures: tuple[float | None, ...], cells: list[str]
) -> None:
    """Nothing of an accuracy is rounded, and points stand below each other; sizes that lie far apart have their own."""
    c = three({"x": dict(zip(("small", "large", "largest"), figures, strict=True))}, columns=["x"])
    table = str(c).splitlines()[2:5]
    assert [line.split()[1] for line in table] == cells
    for text in (c.to_markdown(), c.to_latex()):
        assert all(f" {cell} " in text for cell in cells)
    assert all(f"<span>{cell}</span>" in c.to_html() for cell in cells)


HUGE = (10**100, -1e100, 1e-100, 2**64 + 1, 0.0, 3, None)


@pytest.mark.parametrize("pair", list(itertools.combinations(HUGE, 2)))
@pytest.mark.filterwarnings("error")
def test_the_largest_and_smallest_figures_are_shown_in_every_form(pair: tuple[Any, Any], tmp_path: Path) -> None:
    """Tables, page, figure and front: no overflow, and no warning of matplotlib's."""
    c = three({"x": dict(zip(("small", "large"), pair, strict=True))})
    for written in (c.to_markdown(), c.to_html(), c.to_latex(), c.to_csv(), c.to_json(), str(c), c._repr_html_()):
        assert written
    for x, y in (("macs", "x"), ("x", "macs")):
        assert set(c.pareto(x, y).index) == set(c.front(x, y))
        c.plot_pareto(x, y).savefig(tmp_path / "front.svg")
    c.save(tmp_path / "report.md")


def test_figures_beyond_them_are_one_error(tmp_path: Path) -> None:
    """From Python and from a file, which names the cell."""
    for figure in (10**400, 10**5000, 1e308, -1e308, 5e-324):
        with pytest.raises(InputError, match=r"'x' of 'small' is .*, not between 1e-100 and 1e100 in magnitude"):
            three({"x": {"small": figure}})
    for cell, wanted in (
        ("1e300", "between 1e-100 and"),
        ("1e400", "a finite number"),
        ("9" * 5000, "a finite number"),
    ):
        (tmp_path / "m.csv").write_text(f"model,x\nsmall,{cell}\n")
        with pytest.raises(InputError, match=f"m.csv, line 2: the 'x' of 'small' is .*, not {wanted}"):
            three(tmp_path / "m.csv")


def test_figures_of_every_library_are_read() -> None:
    """Nullable columns of pandas, decimals, NumPy's scalars and torch's: the same figures, in one column."""
    nullable = pd.DataFrame({"x": pd.array([2.5, None, 3], dtype="Float64")}, index=["small", "large", "largest"])
    mixed = {"x": {"small": torch.tensor(2.5), "large": pd.NA, "largest": Decimal(3)}}
    for figures in (nullable, nullable["x"], mixed):
        assert dict(three(figures).metrics["x"].figures) == {"small": 2.5, "large": None, "largest": 3}


def test_metrics_that_json_has_are_read_back() -> None:
    """What a comparison wrote is given to another one: the same figures, direction included."""
    written = three({"top-1": TOP_1, "latency": {"large": 12}}, lower_is_better=["latency"])
    read = three(json.loads(written.to_json())["metrics"])
    assert read.metrics == written.metrics
    assert read.metrics["latency"].better == "lower"
    assert read.to_json() == written.to_json()


def test_a_models_prefix_can_be_left_out() -> None:
    """``resnet18`` is ``torchvision:resnet18`` where no other row is called so."""
    from costmodel.metrics import read

    rows = ["torchvision:resnet18", "timm:resnet34", "vgg11"]
    found = read({"top-1": {"resnet18": 1, "timm:resnet34": 2}}, rows)["top-1"].figures
    assert found == {"torchvision:resnet18": 1, "timm:resnet34": 2, "vgg11": None}
    assert read({"a": {"resnet18": 1}}, ["resnet18", "timm:resnet18"])["a"].figures["resnet18"] == 1
    with pytest.raises(InputError, match="'resnet18' may be torchvision:resnet18 or timm:resnet18"):
        read({"a": {"resnet18": 1}}, ["torchvision:resnet18", "timm:resnet18"])
    with pytest.raises(InputError, match="two figures of timm:a: as 'a' and as 'timm:a'"):
        read({"x": {"a": 1, "timm:a": 2}}, ["timm:a"])


WRONG = {
    "a row that is not there": (
        {"top-1": {"lagre": 1}}, "'lagre', which is not among the models: small, large, largest; did you mean large"
    ),
    "rows that are not there": ({"top-1": dict.fromkeys("vwxyz", 1)}, "'v', 'w', 'x' and 2 more, which are not among"),
    "a row and a number": (TOP_1, r"the metric 'small' is 69.758, not a figure for each model: give {'top-1'"),
    "a text": ({"top-1": {"small": "80.9%"}}, "'top-1' of 'small' is '80.9%', not a finite number"),
    "a truth": ({"top-1": {"small": True}}, "is True, not a finite number"),
    "an infinity": ({"top-1": {"small": math.inf}}, "is inf, not a finite number"),
    "a measure's name": ({"macs": TOP_1}, "cannot be called 'macs': the table has a column of that name"),
    "a ratio's name": ({"macs_ratio": TOP_1}, "cannot be called 'macs_ratio'"),
    "no name": ({"": TOP_1}, "called by a text such as 'top-1', not ''"),
    "a list": ([80.9], r"metrics=\[80.9\]: give"),
    "a series without a name": (pd.Series(TOP_1), "has no name"),
    "a row twice": (pd.Series([1, 2], ["small", "small"], name="x"), "'x' has 'small' more than once"),
    "a column twice": (
        pd.DataFrame([[1, 2]], ["small"], ["x", "x"]), "DataFrame of metrics has 2 columns called 'x': rename or remove"
    ),
    "numbered rows": (
        pd.DataFrame({"net": ["small"], "x": [1]}), r"are numbers: name them, as in table.set_index\('net'\)"
    ),
    "no file": ("not there.csv", "not there.csv cannot be read as CSV"),
    "half of what JSON has": ({"x": {"figures": TOP_1}}, "not as a comparison's JSON has them"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    """Which metric, of which model, and what to give instead."""
    metrics, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        three(metrics)


FILES = {
    "no figures": ("model\nsmall\n", "has no column of figures: its first line is a head such as model,top-1"),
    "no lines": ("", "has no column of figures"),
    "one cell more": ("model,top-1\nsmall,1,2\n", "line 2, has 3 cells, and the head 2"),
    "a text": ("model,top-1\nsmall,1\nlarge,80.9%\n", "line 3: the 'top-1' of 'large' is '80.9%', not a number"),
    "a row twice": ("model,top-1\nsmall,1\n\nsmall,2\n", "line 4: 'small' stands there a second time"),
    "a column twice": ("model,a,a\nsmall,1,2\n", "metrics.csv has 2 columns called 'a': rename or remove"),
    "the models' column twice": ("model,model\nsmall,1\n", "metrics.csv has 2 columns called 'model'"),
    "a measure's name": ("model,macs\nsmall,1\n", "metrics.csv: a metric cannot be called 'macs'"),
    "no name": ("model,\nsmall,1\n", "metrics.csv: a metric is called by a text such as 'top-1', not ''"),
    "a row that is not there": ("model,a\nsmal,1\n", "metrics.csv: 'a' has figures of 'smal'.*did you mean small"),
    "no UTF-8": (b"model,a\nsm\xffll,1\n", "cannot be read as CSV"),
}


@pytest.mark.parametrize("case", FILES)
def test_what_is_wrong_in_a_file_is_said(case: str, tmp_path: Path) -> None:
    """The file, the line and the cell."""
    text, message = FILES[case]
    path = tmp_path / "metrics.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        three(path)


def test_the_lowest_figure_can_be_the_best() -> None:
    """It is said of a metric that is there, one or several; any other name is refused."""
    c = three({"top-1": TOP_1, "latency": TOP_1}, lower_is_better="latency")
    assert [m.better for m in c.metrics.values()] == ["higher", "lower"]
    assert "latency" in c.to_html()
    assert 'title="lower is better"' in c.to_html()
    with pytest.raises(InputError, match="lower is better for 'latncy', which is no metric: there are top-1"):
        three({"top-1": TOP_1}, lower_is_better=["latncy"])
    for nonsense in (3, [[]], None, [None]):
        with pytest.raises(InputError, match="lower"):
            three({"top-1": TOP_1}, lower_is_better=nonsense)


def test_columns_are_chosen() -> None:
    """Tables have them in the order given, with ratios where there is a baseline; other columns are not there."""
    c = three({"top-1": TOP_1}, columns=["top-1", "macs"], baseline="small")
    assert c.table.columns.tolist() == ["top-1", "macs", "macs_ratio"]
    assert c.to_csv().splitlines()[0] == "model,top-1,macs,macs_ratio"
    assert str(c).splitlines()[1].split() == ["model", "top-1", "MACs", "ratio", "cross-check"]
    assert r"model & top-1 & MACs \\" in c.to_latex()
    assert "| model   |  top-1 | MACs |" in c.to_markdown()
    assert [cell for cell in ("top-1", "MACs", "Params", "Input") if f">{cell}</button>" in c.to_html()] == [
        "top-1", "MACs"
    ]  # fmt: skip
    assert three(columns=["input", "buffers"]).table["input"].tolist() == ["1×8 float32"] * 3


def test_columns_that_are_not_there_are_refused() -> None:
    """With the names that there are."""
    with pytest.raises(
        InputError, match=r"no column is called 'mac'; did you mean macs\? There are params, macs, .*, top-1, input"
    ):
        three({"top-1": TOP_1}, columns=["mac"])
    with pytest.raises(InputError, match="columns names 'macs' twice: give each column once"):
        three(columns=["macs", "params", "macs"])
    for nonsense in ("macs", [], 3):
        with pytest.raises(InputError, match="give a list of names, such as"):
            three(columns=nonsense)


def test_a_registered_measure_is_a_column() -> None:
    """It can be chosen, as can any of the library's own."""
    measure = costmodel.Measure(
        name="pins", title="pins", unit="pins", means="outputs", additive=True,
        of_layer=lambda layer: layer.outputs[0].size,
    )  # fmt: skip
    costmodel.register_measure(measure)
    try:
        assert three(columns=["pins"]).table["pins"].tolist() == [4, 8, 16]
    finally:
        costmodel.unregister_measure("pins")


def test_a_name_stays_a_name_in_every_form() -> None:
    """A metric's name is neither markup nor a formula of a spreadsheet, and stays in its line."""
    name = "=x|<b>\n$a_b$"
    c = three({name: TOP_1})
    assert "&lt;b&gt;" in c.to_html()
    assert "=x|<b>" not in c.to_html()
    assert "<b>" not in c.to_markdown()
    assert "'=x|<b>" in c.to_csv().splitlines()[0]
    assert r"=x\textbar{}\textless{}b\textgreater{} \$a\_b\$" in c.to_latex()
    assert r"=x|<b>\n$a_b$" in str(c)


def test_a_metrics_figures_are_those_of_their_rows_in_any_order() -> None:
    """A metric that is made by hand may have other rows, in another order: each figure stands in its own row."""
    c = three()
    made = Comparison(c.profiles, None, {"x": Metric("x", {"other": 7, "large": 2, "small": 1})}, ["x"])
    assert made.totals("x") == [1, 2, None]
    assert [line.split()[:2] for line in str(made).splitlines()[2:5]] == [
        ["small", "1"], ["large", "2"], ["largest", "–"]
    ]  # fmt: skip
    assert re.findall(r'data-sort="(\d*)" data-key="x"', made.to_html()) == ["1", "2", ""]


@pytest.mark.parametrize(
    ("field", "value"),
    [("unit", 3), ("unit", None), ("means", 3), ("head", 3), ("sources", [1]), ("sources", {"a": 3})],
)
def test_what_is_said_of_a_metric_is_text(field: str, value: Any) -> None:
    """Of JSON that somebody edited, too: the field is named."""
    with pytest.raises(InputError, match=f"the metric 'x' has {field}=.*: must be a text"):
        three({"x": {"figures": {"small": 1}, "better": "higher", field: value}})


def test_training_steps_take_no_metrics() -> None:
    """Their comparison has none, and says so."""
    step = costmodel.training_step(nn.Linear(8, 4), (1, 8))
    with pytest.raises(InputError, match="counted_as and devices are of models' forwards"):
        compare({"a": step}, metrics={"x": {"a": 1}})  # type: ignore[call-overload]


def test_accuracies_of_torchvisions_weights_come_by_themselves() -> None:
    """Of the weights that fit the model and its input: https://pytorch.org/vision/stable/models.html has the figures.

    Half of the width is another network, and another size of input another accuracy. A figure of one's own stays.
    """
    from costmodel.views.columns import remarks

    pytest.importorskip("torchvision.models")
    c = compare({
        "a": "torchvision:mobilenet_v3_small", "b": "torchvision:resnet18", "c": "torchvision:resnet18(num_classes=10)",
        "d": "resnet18",
    })  # fmt: skip
    assert list(c.metrics) == ["ImageNet-1K acc@1", "ImageNet-1K acc@5"]
    assert c.totals("ImageNet-1K acc@1") == [67.668, 69.758, None, None]
    assert c.totals("ImageNet-1K acc@5") == [87.402, 89.078, None, None]
    (remark,) = remarks(c)
    assert remark.startswith("ImageNet-1K acc@1, ImageNet-1K acc@5: as torchvision ")
    assert remark.endswith(" states of its weights: IMAGENET1K_V1")
    forms = (str(c), c.to_markdown(), c.to_html(), c.to_latex().replace(chr(92), ""), c.to_json())
    assert all("IMAGENET1K_V1" in form for form in forms)
    assert compare(["torchvision:resnet18"], (1, 3, 96, 96)).metrics == {}
    own = compare(["torchvision:resnet18"], metrics={"ImageNet-1K acc@1": {"resnet18": 70}})
    assert [m.figures["torchvision:resnet18"] for m in own.metrics.values()] == [70, 89.078]


@pytest.mark.parametrize(
    ("spec", "name", "figure", "weights"),
    [
        # The default weights are for images of 518, at which the model would cost five times as much.
        ("vit_b_16(image_size=384)", "ImageNet-1K acc@1", 85.304, "IMAGENET1K_SWAG_E2E_V1"),
        ("vit_b_16", "ImageNet-1K acc@1", 81.072, "IMAGENET1K_V1"),
        # Its weights have no auxiliary classifiers.
        ("googlenet", "ImageNet-1K acc@1", 69.778, "IMAGENET1K_V1"),
        ("fcn_resnet50(aux_loss=True)", "COCO-val2017-VOC-labels miou", 60.5, "COCO_WITH_VOC_LABELS_V1"),
    ],
)
def test_weights_fit_the_model_and_its_input(spec: str, name: str, figure: float, weights: str) -> None:
    """Those with its parameters, evaluated at its size."""
    pytest.importorskip("torchvision.models")
    metric = compare({"it": f"torchvision:{spec}"}).metrics[name]
    assert (metric.figures, metric.sources) == ({"it": figure}, {"it": weights})


def test_weights_may_hold_fewer_parameters_than_the_model() -> None:
    """A detector's weights hold batch norms as buffers, and others have no auxiliary classifier, which does not run."""
    from costmodel.comparison.accuracies import _parameters

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm, self.auxiliary = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.body(x))

    assert _parameters(costmodel.profile(Net(), (1, 3, 4, 4))) == {32 + 16 + 18, 32 + 16, 32 + 18}


def test_errors_of_optical_flow_are_better_when_lower() -> None:
    """An end-point error is one."""
    pytest.importorskip("torchvision.models")
    assert {m.better for m in compare(["torchvision:raft_small"]).metrics.values()} == {"lower"}


def test_the_command_names_rows_and_takes_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``NAME=MODEL``, beside arguments and paths that have an ``=`` of their own; a name for two models is refused."""
    from costmodel.cli import main

    monkeypatch.chdir(tmp_path)
    Path("lr=1").mkdir()
    Path("lr=1/net.py").write_text("from torch import nn\ndef make(n=4): return nn.Linear(8, n)\n")
    Path("m.csv").write_text("model,top-1,ms\nhalf,3,2\n")
    models = ["half=lr=1/net.py:make(n=2)", "lr=1/net.py:make(n=4)"]

    def run(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["compare", *models, "-i", "1,8", *more])
        return (int(left.value.code or 0), *capsys.readouterr())

    status, out, _ = run("--metrics", "m.csv", "--lower-is-better", "ms", "--columns", "macs, ms", "--csv")
    assert (status, out) == (0, "model,macs,ms\nhalf,16,2\nlr=1/net.py:make(n=4),32,\n")
    Path("comma.csv").write_text('model,"latency, ms",a 12" screen\nhalf,2,3\n')
    status, out, _ = run("--metrics", "comma.csv", "--columns", '"latency, ms", macs,a 12" screen', "--csv")
    assert (status, out.splitlines()[:2]) == (0, ['model,"latency, ms",macs,"a 12"" screen"', "half,2,16,3"])
    status, _, said = run("--metrics", "comma.csv", "--columns", '"latency, ms')
    assert (status, "is no line of CSV" in " ".join(said.split())) == (2, True)
    read = json.loads(run("--metrics", "m.csv", "--lower-is-better", "ms", "--json")[1])["metrics"]
    assert [metric["better"] for metric in read.values()] == ["higher", "lower"]
    Path("m.csv").write_text("model,top-1\nhalb,3\n")
    status, _, said = run("--metrics", "m.csv")
    assert status == 2
    assert "m.csv: 'top-1' has figures of 'halb', which is not among the models: half" in " ".join(said.split())
    models[1] = "half=lr=1/net.py:make(n=4)"
    status, _, said = run()
    assert status == 2
    assert (
        "'half' names lr=1/net.py:make(n=2) and lr=1/net.py:make(n=4): give each of them a name of its own"
        in " ".join(said.split())
    )
