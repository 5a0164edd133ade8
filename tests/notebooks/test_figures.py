"""Figures in a notebook: each is shown by itself, once, and none is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image
from torch import nn

import costmodel
from costmodel.views.inline import Figure
from tests.decoding.networks import Tiny

CELLS = {
    "model": "import costmodel, sys\np = costmodel.profile('resnet18')",
    "figure": "p.plot_layers()",
    "pyplot": "'matplotlib.pyplot' in sys.modules",
    "with pyplot": "import matplotlib.pyplot as plt\np.plot_layers()",
    "silent": "p.plot_layers();",
    "kept": "plt.get_fignums()",
    "freed": "import gc, weakref\nfound = weakref.ref(p.plot_layers())\ngc.collect()\nfound() is None",
    "own axes": "fig, ax = plt.subplots()\np.plot_layers(ax=ax);",
}


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[nbformat.NotebookNode]]:
    """What each cell shows, from one run in a kernel."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def test_a_figure_shows_itself_without_pyplot(outputs: dict[str, list[nbformat.NotebookNode]]) -> None:
    """A cell that ends in a figure shows one picture, at half its pixels, and pyplot is not imported for it."""
    (shown,) = outputs["figure"]
    assert shown.output_type == "execute_result"
    assert shown.data["image/png"]
    assert shown.metadata["image/png"]["width"] < 1000
    assert [o.data["text/plain"] for o in outputs["pyplot"]] == ["False"]


def test_a_figure_is_shown_once_beside_pyplot(outputs: dict[str, list[nbformat.NotebookNode]]) -> None:
    """With pyplot's own printer there is one picture, too, and none behind a semicolon; one in axes of pyplot's."""
    assert sum("image/png" in o.get("data", {}) for o in outputs["with pyplot"]) == len(outputs["with pyplot"]) == 1
    assert outputs["silent"] == []
    assert ["image/png" in o.data for o in outputs["own axes"]] == [True]


def test_no_figure_is_kept(outputs: dict[str, list[nbformat.NotebookNode]]) -> None:
    """Pyplot knows none of them, and an unreferenced one is collected."""
    assert [o.data["text/plain"] for o in outputs["kept"]] == ["[]"]
    assert [o.data["text/plain"] for o in outputs["freed"]] == ["True"]


def plots() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every method of a result that draws, under its name."""
    model, given = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (2, 3, 8, 8)
    p, step = costmodel.profile(model, given), costmodel.training_step(model, given)
    required = {"plot_roofline": {"device": "a100"}}
    for result in (
        p,
        step,
        costmodel.compare({"a": p, "b": p}),
        costmodel.compare({"a": step, "b": step}),
        costmodel.generation(Tiny(), prompt=5, new=4),
        costmodel.scaling(nn.Linear(3, 2), ("B", 3)),
        costmodel.sweep("mobilenet_v2", {"width": [0.5, 1.0]}),
        costmodel.formulas.compare("conv", "depthwise_conv", c_in=4, channels=4, c_out=4, kernel=3, size=(8, 8)),
    ):
        for name in dir(result):
            if name.startswith("plot"):
                yield (
                    f"{type(result).__name__}.{name}",
                    lambda result=result, name=name: getattr(result, name)(**required.get(name, {})),
                )


def test_every_plot_has_a_picture_of_its_own() -> None:
    """Whatever draws returns a figure that a notebook shows, as large on the page as its metadata say."""
    found = dict(plots())
    assert len(found) > 10
    for name, draw in found.items():
        figure = draw()
        assert isinstance(figure, Figure), name
        png, size = figure._repr_png_() or (b"", {})
        width, height = Image.open(BytesIO(png)).size
        assert (width // 2, height // 2) == (size["width"], size["height"]), name
    assert Figure()._repr_png_() is None
