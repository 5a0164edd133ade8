"""All networks at once, as Markdown: the classics side by side, and their cross-checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from costmodel.views import markdown, units
from costmodel.views.markdown import table

if TYPE_CHECKING:
    from costmodel.compare import Comparison
    from costmodel.models.closed import ClosedFormCheck
    from costmodel.profile import Profile


FIELD = (
    "The receptive field is that of the last feature map before global pooling or flattening, in input positions along "
    "each axis; it may be larger than the input. ∗ marks networks with squeeze-excitation, whose gates see the whole "
    "input besides. Peak memory is the bytes of live activations at the worst moment."
)
TWICE = (
    "Each layer is priced twice by code that shares nothing: by what torch ran, op by op, and in closed form from its "
    "hyper-parameters and input shape. A figure below is the number of layers in which both say the same, to the last "
    "integer; where it equals *derived twice*, none differs. *Whole* is the second check, of the network as a whole: "
    "its paper's table by arithmetic, without torch, against the trace, layer by layer and in total."
)
ONLY_TRACED = (
    "Operations between modules, which have no hyper-parameters that a closed form of a layer could start from, and "
    "modules of this library's own without one. The closed form of the whole network has them too."
)


def classics(c: Comparison, families: Mapping[str, tuple[str, ...]], pictures: Mapping[str, str]) -> str:
    """Every network of every family, side by side: costs, receptive field, and where the MACs are."""
    rows = []
    for names in families.values():
        for name in names:
            p = c.profiles[name]
            totals = [units.cell(total, getattr(p, total)) for total in markdown.TOTALS]
            size = units.shape(p.inputs[0].shape[2:])
            rows.append([f"`{name}`", size, *totals, _field(p)])
    head = ["network", "input", *(units.head(total) for total in markdown.TOTALS), "receptive field"]
    kinds = list(dict.fromkeys(kind for p in c.profiles.values() for kind in _macs_by_kind(p)))
    shares = [
        [f"`{name}`", *(units.share(_macs_by_kind(p)[kind], p.macs) for kind in kinds)]
        for name, p in c.profiles.items()
    ]
    about = (
        f"{len(c.profiles)} networks of {len(families)} families, one image of the paper's size, inference. Every "
        "figure is exact before it is rounded here; `costmodel profile NAME` has all of its digits, layer by layer."
    )
    parts = [
        "# The classics, side by side",
        about,
        table(head, rows, left=1),
        FIELD,
        markdown.conventions(),
    ]
    parts += [f"![{alt}]({path})" for path, alt in pictures.items()]
    if c.baseline is not None:
        figures = c.table.to_dict("index")
        ratios = [
            [f"`{name}`", *(units.ratio(figures[name][f"{total}_ratio"]) for total in markdown.TOTALS)]
            for name in c.profiles
        ]
        parts += [f"## Times {c.baseline}", table(["network", *map(units.head, markdown.TOTALS)], ratios)]
    parts += ["## Where the MACs are", table(["network", *kinds], shares)]
    return "\n\n".join(parts) + "\n"


def _field(p: Profile) -> str:
    field = p.receptive_field()
    return units.extent(field.size) + (" ∗" if field.is_global else "")


def _macs_by_kind(p: Profile) -> Counter[str]:
    macs: Counter[str] = Counter()
    for layer in p.pricing.layers:
        if layer.work.macs:
            macs[layer.kind] += int(layer.work.macs)
    return macs


def crosschecks(profiles: Mapping[str, Profile], whole: Mapping[str, ClosedFormCheck]) -> str:
    """What was derived twice, network by network and quantity by quantity, and what was not."""
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
