"""Note 004, a survey of classification networks: AlexNet, VGG and GoogLeNet's end (claims 0 to 9)."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import nn

from costmodel import formulas
from costmodel.notes.claim import Finding, Note, claim, holds_if
from costmodel.notes.measure import modules_of, network, on_meta, traced
from costmodel.views import units

NOTE = Note(number="004", about="a survey of classification networks")

ALEX_PAPER = "Krizhevsky, Sutskever & Hinton, NIPS 2012"
VGG_PAPER = "Simonyan & Zisserman, arXiv:1409.1556"
GOOGLE_PAPER = "Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842"


@claim(NOTE, 0, "AlexNet was published at CVPR 2012.", formula="none")
def alexnet_venue() -> Finding:
    return Finding(
        verdict="fails",
        value="NIPS 2012",
        why="It was NIPS 2012 (Advances in Neural Information Processing Systems 25): Krizhevsky, Sutskever and "
        "Hinton, 'ImageNet Classification with Deep Convolutional Neural Networks'. The year is right.",
        source=ALEX_PAPER,
    )


@claim(NOTE, 1, "AlexNet is 5 convolutions, 3 max pools and 3 fully connected layers.", formula="layers that ran")
def alexnet_layers() -> Finding:
    net = on_meta("alexnet")
    counts = [len(modules_of(net, kind)) for kind in (nn.Conv2d, nn.MaxPool2d, nn.Linear)]
    return Finding(
        verdict=holds_if(counts == [5, 3, 3]),
        value=counts,
        why="Counted in the single-tower network; that of 2012 has the same, and local response normalisation after "
        "the first two convolutions.",
        traced=dict(zip(("convolutions", "max pools", "fully connected"), counts, strict=True)),
        source=f"{ALEX_PAPER}, section 3.5",
    )


ALEX_CONVS = ((3, 96, 11, 1), (96, 256, 5, 2), (256, 384, 3, 1), (384, 384, 3, 2), (384, 256, 3, 2))
"""The network of 2012: channels in and out, kernel, and towers that do not see each other. Section 3.5 of its paper."""
ALEX_FCS = (256 * 6 * 6, 4096, 4096, 1000)


def alexnet_of_2012(fc_groups: int) -> int:
    """Parameters of the network of 2012, with its fully connected layers joined (1) or each tower by itself (2)."""
    convs = sum(
        formulas.conv(c_in=a, c_out=b, kernel=k, size=(13, 13), padding=k // 2, groups=g).params
        for a, b, k, g in ALEX_CONVS
    )
    fcs = sum(
        fc_groups * formulas.linear(in_features=a // fc_groups, out_features=b // fc_groups).params
        for a, b in pairwise(ALEX_FCS)
    )
    return int(convs + fcs)


def two_towers(fc_groups: int) -> nn.Module:
    """The same as layers, a fully connected one of two towers being a grouped 1x1 convolution on one pixel."""
    layers: list[nn.Module] = [nn.Conv2d(a, b, k, padding=k // 2, groups=g) for a, b, k, g in ALEX_CONVS]
    layers.append(nn.AdaptiveAvgPool2d(6))
    layers += [nn.Flatten(), nn.Unflatten(1, (ALEX_FCS[0], 1, 1))]
    layers += [nn.Conv2d(a, b, 1, groups=fc_groups) for a, b in pairwise(ALEX_FCS)]
    return nn.Sequential(*layers)


@claim(
    NOTE, 2, "Only AlexNet's third convolution joins the two GPUs; its other layers are independent.",
    formula="params with groups 1 or 2",
)  # fmt: skip
def alexnet_towers() -> Finding:
    joined, apart = alexnet_of_2012(1), alexnet_of_2012(2)
    return Finding(
        verdict=holds_if(joined == apart),
        value=joined,
        why="Of the convolutions that is right: the second, fourth and fifth see their own GPU's maps alone. But the "
        "three fully connected layers, too, see both: only so does the network have the paper's 60 million parameters "
        f"({joined:,}; with each GPU by itself it would have {apart:,}).",
        closed_form={"params": joined, "params, fully connected layers apart": apart},
        traced={
            "params": traced(partial(two_towers, 1), 1, 3, 13, 13).params,
            "params, fully connected layers apart": traced(partial(two_towers, 2), 1, 3, 13, 13).params,
        },
        source=f"{ALEX_PAPER}, section 3.5 and abstract",
    )


@claim(NOTE, 3, "N = (W - F + 2P) / S + 1, for pooling too.", formula="⌊(W + 2P - D(F - 1) - 1) / S⌋ + 1")
def output_size() -> Finding:
    grid = [
        (w, f, p, s) for w in range(7, 65) for f in (1, 2, 3, 5, 7) for p in range(f // 2 + 1) for s in (1, 2, 3)
    ]  # fmt: skip
    whole = sum((w - f + 2 * p) % s == 0 for w, f, p, s in grid)
    (first, _) = formulas.conv_output_size(size=(224, 224), kernel=11, stride=4, padding=2)
    (pooled, _) = formulas.pool_output_size(size=(112, 112), kernel=3, stride=2, ceil_mode=True)
    alexnet, googlenet = (network(name).pricing.layers for name in ("alexnet", "googlenet"))
    return Finding(
        verdict=holds_if(whole == len(grid), otherwise="approximate"),
        value=[(224 - 11 + 2 * 2) / 4 + 1, first],
        why=f"Where S divides: always at stride 1, in {units.share(whole, len(grid))} of {len(grid):,} combinations "
        f"tried. Else it is rounded down, as in AlexNet's first layer ({(224 - 11 + 4) / 4 + 1:g} is {first}), or up "
        f"in a pool with ceil_mode, as in GoogLeNet's first ({(112 - 3) / 2 + 1:g} is {pooled}). With dilation D, F "
        "becomes D(F - 1) + 1.",
        closed_form={"AlexNet's first": first, "GoogLeNet's first pool": pooled},
        traced={
            "AlexNet's first": alexnet[0].outputs[0].shape[-1],
            "GoogLeNet's first pool": next(x for x in googlenet if x.kind == "pool").outputs[0].shape[-1],
        },
        source="Dumoulin & Visin, arXiv:1603.07285, relations 6 and 8",
    )


@claim(
    NOTE, 4, "VGG16 is network D with 16 hidden layers; network D with 19 hidden layers is VGG19.",
    formula="convolutions + fully connected layers",
)  # fmt: skip
def vgg_letters() -> Finding:
    counts = {
        name: len(modules_of(on_meta(name), nn.Conv2d, nn.Linear)) for name in ("vgg16", "vgg19")
    }  # fmt: skip
    return Finding(
        verdict="fails",
        value=[counts["vgg16"], counts["vgg19"]],
        why=f"D is VGG16; VGG19 is E. And {counts['vgg16']} and {counts['vgg19']} count the layers with weights, "
        "convolutions and fully connected ones, of which the last is the output and not hidden.",
        traced=counts,
        source=f"{VGG_PAPER}, Table 1",
    )


@claim(NOTE, 5, "3x3 with stride 1 and padding 1 keeps the size; a 2x2 pool of stride 2 halves it.", formula="n; ⌊n/2⌋")
def vgg_sizes() -> Finding:
    kept = all(
        formulas.conv_output_size(size=(n, n), kernel=3, stride=1, padding=1) == (n, n) for n in range(1, 300)
    )  # fmt: skip
    halved = all(
        formulas.pool_output_size(size=(n, n), kernel=2, stride=2) == (n // 2, n // 2) for n in range(2, 300)
    )  # fmt: skip
    pools = [x for x in network("vgg16").pricing.layers if x.type == "MaxPool2d"]
    sizes = [pools[0].inputs[0].shape[-1], *(x.outputs[0].shape[-1] for x in pools)]
    return Finding(
        verdict=holds_if(kept and halved),
        value=sizes,
        why=f"In VGG16 {' → '.join(map(str, sizes))}. An odd size is rounded down: 7 becomes 3.",
        closed_form={"sizes": [224 // 2**i for i in range(6)]},
        traced={"sizes": sizes},
    )


def params_of_vgg_fcs() -> list[int]:
    """Parameters of VGG's three fully connected layers."""
    widths = (512 * 7 * 7, 4096, 4096, 1000)
    return [formulas.linear(in_features=a, out_features=b).params for a, b in pairwise(widths)]


@claim(
    NOTE,
    6,
    "The last three fully connected layers hold the vast majority of VGG16's parameters.",
    formula="Σ (a + 1) b",
)
def vgg_fcs() -> Finding:
    p = network("vgg16")
    closed = sum(params_of_vgg_fcs())
    ran = sum(t.size for x in p.pricing.layers if x.kind == "linear" for t in x.parameters)
    macs = sum(x.work.macs for x in p.pricing.layers if x.kind == "linear")
    return Finding(
        verdict=holds_if(closed > p.params / 2),
        value=closed / p.params,
        why=f"{closed:,} of {p.params:,}, {units.share(closed, p.params)}, and {units.share(macs, p.macs)} of the "
        f"MACs. The first of them alone has {params_of_vgg_fcs()[0]:,}.",
        closed_form={"params of the fully connected layers": closed},
        traced={"params of the fully connected layers": ran, "params": p.params},
    )


@claim(NOTE, 7, "Two 3x3 layers of stride 1 see 5x5: 5 → 3 → 1.", formula="r = 1 + Σ (k - 1) Π s")
def two_see_five() -> Finding:
    closed = formulas.receptive_field(layers=[(3, 1), (3, 1)]).size
    between = formulas.conv_output_size(size=(5, 5), kernel=3)
    left = formulas.conv_output_size(size=between, kernel=3)
    p = traced(lambda: nn.Sequential(nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)), 1, 1, 9, 9)
    return Finding(
        verdict=holds_if(closed == 5 and (between, left) == ((3, 3), (1, 1))),
        value=closed,
        why="Forwards the field grows 1, 3, 5; backwards a 5x5 shrinks to 3x3 and to one value.",
        closed_form={"receptive field": closed},
        traced={"receptive field": p.receptive_field().size[0]},
        source=f"{VGG_PAPER}, section 2.3",
    )


@claim(NOTE, 8, "A 5x5 needs 25 C² parameters, two 3x3 need 18 C².", formula="k² C² against 2 · 9 C²")
def five_or_twice_three() -> Finding:
    c, size = 64, (28, 28)
    five = formulas.conv(c_in=c, c_out=c, kernel=5, size=size, padding=2, bias=False)
    three = formulas.conv(c_in=c, c_out=c, kernel=3, size=size, padding=1, bias=False)
    ran5 = traced(lambda: nn.Conv2d(c, c, 5, padding=2, bias=False), 1, c, *size)
    ran3 = traced(
        lambda: nn.Sequential(*(nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in range(2))), 1, c, *size
    )  # fmt: skip
    return Finding(
        verdict=holds_if((five.params, 2 * three.params) == (25 * c * c, 18 * c * c)),
        value=[five.params // c**2, 2 * three.params // c**2],
        why=f"Weights, for C channels in and out; {units.share(five.params - 2 * three.params, five.params)} fewer, "
        "and as many fewer MACs. Biases add C and 2C.",
        closed_form={"params of 5x5": five.params, "params of two 3x3": 2 * three.params, "MACs of 5x5": five.macs},
        traced={"params of 5x5": ran5.params, "params of two 3x3": ran3.params, "MACs of 5x5": ran5.macs},
        source=f"{VGG_PAPER}, section 2.3, which has 49 C² against 27 C²",
    )


@claim(NOTE, 9, "GoogLeNet drops the fully connected layers.", formula="linear layers that run")
def googlenet_fcs() -> Finding:
    p = network("googlenet")
    linears = [x for x in p.pricing.layers if x.kind == "linear"]
    held = sum(t.size for x in linears for t in x.parameters)
    auxiliary = len(modules_of(on_meta("googlenet", aux=True).auxiliary, nn.Linear))
    return Finding(
        verdict=holds_if(not linears, otherwise="approximate" if len(linears) == 1 else "fails"),
        value=len(linears),
        why=f"It drops the hidden ones, and keeps one linear layer behind its average pool, 1024 to 1000: {held:,} "
        f"parameters, {units.share(held, p.params)} of the network (VGG16's three hold "
        f"{units.share(sum(params_of_vgg_fcs()), network('vgg16').params)}). The auxiliary classifiers have "
        f"{auxiliary} more, in training.",
        traced={"linear layers": len(linears), "their params": held, "in auxiliary classifiers": auxiliary},
        source=f"{GOOGLE_PAPER}, section 5",
    )
