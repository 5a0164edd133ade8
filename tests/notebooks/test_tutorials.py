"""The tutorials run, and what they show is what is stored in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebooks.execute import FOLDER, TUTORIALS, executed


def shown(notebook: nbformat.NotebookNode) -> list[list[Any]]:
    """What each cell shows. A picture's bytes depend on the version of matplotlib and on fonts: of it, only that."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[output.data | dict.fromkeys(output.data.keys() & {"image/png"}) for output in c.outputs] for c in cells]


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_shows_what_is_stored(path: Path) -> None:
    """Run in a new kernel, each cell shows what is stored; ``python -m tests.notebooks.execute`` stores it."""
    stored = nbformat.read(path, as_version=4)
    assert shown(executed(path)) == shown(stored)
    assert sum(map(len, shown(stored))) > 5


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_can_be_read_and_run_anywhere(path: Path) -> None:
    """It needs torch alone; its lines are not cut off, its links lead somewhere, its size is no burden."""
    cells = nbformat.read(path, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {"costmodel"}
    assert re.findall(r"\"(?:torchvision|timm|hf):", code) == []
    assert [line for line in code.splitlines() if len(line) > 110] == []
    links = [link for cell in cells for link in re.findall(r"\]\(([^)]+)\)", cell.source) if "://" not in link]
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []
    assert path.stat().st_size < 500_000


def test_there_are_two() -> None:
    """The folder is where they are."""
    assert [path.stem for path in TUTORIALS] == ["choosing_a_backbone", "training_step"]
