"""Names that harm who reads a report: escapes of a terminal, formulas, markup, line breaks."""

from __future__ import annotations

import csv
import io
import re

import pytest
import torch
from torch import nn

import costmodel
from costmodel.comparison import compare
from costmodel.difference import Difference
from costmodel.saved import parse
from tests.robustness.everything import look_at_everything

HOSTILE = (
    "\x1b[31mred\x1b[0m", "two\nlines", "=1+1", "+1", "-2+3", "@SUM(A1)", "a|b`c`", "<img src=x onerror=alert(1)>",
    "\u202eright to left", "tab\there", "\x07bell", "</script>", "[link](http://x)",
)  # fmt: skip


class Hostile(nn.Module):
    """Layers whose names are all of these, each with a convolution and an op outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        for name in HOSTILE:
            self.add_module(name, nn.Conv2d(2, 2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x) + 1
        return x


Hostile.__name__ = "\x1b[2J\n=Hostile|`<b>"


@pytest.fixture(scope="module")
def profile() -> costmodel.Profile:
    """Its profile."""
    return costmodel.profile(Hostile(), (1, 2, 4, 4))


def test_every_view_exists(profile: costmodel.Profile) -> None:
    """No name makes a table, an analysis, a format or a figure fail, and all of it reads back."""
    look_at_everything(profile)
    assert parse(profile.to_json()).to_json() == profile.to_json()


def test_no_text_moves_a_cursor_or_breaks_a_line(profile: costmodel.Profile) -> None:
    """Control characters are spelled out in every text, and no line begins within a name."""
    both = compare({"\x1b[31ma\nb": profile, "other": profile}, baseline="\x1b[31ma\nb")
    texts = [str(profile), profile.to_csv(), profile.to_markdown(), str(profile.roofline("h100"))]
    texts += [str(profile.guidelines()), str(profile.crosscheck()), str(both), both.to_csv(), both.to_markdown()]
    texts += [str(Difference(profile, costmodel.profile(nn.ReLU(), (1, 2))))]
    for text in texts:
        assert all(c == "\n" or c.isprintable() for c in text)
        assert not re.search(r"^(lines|b\b|=Hostile)", text, re.MULTILINE)
    assert r"\x1b[31mred\x1b[0m" in str(profile)
    assert r"two\nlines" in profile.to_text(fold=False)


def test_no_cell_is_a_formula(profile: costmodel.Profile) -> None:
    """A spreadsheet takes what begins with =, +, - or @ for a formula: such a name has a quote before it."""
    both = compare({"=1+1": profile, "b": profile})
    for text in (profile.to_csv(), both.to_csv()):
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
        assert not [cell for cell in cells if cell.startswith("-") and not re.fullmatch(r"-(x-|x\d+)*", cell)]
        assert "'=1+1" in cells


def test_markdown_tables_keep_their_columns(profile: costmodel.Profile) -> None:
    """Pipes and backticks of names are escaped, and no tag of theirs is left."""
    for text in (profile.to_markdown(), profile.guidelines().to_markdown(), profile.roofline("h100").to_markdown()):
        assert "<img" not in text
        assert "<b>" not in text.replace("/'<b>`", "")  # within backticks it is text
        assert "[link](" not in text
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1, table


def test_pages_hold_names_as_text(profile: costmodel.Profile) -> None:
    """No name becomes a tag, and none ends a script."""
    for page in (profile.to_html(), profile._repr_html_(), compare({"</script><b>": profile}).to_html()):
        assert "<img src=x" not in page
        assert "</script><b>" not in page
        assert page.count("<script") == page.count("</script>")
