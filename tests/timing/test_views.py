"""A measurement as text, page, tables and JSON: made by hand, so that every figure is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from typer.testing import CliRunner

import costmodel
from costmodel.cli import app
from costmodel.errors import ConvertError, InputError
from costmodel.timing.result import Measurement, Peaks, Setting, TimedLayer, Times
from costmodel.views import measurement as words
from costmodel.views.json import schema
from costmodel.views.styled import cell_len, plain


def layer(name: str, kind: str, bound: float, *runs: float) -> TimedLayer:
    """A row, with times where there are runs."""
    times = Times(runs, bound) if runs else None
    return TimedLayer(
        name, "Conv2d", kind, 100, 200, 4000, "compute" if kind == "standard conv" else "memory", bound, times
    )


ROWS = (
    layer("features.conv<1>", "standard conv", 0.004, 0.010, 0.008, 0.012),
    layer("features.norm", "norm", 0.001, 0.002, 0.002, 0.002),
    layer("features.act", "activation", 0.003, 0.001, 0.001, 0.001),
    layer("features.drop", "other", 0.0, 0.00001, 0.00001, 0.00001),
    layer("add", "add", 0.0005),
)
SETTING = Setting(
    "cpu", "A CPU", 2, 3, "time.perf_counter", 1.5e-6, False, "2.13.0", "2026-11-28", ("CPU governor: performance",)
)
M = Measurement(
    name="net",
    inputs=(((1, 3, 8, 8), "float32"),),
    total=Times((0.015, 0.0145, 0.0155), 0.0085),
    rows=ROWS,
    hooked=(0.016, 0.015, 0.017),
    peaks=Peaks("own", "A device", "float32", "as named", (("float32", 1e12, "made up"), ("bandwidth", 2e9, ""))),
    setting=SETTING,
)


@pytest.mark.parametrize("width", [80, 120])
def test_text_fits_a_terminal(width: int) -> None:
    """No line is longer; time, spread, bound and share of each layer are there at 80 columns."""
    text = words.text(M, width)
    assert max(map(cell_len, text.splitlines())) <= width
    row = next(line for line in text.splitlines() if line.startswith("features.conv<1>"))
    assert re.sub(r" +", " ", row).startswith("features.conv<1> 10.0 ms 2.00 ms 4.00 ms 40.0%")
    assert "15.0 ms in the median of 3 runs" in text
    assert "56.7% of the bound" in text
    assert "300.0%" in text
    said = " ".join(text.split())
    assert "1 layer quicker than the bound" in said
    assert (
        "3 forwards to warm up, then 3 with hooks around modules in turns with as many without; in inference mode"
        in said
    )
    assert "1.50 µs are read around a module that does nothing; forwards with hooks took 6.7% longer" in said
    assert "2.99 ms (19.9%) outside of the modules below: operations that no module holds (at least 500 µs)" in said


def test_the_slowest_layers_come_first() -> None:
    """As many as are asked for, and how many more there are."""
    text = plain(words.parts(M, 80, top=1), 80)
    assert "features.conv<1>" in text
    assert "features.norm" not in text
    assert "3 more layers take less each" in text


def test_restless_runs_are_said() -> None:
    """Where the middle half of the forwards differs by more than a tenth of the median."""
    restless = replace(M, total=Times((0.010, 0.020, 0.030), 0.0085))
    assert "the forwards differ much" in " ".join(str(restless).split())
    assert "the forwards differ much" not in " ".join(str(M).split())


def test_what_hooks_cannot_time_is_said() -> None:
    """How many rows have no time; that bounds are lower where an op has no rule; a forward that needs nothing."""
    assert "1 row without a time" in " ".join(str(M).split())
    assert "the bound is lower than it could be" in " ".join(str(replace(M, is_exact=False)).split())
    nothing = replace(M, total=Times((1e-6,), 0.0), rows=(), hooked=())
    assert "nothing to compute" in str(nothing)
    assert nothing.to_html().count("<circle") == 0


def test_a_page_has_a_dot_and_a_row_for_each_layer() -> None:
    """A dot where time and bound are above 0, its name in it; on the diagonal the bound is reached."""
    page = M.to_html()
    assert page.count("<circle") == 3
    assert "features.conv&lt;1&gt;, standard conv: 10.0 ms ± 2.00 ms, at least 4.00 ms: 40.0% of the bound" in page
    assert page.count('<tr><th scope="row" data-sort=') == len(ROWS)
    assert "<script src" not in page


def test_on_the_diagonal_the_bound_is_reached() -> None:
    """Dots of layers that take as long as their bound lie on the solid line of the page."""
    reached = replace(M, rows=(layer("a", "norm", 0.001, *[0.001] * 3), layer("b", "norm", 0.1, *[0.1] * 3))).to_html()
    (ends,) = re.findall(r'class="bound" x1="(.*?)" y1="(.*?)" x2="(.*?)" y2="(.*?)"', reached)
    x1, y1, x2, y2 = map(float, ends)
    dots = re.findall(r'<circle cx="(.*?)" cy="(.*?)"', reached)
    assert len(dots) == 2
    for x, y in dots:
        assert float(y) == pytest.approx(y1 + (y2 - y1) * (float(x) - x1) / (x2 - x1), abs=0.3)


def test_a_figure_has_the_same_dots(tmp_path: Path) -> None:
    """Each at its bound and median, on axes of one ratio; and it is drawn into axes that are given."""
    figure = M.plot()
    (ax,) = figure.axes
    dots = sorted(tuple(offset) for points in ax.collections for offset in points.get_offsets().tolist())
    assert dots == [(0.001, 0.002), (0.003, 0.001), (0.004, 0.010)]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert M.plot(ax) is figure
    M.save(tmp_path / "m.md")
    assert (tmp_path / "m_figures/measured.svg").exists()


def test_tables_have_every_row() -> None:
    """CSV and the DataFrame in seconds, LaTeX and Markdown as they are read."""
    assert M.to_pandas().equals(M.layers)
    assert M.layers["median"].tolist()[:4] == [0.010, 0.002, 0.001, 0.00001]
    lines = M.to_csv().splitlines()
    assert lines[0] == "name,type,kind,median,spread,least,bound,share,bound_by,macs,flops,memory_access_bytes"
    assert lines[2] == "features.norm,Conv2d,norm,0.002,0.0,0.002,0.001,0.5,memory,100,200,4000"
    assert lines[5] == "add,Conv2d,add,,,,0.0005,,memory,100,200,4000"
    assert r"features.conv\textless{}1\textgreater{} & standard conv & 10.0 ms & 2.00 ms" in M.to_latex()
    assert "| features.conv&lt;1&gt; | standard conv |  10.0 ms |  2.00 ms |" in M.to_markdown()
    assert "<details>" in M.to_markdown()
    assert "features.conv&lt;1&gt;" in M._repr_html_()
    assert repr(M) == "<Measurement of net: 15.0 ms, 56.7% of the bound>"


def test_json_round_trips(tmp_path: Path) -> None:
    """All that was measured is read back, and the document is valid by its schema."""
    document = json.loads(M.to_json())
    jsonschema.validate(document, schema("measurement"))
    back = costmodel.read_json(M.save(tmp_path / "m.json"))
    assert isinstance(back, Measurement)
    assert {name: getattr(back, name) for name in M.__dataclass_fields__} == {
        name: getattr(M, name) for name in M.__dataclass_fields__
    }
    assert back.to_json() == M.to_json()
    pd.testing.assert_frame_equal(back.layers, M.layers)


BROKEN: dict[str, tuple[str, Any, str]] = {
    "runs": ("hooked", [0.1], "a layer has another number of runs than the forwards with hooks"),
    "a text": ("total", {"bound": "1", "runs": [1]}, "is not of type"),
    "no run": ("total", {"bound": 1, "runs": []}, "by its schema"),
    "negative": ("total", {"bound": -1, "runs": [1]}, "by its schema"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    """With what is wrong in it."""
    key, value, message = BROKEN[name]
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**json.loads(M.to_json()), key: value}), "utf-8")
    with pytest.raises(ConvertError, match=message):
        costmodel.read_json(path)


def run(*arguments: str, status: int = 0) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    return result.output


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    """A model for real; a saved measurement is shown again, and no profile."""
    factory = tmp_path / "net.py"
    factory.write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(3, 2), nn.ReLU())\n", "utf-8"
    )
    spec, saved = f"{factory}:make", tmp_path / "m.json"
    shown = run(
        "measure", spec, "--input", "4,3", "--threads", "1", "--repeats", "2", "--peaks", "a100", "--cpu-time",
        "--save", str(saved),
    )  # fmt: skip
    assert "read by time.thread_time" in " ".join(shown.split())
    assert "NVIDIA A100" in shown
    again = run("measure", str(saved))
    assert again.splitlines()[:3] == shown.splitlines()[:3]
    assert json.loads(run("measure", str(saved), "--json")) == json.loads(saved.read_text("utf-8"))
    assert run("measure", str(saved), "--csv").startswith("name,type,kind,median")
    profile = costmodel.profile("mobilenet_v2").save(tmp_path / "p.json")
    for arguments, message in (
        (("measure", spec, "--cpu-time"), "--cpu-time is of one thread on the CPU: add --threads 1"),
        (("measure", str(profile)), "is no saved measurement"),
        (("profile", str(saved)), "is a saved measurement, which has times and no costs"),
        (("compare", str(saved), "alexnet"), "is a saved measurement, which has times and no costs"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, InputError), result.output
        assert message in str(result.exception)


def test_a_budget_of_a_saved_measurement_is_refused(tmp_path: Path) -> None:
    """It has seconds, and none of the quantities that are bounded."""
    with pytest.raises(InputError, match="is a saved measurement, which has times and no costs"):
        costmodel.assert_costs(str(M.save(tmp_path / "m.json")), macs="<=1G")
