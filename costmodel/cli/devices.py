"""``costmodel devices``."""

from __future__ import annotations

from costmodel.cli import console


def devices() -> None:
    """List the devices: what `--device` takes."""
    from costmodel.views import devices as view

    console.show(view.parts(console.width()))
