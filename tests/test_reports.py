"""The committed reports are what the library says today, to the byte."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from costmodel import models
from costmodel.models import FAMILIES, list_models
from costmodel.views import charts
from costmodel.views.published import spec
from reports.build import REPORTS, files
from reports.classics import DRAWN
from reports.speed import calls, first_answers

FOLDER = Path(__file__).parents[1] / "reports"
LARGEST = 8_000_000
"""Bytes that a page may have; most of them are plotly.js."""


def own(content: bytes) -> bytes:
    """What this library wrote: plotly.js inside a page is whichever the installed package has."""
    return re.sub(rb"<script>/\*\*\n\* plotly\.js v.*?</script>", b"", content, flags=re.DOTALL)


def stale(name: str, folder: Path) -> list[str]:
    """The files of a report that are not what the library writes."""
    made = files(name)
    return [
        p for p, content in made.items() if not (folder / p).exists() or own((folder / p).read_bytes()) != own(content)
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_the_committed_report_is_fresh(name: str) -> None:
    """Written anew, every file has the same bytes; where not, reports/build.py writes them."""
    assert stale(name, FOLDER) == [], f"run: python reports/build.py --only {name}"


def test_a_report_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    """A digit changed, or a file that is missing, is stale."""
    (written,) = files("guidelines").items()
    (tmp_path / written[0]).write_bytes(written[1])
    assert stale("guidelines", tmp_path) == []
    (tmp_path / written[0]).write_bytes(written[1].replace(b"56", b"57", 1))
    assert stale("guidelines", tmp_path) == ["guidelines.md"]
    (tmp_path / written[0]).unlink()
    assert stale("guidelines", tmp_path) == ["guidelines.md"]


def test_only_the_library_inside_a_page_is_passed_over() -> None:
    """The page without plotly.js is shorter by its length, and keeps its own scripts and data."""
    page = (FOLDER / "classics.html").read_bytes()
    left = own(page)
    assert abs(len(page) - len(left) - len(charts.library().encode())) < 500_000
    assert left.count(b"</script>") == page.count(b"</script>") - 1
    assert b'"mobilenet_v2"' in left


def test_pages_are_small_enough_to_commit() -> None:
    """No file is above 8 MB."""
    assert max(path.stat().st_size for path in FOLDER.rglob("*")) < LARGEST


@pytest.mark.parametrize("report", ["classics.md", "crosscheck.md", "classics.html"])
def test_every_network_is_in_it(report: str) -> None:
    """No network of the library is left out."""
    text = (FOLDER / report).read_text(encoding="utf-8")
    assert [name for name in list_models() if name not in text] == []


def test_the_cross_check_adds_up() -> None:
    """Of each network, layers derived twice and layers traced only are all its layers; and every quantity agrees."""
    lines = (FOLDER / "crosscheck.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[2:10]] for line in lines if line.startswith(("| `", "| all"))]
    counts = [[int(cell.replace(",", "")) for cell in row] for row in rows if len(row) == 8]
    *networks, together = counts
    assert len(networks) == len(list_models())
    assert together == [sum(column) for column in zip(*networks, strict=True)]
    for layers, twice, *agreeing, only in networks:
        assert layers == twice + only
        assert agreeing == [twice] * 5


def test_one_network_of_each_family_is_drawn() -> None:
    """But for hyperspectral cubes, which are no rivals of ImageNet's networks."""
    drawn = {family for family, names in FAMILIES.items() for name in names if name in DRAWN}
    assert set(FAMILIES) - drawn == {"hybridsn"}
    assert len(DRAWN) == len(drawn)


def test_the_script_writes_elsewhere(tmp_path: Path) -> None:
    """From any folder, into any folder, it writes what is committed; nothing is left beside it, and --help explains."""
    script = [sys.executable, FOLDER / "build.py"]
    said = subprocess.check_output([*script, "new/folder", "--only", "guidelines"], cwd=tmp_path, text=True)
    assert said == f"wrote {Path('new/folder/guidelines.md')}\n"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["guidelines.md"]
    assert (tmp_path / "new/folder/guidelines.md").read_bytes() == (FOLDER / "guidelines.md").read_bytes()
    assert "where to write" in subprocess.check_output([*script, "--help"], cwd=tmp_path, text=True)


def test_the_published_report_says_what_makes_each_figure() -> None:
    """A row for each statement, and one with a reason for each figure that no convention makes."""
    text = (FOLDER / "published.md").read_text("utf-8")
    table, rest = text.split("## Figures that no convention makes")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    assert [row[0].strip("`") for row in rows] == [spec(record) for record in models.published()]
    unmade = [line.split("|") for line in rest.split("## What the")[0].splitlines() if line.startswith("| `")]
    assert len(unmade) == sum(row[5] == "–" for row in rows) + sum(row[10] == "–" for row in rows) > 0
    assert all(cells[6].strip() for cells in unmade)
    made = {(row[0], row[2], row[6]): (row[5], row[10]) for row in rows}
    assert made["`vgg16`", "", "15.3 G"] == ("", "MACs of convolutions")
    assert made["`mobilenet_v2(width=1.0, resolution=224)`", "3.47 M", "300 M"][0] == "params but for norms; weights"
    assert made["`resnet50(stride_in_1x1=True)`", "", "3.8 G"] == ("", "MACs, truncated")


def test_first_answers_are_compared_with_the_fastest_other_counter() -> None:
    """A row has every counter's milliseconds, and how many times as long others take for the total and the table."""
    took = {"total": {"costmodel": 0.02, "thop": 0.05, "slow": 3.0}, "table": {"costmodel": 0.04, "torchinfo": 0.06}}
    conditions = {"machine": "a PC", "threads": 2, "torch": "2.15.0", "date": "2026-11-28"}
    *_, head, _, row = first_answers(conditions | {"seconds": {"resnet50": took}})
    assert head == (
        "| network | costmodel | thop | slow | costmodel, table | torchinfo, table | times | times, table |"
    )
    assert row == "| resnet50 | 20 | 50 | 3,000 | 40 | 60 | 2.5 | 1.5 |"


def test_calls_are_compared_with_the_fastest_other_counter() -> None:
    """By the median and by the least over the networks; the floor of any trace is no counter."""
    seconds = {
        "one": {"costmodel": 0.001, "thop": 0.004, "fvcore": 0.020, "floor": 0.0005},
        "two": {"costmodel": 0.002, "thop": 0.030, "fvcore": 0.020, "floor": 0.001},
        "three": {"costmodel": 0.010, "thop": 0.070, "fvcore": 0.080, "floor": 0.005},
    }
    lines = calls(
        {"machine": "m", "threads": 2, "torch": "2", "date": "d", "rounds": {"1": 5}, "seconds": {"1": seconds}}
    )
    assert "| two | 2.00 | 30 | 20 | 1 | 10.0 |" in lines
    assert lines[-1] == "The fastest other counter takes 7.0 times as long in the median, at least 4.0 times."
