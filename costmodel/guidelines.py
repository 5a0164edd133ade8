"""ShuffleNet V2's four guidelines for fast networks, applied to any model, layer by layer.

Source: Ma, Zhang, Zheng & Sun, ShuffleNet V2, arXiv:1807.11164, section 2. Each finding says how many elements of
memory access following the guideline would save at the same multiply-accumulates. Savings of different findings
overlap: they rank findings and do not add up. No op is known here: kinds, traffic and fusibility come from the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd, sqrt
from typing import TYPE_CHECKING, ClassVar

from costmodel.fusion import Fusion, is_elementwise
from costmodel.graph import tensors_in
from costmodel.pricing import PricedOp, Pricing
from costmodel.rendering import Rendered

if TYPE_CHECKING:
    import pandas as pd

FORMULAS = {
    "G1": "x + y - 2·sqrt(x·y); of a 1x1: h·w·(c1 + c2) + c1·c2 - (2·sqrt(h·w·B) + B/(h·w))",
    "G2": "y - y/g; of a 1x1: h·w·c2·(1 - 1/g), which one group with c2/g outputs saves at the same B",
    "G3": "(branches - 1)·(elements at the fork) + (elements that joining moves)",
    "G4": "memory access of the ops as kernels of their own - memory access of the fused kernel",
}
"""What each guideline's saving is; x and y are a convolution's input and output in elements, B its
multiply-accumulates, g its groups."""

TITLES = {
    "G1": "equal channel widths minimise memory access",
    "G2": "group convolution adds memory access",
    "G3": "fragmentation reduces parallelism",
    "G4": "elementwise ops are not free",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a guideline is broken."""

    guideline: str
    """G1 to G4."""
    layer: str
    """Qualified name, as in ``Profile.layers``; for G3 the layer that joins the branches, for G4 the one that begins
    the kernel."""
    kind: str
    measure: str
    """The quantity that the guideline is about: ``1:6``, ``g = 3``, ``1 + 3 ops``, ``2 elementwise ops``."""
    paid: int
    """Elements of memory access."""
    least: float
    """Elements of memory access with the guideline followed, at the same multiply-accumulates."""
    advice: str

    @property
    def saving(self) -> float:
        """Elements that fixing it would save."""
        return self.paid - self.least

    @property
    def formula(self) -> str:
        """How the saving is derived."""
        return FORMULAS[self.guideline]


@dataclass(frozen=True, slots=True)
class Block:
    """A place where the network forks and joins again."""

    fork: str
    """The layer whose output the branches read; ``""`` for the model's input."""
    join: str
    branches: tuple[int, ...]
    """Ops of each branch; 0 for a shortcut."""


@dataclass(frozen=True, repr=False)
class Guidelines(Rendered):
    """Where one model breaks the guidelines."""

    view: ClassVar[str] = "guidelines"
    titles: ClassVar[Mapping[str, str]] = TITLES
    formulas: ClassVar[Mapping[str, str]] = FORMULAS

    model: str
    findings: tuple[Finding, ...]
    """Sorted by what following the guideline would save, largest first."""
    blocks: tuple[Block, ...]
    """Every fork and join, in order."""
    memory_access: int
    ops: int
    """Ops that move data or compute."""
    elementwise_ops: int
    elementwise_memory_access: int
    elementwise_kinds: Mapping[str, int]
    """Memory access of the elementwise ops by kind."""

    def of(self, guideline: str) -> tuple[Finding, ...]:
        """The findings of one guideline."""
        return tuple(f for f in self.findings if f.guideline == guideline)

    @property
    def elementwise_share(self) -> float:
        """The share of elementwise ops in the memory access."""
        return self.elementwise_memory_access / self.memory_access if self.memory_access else 0.0

    @property
    def elementwise_op_share(self) -> float:
        """The share of elementwise ops in the number of ops."""
        return self.elementwise_ops / self.ops if self.ops else 0.0

    @property
    def rows(self) -> pd.DataFrame:
        """A row per finding."""
        import pandas as pd

        columns = ["guideline", "layer", "kind", "measure", "paid", "least", "saving", "share", "formula", "advice"]
        rows = [
            (
                f.guideline, f.layer, f.kind, f.measure, f.paid, f.least, f.saving,
                f.saving / self.memory_access if self.memory_access else 0.0, f.formula, f.advice,
            )
            for f in self.findings
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=columns)

    def to_markdown(self, limit: int = 20) -> str:
        """The findings that would save most, as Markdown."""
        return self._render("markdown", limit=limit)


def guidelines(pricing: Pricing, fusion: Fusion) -> Guidelines:
    """Every place where a model breaks a guideline."""
    names = {op.call.index: layer.name for layer in pricing.layers for op in layer.ops}
    blocks = list(_blocks(pricing, fusion))
    findings = [
        *_widths_and_groups(pricing, names),
        *(f for block in blocks if (f := _fragmentation(pricing, names, *block)) is not None),
        *_elementwise(fusion, names),
    ]
    findings.sort(key=lambda f: -f.saving)
    traffic = [(op, op.traffic.elements) for op in pricing.ops]
    elementwise = [(op, n) for op, n in traffic if is_elementwise(op)]
    kinds: dict[str, int] = {}
    for op, n in elementwise:
        kinds[op.kind] = kinds.get(op.kind, 0) + n
    return Guidelines(
        pricing.graph.model,
        tuple(findings),
        tuple(
            Block(names.get(fork, ""), names[join], tuple(len(b) for b in branches)) for fork, join, branches in blocks
        ),
        int(pricing.traffic.elements),
        sum(n > 0 or op.work.flops > 0 for op, n in traffic),
        len(elementwise),
        sum(n for _, n in elementwise),
        kinds,
    )


def _widths_and_groups(pricing: Pricing, names: Mapping[int, str]) -> Iterator[Finding]:
    """G1 for dense convolutions; G2 for grouped ones.

    Depthwise ones are left out of G2: without groups, the same input and multiply-accumulates would leave them one
    output channel.
    """
    for op in pricing.ops:
        if op.kind not in ("pointwise conv", "standard conv", "grouped conv"):
            continue
        # A convolution's first tensors are its input and its filters (c_out, c_in / groups, *kernel).
        x, w = (tensor for (_, tensor), _ in zip(op.call.tensors(), range(2), strict=False))
        y = op.call.outputs[0]
        if 0 in (x.size, w.size, y.size):
            continue  # without elements there are no widths to balance
        c_in, c_out, paid = x.shape[1], y.shape[1], int(op.traffic.elements)
        groups = c_in // w.shape[1]
        layer = names[op.call.index]
        if groups > 1:
            yield Finding(
                "G2", layer, op.kind, f"g = {groups}", paid, paid - (y.size - y.size // groups),
                f"One group with {c_out // groups} output channels instead of {groups} with {c_out} costs as many "
                f"multiply-accumulates and writes {groups} times less: use fewer groups.",
            )  # fmt: skip
            continue
        least = paid - (x.size + y.size) + 2 * sqrt(x.size * y.size)
        if paid - least < 1:
            continue
        # Equal traffic in and out at the same c1·c2: c1·a = c2·b, a and b being the positions of each channel.
        even = sqrt(c_in * c_out * (y.size / c_out) / (x.size / c_in))
        common = gcd(c_in, c_out)
        yield Finding(
            "G1", layer, op.kind, f"{c_in // common}:{c_out // common}", paid, least,
            f"{even:.0f} channels in and {c_in * c_out / even:.0f} out instead of {c_in} and {c_out} cost as many "
            f"multiply-accumulates and move {100 * (1 - least / paid):.0f} % less: even the widths.",
        )  # fmt: skip


def _blocks(pricing: Pricing, fusion: Fusion) -> Iterator[tuple[int, int, list[set[int]]]]:
    """Every fork and join: the op before the fork (-1: the input), the op that joins, and each branch's ops.

    The fork of a join is its immediate dominator: the last op through which every path to it leads.
    """
    sources = fusion.op_sources
    dominator, depth = {-1: -1}, {-1: 0}
    for op in pricing.ops:
        index = op.call.index
        if not op.traffic.elements and not op.work.flops:
            continue
        common = -1
        for i, source in enumerate(sources[index]):
            common = source if i == 0 else _common(common, source, dominator, depth)
        dominator[index], depth[index] = common, depth[common] + 1
        if len(sources[index]) > 1:
            yield common, index, [_between(common, source, sources) for source in sources[index]]


def _common(a: int, b: int, dominator: Mapping[int, int], depth: Mapping[int, int]) -> int:
    while a != b:
        if depth[a] < depth[b]:
            b = dominator[b]
        else:
            a = dominator[a]
    return a


def _between(fork: int, end: int, sources: tuple[tuple[int, ...], ...]) -> set[int]:
    """The ops on the paths from ``fork``, without it, to ``end``."""
    found: set[int] = set()
    waiting = [end]
    while waiting:
        op = waiting.pop()
        if op != fork and op != -1 and op not in found:
            found.add(op)
            waiting.extend(sources[op])
    return found


def _fragmentation(
    pricing: Pricing, names: Mapping[int, str], fork: int, join: int, branches: list[set[int]]
) -> Finding | None:
    parallel = [branch for branch in branches if branch]
    if len(parallel) < 2 or set.intersection(*parallel):
        return None  # a shortcut beside one path, or a gate that reads what it scales
    given = (
        pricing.ops[fork].call.outputs[0] if fork >= 0
        else next(tensors_in((pricing.graph.inputs, pricing.graph.kwargs)), None)
    )  # fmt: skip
    if given is None:
        return None
    op = pricing.ops[join]
    # A join that multiplies matrices is not there for the branches' sake: only the repeated reading is.
    joining = 0 if op.work.macs else int(op.traffic.elements)
    inside = sum(int(pricing.ops[i].traffic.elements) for i in set().union(*parallel))
    paid = inside + int(op.traffic.elements)
    lengths = " + ".join(str(len(branch)) for branch in branches)
    return Finding(
        "G3", names[join], op.kind, f"{len(parallel)} branches of {lengths} ops", paid,
        paid - (len(parallel) - 1) * given.distinct - joining,
        f"{len(parallel)} branches of {lengths} ops are {sum(map(len, parallel))} small kernels, each started and "
        f"waited for by itself: one wide path does the same multiply-accumulates in fewer.",
    )  # fmt: skip


def _elementwise(fusion: Fusion, names: Mapping[int, str]) -> Iterator[Finding]:
    for kernel in fusion.kernels:
        paid, least = int(kernel.unfused.elements), int(kernel.traffic.elements)
        if paid == least:
            continue
        first, *joined = kernel.ops
        what = ", ".join(dict.fromkeys(_short(op) for op in joined))
        yield Finding(
            "G4", names[first.call.index], first.kind, f"{len(joined)} elementwise op{'s' if len(joined) > 1 else ''}",
            paid, least,
            f"{what} could join the kernel of {_short(first)} and move {100 * (1 - least / paid):.0f} % less: fuse, "
            f"fold or drop them.",
        )  # fmt: skip


def _short(op: PricedOp) -> str:
    return op.call.op.split(".")[1].strip("_")
