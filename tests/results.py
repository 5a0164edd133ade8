"""One result of each kind."""

from __future__ import annotations

from torch import nn

import costmodel
from costmodel.budgets.subject import Settings, examine
from costmodel.budgets.verdict import verdict
from costmodel.conventions.reconciliation import reconcile
from costmodel.difference import Difference, Differences
from costmodel.shown import Shown
from tests.decoding.networks import Tiny


def one_of_each() -> dict[str, Shown]:
    """By the name of its view."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    p = costmodel.profile(model, (1, 3, 16, 16))
    step = costmodel.training_step(nn.Linear(3, 2), (4, 3), optimizer="sgd")
    conv = costmodel.formulas.conv(c_in=4, c_out=4, kernel=3, size=(8, 8))
    generated = costmodel.generation(Tiny(), prompt=5, new=4)
    made = (
        p,
        generated,
        generated.roofline("a100"),
        step,
        costmodel.compare({"a": step, "b": step}),
        costmodel.compare({"a": p, "b": p}),
        p.crosscheck(),
        Difference(p, p),
        Differences({"a": p}, {"a": p}),
        p.guidelines(),
        p.roofline("a100"),
        p.counted_as("fvcore"),
        reconcile(p, costmodel.TOOLS.values()),
        costmodel.published(p, macs="42k"),
        costmodel.scaling(nn.Linear(3, 2), ("B", 3)),
        costmodel.measure(model, (1, 3, 16, 16), peaks="a100", repeats=2),
        costmodel.sweep("mobilenet_v2", {"width": [0.5, 1.0, -1.0]}),
        costmodel.formulas.compare("conv", "depthwise_conv", c_in=4, channels=4, c_out=4, kernel=3, size=(8, 8)),
        p.coverage,
        p.peak,
        p.receptive_field(),
        conv,
        conv.backward(),
        costmodel.formulas.depthwise_separable(c_in=4, c_out=4, kernel=3, size=(8, 8)),
        costmodel.models.closed_form("alexnet"),
        examine("alexnet", None, Settings(), lambda subject: verdict(subject, ())),
    )
    return {result.view: result for result in made}
