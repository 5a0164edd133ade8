"""Tables and texts of a terminal: widths, wrapping, colours; and that plain text needs no library for tables."""

from __future__ import annotations

import re
import subprocess
import sys
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len as cells_by_rich
from rich.console import Console
from torch import nn

import costmodel
from costmodel.views import grid, styled, text
from costmodel.views.styled import Text

WORDS = st.text(st.sampled_from("ab-.卷é\u0301 "), max_size=60)


@given(WORDS)
def test_a_width_is_what_a_terminal_shows(words: str) -> None:
    """Wide characters take two columns and combining ones none, as rich counts them."""
    assert styled.cell_len(words) == cells_by_rich(words)


@given(WORDS, st.integers(2, 30))
def test_wrapping_keeps_every_word_within_the_width(words: str, width: int) -> None:
    """No line is wider, none begins or ends within a word that fits a line, and nothing but spaces is lost."""
    lines = [words[i:j] for i, j in styled.breaks(words, width)]
    assert all(styled.cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")
    if all(styled.cell_len(word) <= width for word in words.split()) and not words.startswith(" "):
        assert [word for line in lines for word in line.split()] == words.split()


def test_a_label_that_is_too_long_is_cut_and_columns_stay_aligned() -> None:
    """The cut is marked, and takes no more columns of the terminal than it has, of wide characters too."""
    labels = [Text("卷积" * 9), Text("conv"), Text("a" * 40)]
    table, left_out = grid.table("layer", labels, [grid.numbers("MACs", ["1.2 k", "3", "45 M"], 9)], 30)
    lines = styled.plain([table], 30).split("\n")
    assert left_out == []
    assert {styled.cell_len(line) for line in lines} <= {styled.cell_len(lines[1]), styled.cell_len(lines[3])}
    assert [line.count("…") for line in lines] == [0, 0, 1, 0, 1]
    assert max(map(styled.cell_len, lines)) <= 30


def test_columns_that_are_asked_for_keep_their_figures_at_any_width() -> None:
    """Where all columns stay, a narrow table is wider than its terminal, and no figure is cut off."""
    p = costmodel.profile("alexnet")
    columns = ["type", "kind", "output_shape", "params", "macs", "share", "flops", "memory_access", "activations"]
    wide, narrow = (text.profile(p, width, columns=columns, depth=9).split("\n") for width in (grid.WIDE, 60))
    figures = [re.findall(r"\d[\d.]* [kMG]\b", line) for line in wide if " Conv2d " in line]
    assert len(figures) == 5
    assert figures == [re.findall(r"\d[\d.]* [kMG]\b", line) for line in narrow if " Conv2d " in line]


def test_heads_of_two_lines_stand_above_their_cells() -> None:
    """The last line of each head is the one above the rule, also where a column wraps."""
    columns = [
        grid.numbers("mem. access\n(bytes)", ["12 k"]),
        grid.Column("why", ["for these and other reasons"], right=False, wrap=True),
    ]
    table, _ = grid.table("layer", [Text("conv")], columns, 45)
    assert styled.plain([table], 45).split("\n") == [
        "        mem. access",
        "layer       (bytes)   why",
        "─────────────────────────────────────────────",
        "conv           12 k   for these and other",
        "                      reasons",
    ]


@pytest.mark.parametrize("width", [60, 100])
def test_colours_change_no_character(width: int) -> None:
    """A console of rich shows the lines that plain text has, with styles."""
    parts = text.profile_parts(costmodel.profile("alexnet"), width=width)
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system="standard", highlight=False)
    for part in parts:
        console.print(part, crop=False)
    colored = file.getvalue()
    assert "\x1b[1m" in colored
    bare = re.sub(r"\x1b\[[\d;]*m", "", colored)
    assert "\n".join(line.rstrip() for line in bare.rstrip().split("\n")) == styled.plain(parts, width)


def test_plain_text_needs_no_library_for_tables() -> None:
    """Printing a profile in a fresh process loads neither rich nor pandas nor a template engine."""
    script = (
        "import sys, costmodel; from torch import nn; p = costmodel.profile(nn.Linear(3, 4), (1, 3)); assert str(p); "
        "print(sorted({'rich', 'pandas', 'jinja2', 'matplotlib', 'plotly', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_table_of_many_layers_is_made_in_one_pass() -> None:
    """Twice the rows are twice the calls of Python: no row looks at the others."""

    def calls(rows: int) -> int:
        layers = [nn.Linear(1 + i, 2 + i, device="meta") for i in range(rows)]
        p = costmodel.profile(nn.Sequential(*layers), (1, 1))
        p.crosscheck()
        made = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            str(p)
        finally:
            sys.setprofile(before)
        return made

    few, many = calls(200), calls(800)
    assert many < 4.2 * few
