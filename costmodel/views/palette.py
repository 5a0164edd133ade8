"""Colours that are safe for colour-blind readers; nothing is shown by colour alone."""

from __future__ import annotations

KINDS = {
    "standard conv": "#0072B2", "pointwise conv": "#56B4E9", "depthwise conv": "#E69F00", "grouped conv": "#CC79A7",
    "transposed conv": "#882255", "linear": "#009E73", "matmul": "#44AA99", "attention": "#D55E00",
    "recurrent": "#AA4499", "embedding": "#5D4BB3", "norm": "#9AA5B1", "activation": "#D9C84A", "pool": "#8C8C32",
    "add": "#7A6A5B", "multiply": "#A08770", "concat": "#5E7287", "resample": "#6699CC", "view": "#C3C9D0",
    "other": "#808080",
}  # fmt: skip
"""Kinds of layer, in the order of legends: Okabe and Ito's palette for what does the arithmetic, and muted tones of
Tol's for the rest."""

MEMORY = {
    "parameters": "#0072B2", "buffers": "#882255", "optimizer state": "#CC79A7", "inputs": "#8C8C32",
    "gradients": "#E69F00", "saved activations": "#009E73", "temporaries": "#9AA5B1",
}  # fmt: skip
"""What memory holds in a training step, in the order of stacks: what stays all the time lies below what comes and
goes."""

STEPS = {"total": "#0072B2", "unit": "#9AA5B1", "more": "#E69F00", "less": "#009E73"}
"""Bars of a waterfall: a total, the step of another unit, what is added, what is left out."""

MODELS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5D4BB3", "#8C8C32", "#882255", "#44AA99",
)  # fmt: skip
"""Models of a comparison, in turn."""


def of_kind(kind: str) -> str:
    """The colour of a kind of layer; an unknown kind has that of "other".

    >>> of_kind("linear"), of_kind("my kind") == of_kind("other")
    ('#009E73', True)
    """
    return KINDS.get(kind, KINDS["other"])


def of_model(index: int) -> str:
    """The colour of the n-th model.

    >>> of_model(0) == of_model(10)
    True
    """
    return MODELS[index % len(MODELS)]
