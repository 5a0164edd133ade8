"""Note 000's exercise: HybridSN, layer by layer (claims 14 to 21)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from costmodel import formulas, models
from costmodel.models.closed.hybridsn import BANDS, CONV_2D, CONVS_3D, HIDDEN, WINDOW
from costmodel.notes.claim import Finding, claim, holds_if
from costmodel.notes.measure import figures, modules_of, network, on_meta
from costmodel.notes.note_000 import NOTE
from costmodel.views import units


def hybrid_shapes() -> list[tuple[int, ...]]:
    """What each of HybridSN's four convolutions returns, of one image, by the formula of the output's size."""
    shapes: list[tuple[int, ...]] = []
    c_in, size = 1, (BANDS, WINDOW, WINDOW)
    for c_out, kernel in CONVS_3D:
        cost = formulas.conv(c_in=c_in, c_out=c_out, kernel=kernel, size=size)
        shapes.append(cost.output_shape[1:])
        c_in, size = c_out, cost.output_size
    bands, *area = size
    shapes.append((c_in * bands, *area))
    shapes.append(formulas.conv(c_in=c_in * bands, c_out=CONV_2D, kernel=3, size=tuple(area)).output_shape[1:])
    shapes.append((shapes[-1][0] * shapes[-1][1] * shapes[-1][2],))
    return shapes


def hybrid_traced(name: str) -> tuple[int, ...]:
    """What a layer of the traced network returned, without the batch."""
    (layer,) = (row for row in network("hybridsn").pricing.layers if row.name == name)
    return layer.outputs[0].shape[1:]


def hybrid_claim(index: int, layer: str, said: tuple[int, ...], why: str) -> Finding:
    """One layer's output shape: as said, by the formula, and traced."""
    closed, ran = hybrid_shapes()[index], hybrid_traced(layer)
    return Finding(
        verdict=holds_if(closed == said == ran),
        value=list(closed) if len(closed) > 1 else closed[0],
        why=why,
        closed_form={"output shape": closed},
        traced={"output shape": ran},
    )


@claim(NOTE, 14, "conv1: (1, 30, 25, 25) through 8 kernels of 7x3x3 gives (8, 24, 23, 23).", formula="n - k + 1")
def hybrid_conv1() -> Finding:
    return hybrid_claim(0, "conv1.conv", (8, 24, 23, 23), "No padding, so 30 - 7 + 1 bands and 25 - 3 + 1 pixels.")


@claim(NOTE, 15, "conv2: 16 kernels of 5x3x3 give (16, 20, 21, 21).", formula="n - k + 1")
def hybrid_conv2() -> Finding:
    return hybrid_claim(1, "conv2.conv", (16, 20, 21, 21), "24 - 5 + 1 bands and 23 - 3 + 1 pixels.")


@claim(NOTE, 16, "conv3: 32 kernels of 3x3x3 give (32, 18, 19, 19).", formula="n - k + 1")
def hybrid_conv3() -> Finding:
    return hybrid_claim(2, "conv3.conv", (32, 18, 19, 19), "20 - 3 + 1 bands and 21 - 3 + 1 pixels.")


@claim(NOTE, 17, "A reshape of 32 x 18 gives (576, 19, 19).", formula="C · bands")
def hybrid_reshape() -> Finding:
    return hybrid_claim(3, "join_bands", (576, 19, 19), "Bands become channels; a view, which costs nothing.")


@claim(NOTE, 18, "A 2-D convolution of 64 kernels 3x3 gives (64, 17, 17).", formula="n - k + 1")
def hybrid_conv4() -> Finding:
    return hybrid_claim(4, "conv4.conv", (64, 17, 17), "19 - 3 + 1 pixels.")


@claim(NOTE, 19, "Flattening gives 18496.", formula="64 · 17 · 17")
def hybrid_flatten() -> Finding:
    return hybrid_claim(5, "flatten", (18496,), "64 maps of 17 x 17.")


@claim(NOTE, 20, "Fully connected layers of 256 and 128, then 16 outputs; dropout 0.4.", formula="Σ (in + 1) · out")
def hybrid_head() -> Finding:
    widths = (*hybrid_shapes()[5], *HIDDEN, 16)
    closed = sum(formulas.linear(in_features=a, out_features=b).params for a, b in pairwise(widths))
    network_ = on_meta("hybridsn")
    linears, drops = modules_of(network_, nn.Linear), modules_of(network_, nn.Dropout)
    ran = sum(
        p.size for layer in network("hybridsn").pricing.layers if layer.kind == "linear" for p in layer.parameters
    )
    rates = [d.p for d in drops]
    return Finding(
        verdict=holds_if([m.out_features for m in linears] == [256, 128, 16] and rates == [0.4, 0.4]),
        value=list(widths[1:]),
        why=f"They hold {closed:,} parameters, {units.share(closed, network('hybridsn').params)} of the network; the "
        "dropout follows the first two.",
        closed_form={"params": closed},
        traced={"params": ran, "dropout": rates},
        source="Roy et al., HybridSN, arXiv:1902.06701, Table I",
    )


@claim(NOTE, 21, "The class is HybridSN.", formula="params without batch norm = Table I's total")
def hybrid_name() -> Finding:
    name = type(on_meta("hybridsn")).__name__
    p = network("hybridsn")
    norms = sum(t.size for layer in p.pricing.layers if layer.kind == "norm" for t in layer.parameters)
    (printed,) = (r.params for r in models.published() if r.name == "hybridsn")
    return Finding(
        verdict=holds_if(name == "HybridSN" and p.params - norms == printed),
        value=p.params - norms,
        why=f"It is the paper's network: {p.params - norms:,} parameters without batch norm, to the last one those of "
        f"Table I. The note's batch norms, which the paper does not have, add {norms}.",
        traced={"params": p.params, "params of batch norms": norms, **figures(p, "macs")},
        source="Roy et al., HybridSN, arXiv:1902.06701, Table I",
    )
