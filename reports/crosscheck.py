"""The cross-check of every network, counted: crosscheck.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from costmodel.models import check_closed_form
from costmodel.views import units
from costmodel.views.markdown import table
from reports.classics import every_network

if TYPE_CHECKING:
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profiling import Profile

TWICE = (
    "Each layer's cost is derived twice, by code that shares nothing: from the ops that torch ran, and in closed form "
    "from the layer's hyper-parameters and input shape. A figure below is the number of layers for which the two are "
    "equal; where it is that of *derived twice*, all are. *Whole* is the check of the whole network: arithmetic on its "
    "paper's table, without torch, against the trace, layer by layer and in total."
)
ONLY_TRACED = (
    "Ops between modules have no hyper-parameters from which a layer's closed form could be computed, and some modules "
    "of this library have no closed form of their own. The closed form of the whole network covers them too."
)


def files() -> dict[str, bytes]:
    """The report's one file, by its name."""
    profiles = every_network().profiles
    whole = {name: check_closed_form(p, name) for name, p in profiles.items()}
    return {"crosscheck.md": _markdown(profiles, whole).encode()}


def _markdown(profiles: Mapping[str, Profile], whole: Mapping[str, ClosedFormCheck]) -> str:
    quantities = list(dict.fromkeys(x.quantity for p in profiles.values() for x in p.crosscheck().comparisons))
    rows, sums = [], [0] * (len(quantities) + 3)
    for name, p in profiles.items():
        check = p.crosscheck()
        agreed = Counter(x.quantity for x in check.comparisons if x.agree)
        counts = [len(p.pricing.layers), check.checked, *(agreed[q] for q in quantities), len(check.traced_only)]
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
        verdicts = ["✅" if check.ok else f"❌ {len(check.mismatches)}", "✅" if whole[name].ok else "❌"]
        rows.append([f"`{name}`", *(f"{n:,}" for n in counts), *verdicts])
    rows.append(["all", *(f"{n:,}" for n in sums), "", ""])
    head = ["network", "layers", "derived twice", *(f"{units.name(q)} agree" for q in quantities), "traced only"]
    only: Counter[str] = Counter()
    for p in profiles.values():
        names = set(p.crosscheck().traced_only)
        only.update(layer.type for layer in p.pricing.layers if layer.name in names)
    return "\n\n".join([
        "# Cross-check of every network",
        TWICE,
        table([*head, "layers", "whole"], rows),
        "## Traced only",
        ONLY_TRACED,
        table(["operation", "times"], [[f"`{kind}`", f"{n:,}"] for kind, n in sorted(only.items())]),
    ]) + "\n"  # fmt: skip
