"""Everything that can be asked of a profile."""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import TYPE_CHECKING

from costmodel.errors import CostModelError

if TYPE_CHECKING:
    from costmodel import Profile

FORMATS = ("__str__", "to_markdown", "to_html", "to_json", "to_csv", "to_latex", "_repr_html_")
TABLES = ("layers", "ops", "modules", "memory", "coverage", "shared_parameters", "inputs", "peak", "fusion", "is_exact")
FIGURES = ("plot_layers", "plot_kinds", "plot_receptive_field", "plot_memory")


def look_at_everything(p: Profile, *, figures: bool = True) -> None:
    """Asks for every table, analysis, format and figure of a profile; it pickles after each."""
    import matplotlib.pyplot as plt

    for name in TABLES:
        getattr(p, name)
        pickle.dumps(p)
    for name in FORMATS:
        assert isinstance(getattr(p, name)(), str), name
        pickle.dumps(p)
    for result in (p.crosscheck(), p.guidelines(), p.roofline("h100")):
        assert result.to_markdown()
        assert str(result)
        pickle.dumps(p)
    with suppress(CostModelError):  # some models have none
        p.receptive_field()
    if figures:
        for name in FIGURES:
            getattr(p, name)().canvas.draw()
        p.plot_roofline("h100").canvas.draw()
        plt.close("all")
    pickle.dumps(p)
