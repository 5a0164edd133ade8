"""The map of the code names what there is."""

from __future__ import annotations

import re

from tests.documentation.pages import ROOT


def test_every_module_has_a_row_of_the_map() -> None:
    """docs/how_it_is_built.md says what each module and package is for, and names none that is not there."""
    page = (ROOT / "docs/how_it_is_built.md").read_text()
    cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = {name.rstrip("/") for cell in cells for name in re.findall(r"`([\w./]+)`", re.sub(r"\(.*?\)", "", cell))}
    there = {path.name for path in (ROOT / "costmodel").iterdir()} - {"__main__.py", "__pycache__", "py.typed"}
    assert named == there
