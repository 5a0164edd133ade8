"""The committed reports are what the library says today, to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from costmodel.cli.reports import DRAWN, REPORTS
from costmodel.models import FAMILIES, list_models
from costmodel.views import charts

FOLDER = Path(__file__).parents[1] / "reports"
LARGEST = 8_000_000
"""Bytes that a page may have; most of them are plotly.js."""


def own(content: bytes) -> bytes:
    """What this library wrote: plotly.js inside a page is whichever the installed package has."""
    return re.sub(rb"<script>/\*\*\n\* plotly\.js v.*?</script>", b"", content, flags=re.DOTALL)


def stale(name: str, folder: Path) -> list[str]:
    """The files of a report that are not what the library writes."""
    made = REPORTS[name](folder)
    return [
        p for p, content in made.items() if not (folder / p).exists() or own((folder / p).read_bytes()) != own(content)
    ]


@pytest.mark.parametrize("name", REPORTS)
def test_the_committed_report_is_fresh(name: str) -> None:
    """Written anew, every file has the same bytes; where not, `costmodel reports` writes them."""
    assert stale(name, FOLDER) == [], f"run: costmodel reports {name}"


def test_a_report_that_says_something_else_is_noticed(tmp_path: Path) -> None:
    """A digit changed, or a file that is missing, is stale."""
    (written,) = REPORTS["guidelines"](tmp_path).items()
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
