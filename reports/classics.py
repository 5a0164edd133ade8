"""All networks of the library side by side: classics.md with its figures, and classics.html."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache

from costmodel.comparison import Comparison, compare
from costmodel.measures import shown_in
from costmodel.models import FAMILIES, list_models
from costmodel.profiling import Profile
from costmodel.views import figures, markdown, scatter, units
from costmodel.views.cells import total_cell
from costmodel.views.markdown import table

BASELINE = "vgg16"
"""The network that ratios are to."""

DRAWN = (
    "alexnet", "vgg16", "googlenet", "inception_v3", "inception_v4", "resnet50", "resnext50_32x4d", "se_resnet50",
    "xception", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v1", "shufflenet_v2",
    "efficientnet_b0", "efficientnet_v2_s", "ghostnet",
)  # fmt: skip
"""One network per family for ImageNet: as many as a static figure has room for."""

FIELD = (
    "The receptive field is that of the last feature map before global pooling or flattening, in input positions per "
    "axis; it can exceed the input. ∗ marks networks with squeeze-excitation, whose gates also depend on the whole "
    "input. Peak memory is the largest number of bytes of activations that are live at once."
)


@cache
def every_network() -> Comparison:
    """The profiles of all networks, on their papers' inputs."""
    return compare(list_models(), baseline=BASELINE)


def files() -> dict[str, bytes]:
    """The report's files, by their names."""
    c = every_network()
    few = Comparison({name: c.profiles[name] for name in DRAWN}, BASELINE)
    drawn = {f"classics_figures/{name}.svg": figure for name, figure in scatter.of_comparison(few).items()}
    return {
        "classics.md": _markdown(c, {path: alt for path, (alt, _) in drawn.items()}).encode(),
        "classics.html": c.to_html().encode(),
        **{path: figures.svg(figure) for path, (_, figure) in drawn.items()},
    }


def _markdown(c: Comparison, pictures: Mapping[str, str]) -> str:
    shown = shown_in("totals")
    rows = []
    for name, p in c.profiles.items():
        totals = [total_cell(p, measure) for measure in shown]
        rows.append([f"`{name}`", units.shape(p.inputs[0].shape[2:]), *totals, _field(p)])
    head = ["network", "input", *(units.head(measure.name) for measure in shown), "receptive field"]
    kinds = list(dict.fromkeys(kind for p in c.profiles.values() for kind in _macs_by_kind(p)))
    shares = [
        [f"`{name}`", *(units.share(_macs_by_kind(p)[kind], p.macs) for kind in kinds)]
        for name, p in c.profiles.items()
    ]
    about = (
        f"{len(c.profiles)} networks of {len(FAMILIES)} families, one image of the paper's size, inference. Every "
        "figure is exact, and rounded here; `costmodel profile NAME` has all digits, layer by layer."
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
        columns = [[units.ratio(value) for value in c.ratios(measure.name)] for measure in shown]
        ratios = [[f"`{name}`", *(column[i] for column in columns)] for i, name in enumerate(c.profiles)]
        parts += [f"## Times {c.baseline}", table(["network", *(units.head(m.name) for m in shown)], ratios)]
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
