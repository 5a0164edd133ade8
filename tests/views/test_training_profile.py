"""A training-mode profile says what its peak leaves out, and where that is found."""

from __future__ import annotations

import html

from torch import nn

import costmodel


def test_a_training_forward_points_to_the_training_step() -> None:
    """Text, Markdown and page of a training-mode profile say that its peak is the forward's; others do not."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    for mode, says in (("train", True), ("eval", False)):
        p = costmodel.profile(model, (2, 3, 8, 8), mode=mode)
        for shown in (str(p), p.to_markdown(), html.unescape(p.to_html())):
            for part in ("forward's alone: what autograd keeps", "`costmodel train`"):
                assert (part in " ".join(shown.split())) == says, (mode, shown[:80])
