"""The claims in print: every one, with what was found, and nothing of a text read as markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from costmodel.cli import app
from costmodel.errors import ConvertError
from costmodel.notes import Finding, Result, report, results
from costmodel.views import grid, styled

IDS = ["000-3", "000-14", "002-9", "004-13", "004-38"]
"""One or two of each verdict that is quick to compute; 000-14 has a shape, 000-3 nested figures."""


@pytest.fixture(scope="module")
def some() -> tuple[Result, ...]:
    """Claims of several notes and verdicts."""
    return results(IDS)


def run(*arguments: str, status: int = 0) -> str:
    """What the command writes on standard output."""
    result = CliRunner().invoke(app, ["notes", *arguments])
    assert result.exit_code == status, result.output
    return result.stdout


def hostile(result: Result) -> Result:
    """A claim whose texts would be markup, were they not escaped."""
    bad = "<script>alert(1)</script> | *x*"
    finding = Finding(verdict="fails", value=bad, why=bad, closed_form={bad: 1}, source=bad)
    return Result(claim=replace(result.claim, says=bad, formula="<b>"), finding=finding)


class Tags(HTMLParser):
    """Counts opening tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_json_has_the_figures_as_they_are(some: tuple[Result, ...]) -> None:
    """`costmodel notes --json` is a list of objects; numbers stay numbers, to the last digit."""
    rows = json.loads(run(*IDS, "--json"))
    assert [row["id"] for row in rows] == IDS
    assert rows == json.loads(report.json(some))
    by_id = {row["id"]: row for row in rows}
    assert by_id["002-9"]["value"] == 568_740_352
    assert by_id["004-13"]["value"] == 387_072 / 157_184
    assert by_id["000-14"]["value"] == [8, 24, 23, 23]
    assert by_id["004-38"] | {"verdict": "not computable", "value": None} == by_id["004-38"]
    assert by_id["002-9"]["closed_form"]["macs"] == by_id["002-9"]["traced"]["macs"] == 568_740_352
    for row in rows:
        assert row["claim"]
        assert row["why"]
        assert row["formula"]


def test_the_terminal_shows_a_row_for_each_claim(some: tuple[Result, ...]) -> None:
    """Id, verdict, what the note says and what was computed, and the verdicts counted."""
    text = styled.plain(report.parts(some, grid.WIDE), grid.WIDE)
    head, _, *lines = text.splitlines()
    starts = [head.index(title) for title in ("claim", "verdict", "the note says", "computed")]
    rows: list[list[str]] = []
    for line in lines[: lines.index("")]:
        cells = [line[i:j].strip() for i, j in zip(starts, [*starts[1:], None], strict=True)]
        rows = (
            [*rows, cells]
            if cells[0]
            else [*rows[:-1], [" ".join(cell).strip() for cell in zip(rows[-1], cells, strict=True)]]
        )
    assert [[row[0], row[1][2:], *row[2:]] for row in rows] == [
        [r.claim.id, r.finding.verdict, r.claim.says, r.finding.why] for r in some
    ]
    assert "5 claims: 1 holds, 3 fails, 1 not computable" in text
    narrow = styled.plain(report.parts(some, 100), 100)
    assert max(map(len, narrow.splitlines())) <= 100


def test_one_claim_is_told_whole() -> None:
    """`costmodel notes 004-13`: formula, value, and both derivations side by side."""
    text = run("004-13")
    assert "params without / params with" in text
    assert re.search(r"^value\s+2\.463$", text, re.MULTILINE)
    assert re.search(r"^ratio of params\s+2\.366\s+2\.366$", text, re.MULTILINE)


def test_a_note_is_listed() -> None:
    """`costmodel notes 003`: its ten claims and no other, as a table."""
    text = run("003")
    assert re.findall(r"^(\d{3}-\d+) ", text, re.MULTILINE) == [f"003-{n}" for n in range(1, 11)]
    assert "10 claims: " in text
    assert "`costmodel notes 003-10` shows one in full." in text


def test_nested_figures_are_laid_flat(some: tuple[Result, ...]) -> None:
    """A figure is named by the path to it, and stands beside its other derivation."""
    found = {figure.name: figure for figure in report.figures(some[0])}
    assert found["MACs, alpha = 1/2"].closed_form == found["MACs, alpha = 1/2"].traced == "149,497,088"
    (shape,) = report.figures(some[1])
    assert (shape.name, shape.closed_form, shape.traced) == ("output shape", "8×24×23×23", "8×24×23×23")


def test_markdown_has_every_claim_and_its_links_lead_somewhere(some: tuple[Result, ...]) -> None:
    """A heading for each claim, and one behind every link; the tally's rows add up."""
    text = report.markdown(some)
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert [heading.split()[0] for heading in headings] == IDS
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert sorted(links) == ["000-3-fails", "002-9-fails", "004-13-fails"]
    assert set(links) <= anchors
    rows = re.findall(r"^\| (?:\d{3}: .*?|all +)\|(.*)\|$", text, re.MULTILINE)
    counts = [[int(cell) for cell in row.split("|")] for row in rows]
    assert counts[-1] == [sum(column) for column in zip(*counts[:-1], strict=True)] == [5, 1, 0, 3, 1]


def test_the_page_has_every_claim(some: tuple[Result, ...]) -> None:
    """An article for each claim with its verdict, which plain CSS filters by."""
    page = report.page(some)
    articles = re.findall(r'<article class="claim" id="c([\d-]+)" data-verdict="([a-z ]+)">', page)
    assert articles == [(r.claim.id, r.finding.verdict) for r in some]
    for result in some:
        assert result.finding.why in unescape(page)
    assert Tags(page).seen.count("script") == 1  # light and dark
    assert page.count('name="verdict"') == 5


def test_no_text_becomes_markup(some: tuple[Result, ...]) -> None:
    """A claim is text wherever it is printed."""
    bad = hostile(some[0])
    plain, page = Tags(report.page(some[:1])).seen, Tags(report.page([bad])).seen
    assert page.count("script") == plain.count("script") == 1
    assert page.count("b") == plain.count("b") == 0
    text = report.markdown([bad])
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\| \\*x\\*" in text


@pytest.mark.parametrize("suffix", ["md", "html", "json"])
def test_saved_by_suffix(suffix: str, some: tuple[Result, ...], tmp_path: Path) -> None:
    """`--save` writes the form that the suffix names, and makes folders."""
    path = tmp_path / "new" / f"notes.{suffix}"
    run(*IDS, "--save", str(path))
    made = {"md": report.markdown, "html": report.page, "json": report.json}[suffix](some)
    assert path.read_text(encoding="utf-8") == made.rstrip("\n") + "\n"


def test_another_suffix_is_an_error(tmp_path: Path) -> None:
    """What cannot be written is said with what can."""
    result = CliRunner().invoke(app, ["notes", "004-0", "--save", str(tmp_path / "notes.pdf")])
    assert isinstance(result.exception, ConvertError)
    assert "nothing is written as .pdf; there are .html .md .json" in str(result.exception)
