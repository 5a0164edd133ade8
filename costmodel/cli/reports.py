"""The command that writes the reports of this repository: ``reports``. The same bytes for the same library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from costmodel.cli import console
from costmodel.errors import InputError

if TYPE_CHECKING:
    from costmodel.compare import Comparison

BASELINE = "vgg16"
"""The network that the others are held to in print."""

DRAWN = (
    "alexnet", "vgg16", "googlenet", "inception_v3", "inception_v4", "resnet50", "resnext50_32x4d", "se_resnet50",
    "xception", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v1", "shufflenet_v2",
    "efficientnet_b0", "efficientnet_v2_s", "ghostnet",
)  # fmt: skip
"""One network of each family for ImageNet: what a static figure has room for."""


def reports(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which; all without.")] = None,
    folder: Annotated[Path, typer.Option("--into", help="Where they are written.")] = Path("reports"),
) -> None:
    """Writes the reports on the library's own networks, and on the notes, into a folder."""
    for name in names or REPORTS:
        if name not in REPORTS:
            raise InputError(f"no report is called {name!r}; there are {', '.join(REPORTS)}")
        for path, content in REPORTS[name](folder).items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            console.told(f"wrote {target}")


@cache
def _every_network() -> Comparison:
    from costmodel.compare import compare
    from costmodel.models import list_models

    return compare(list_models(), baseline=BASELINE, progress=console.progress)


def classics(_: Path) -> Mapping[str, bytes]:
    """Every network side by side: a page, and Markdown with its figures."""
    from costmodel.compare import Comparison
    from costmodel.models import FAMILIES
    from costmodel.views import figures, zoo

    c = _every_network()
    few = Comparison({name: c.profiles[name] for name in DRAWN}, BASELINE)
    drawn = {f"classics_figures/{name}.svg": figure for name, figure in figures.of_comparison(few).items()}
    text = zoo.classics(c, FAMILIES, {path: alt for path, (alt, _) in drawn.items()})
    return {
        "classics.md": text.encode(),
        "classics.html": c.to_html().encode(),
        **{path: figures.svg(figure) for path, (_, figure) in drawn.items()},
    }


def published(_: Path) -> Mapping[str, bytes]:
    """What papers print, and what is computed."""
    from costmodel import models
    from costmodel.cli.zoo import published_lines
    from costmodel.views import published as view

    return {"published.md": view.markdown(published_lines(models.published())).encode()}


def crosscheck(_: Path) -> Mapping[str, bytes]:
    """How much of every network is derived twice, and agrees."""
    from costmodel.models import check_closed_form
    from costmodel.views import zoo

    profiles = _every_network().profiles
    whole = {name: check_closed_form(p, name) for name, p in profiles.items()}
    return {"crosscheck.md": zoo.crosschecks(profiles, whole).encode()}


def notes(_: Path) -> Mapping[str, bytes]:
    """Every claim of the notes, computed."""
    from costmodel.notes import results
    from costmodel.views import notes as view

    found = results()
    return {"notes.md": view.markdown(found).encode(), "notes.html": view.page(found).encode()}


def guidelines(folder: Path) -> Mapping[str, bytes]:
    """ShuffleNetV2's experiments, beside what tests/benchmarks/guidelines.py has measured and kept in the folder."""
    from costmodel.notes import shuffle_report

    measured = shuffle_report.read(folder / "measured" / "guidelines.json")
    return {"guidelines.md": shuffle_report.markdown(measured).encode()}


REPORTS: Mapping[str, Callable[[Path], Mapping[str, bytes]]] = {
    "classics": classics, "published": published, "crosscheck": crosscheck, "notes": notes, "guidelines": guidelines,
}  # fmt: skip
"""The files that each report consists of, by their paths in the folder; what was measured is read from there."""

COMMANDS = (reports,)
