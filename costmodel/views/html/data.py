"""What a page knows of a profile: plain lists, a column each, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.views import units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costmodel.pricing import TracedLayer
    from costmodel.profile import Profile

QUANTITIES = {
    "macs": ("MACs", "MACs"),
    "flops": ("FLOPs", "FLOPs"),
    "params": ("Parameters", ""),
    "memory_access": ("Memory access", ""),
    "activations": ("Activations", ""),
}
"""What the quantity switch offers: its name, and the symbol that follows a prefix."""


DEVICES = ("a100", "jetson-agx-orin", "cortex-a76")
"""The devices that a page draws the roofline of: a server's, an embedded board's and a telephone's."""


def payload(p: Profile) -> dict[str, Any]:
    """Everything that charts, table and tree of one model are drawn from.

    ``tree`` holds each module's *own* share, so that the columns sum to the profile's totals.
    """
    return {
        "name": p.name,
        "tree": _tree(p),
        "layers": _layers(p),
        "memory": _memory(p),
        "roofline": {name: _roofline(p, name) for name in DEVICES},
    }


def _layers(p: Profile) -> dict[str, list[Any]]:
    check = p.crosscheck()
    derived_twice = {c.name for c in check.comparisons}
    disagree = {c.name for c in check.mismatches}
    table = p.layers
    columns: dict[str, list[Any]] = {name: table[name].tolist() for name in ("name", "type", "kind", *QUANTITIES)}
    for name in ("input_shape", "output_shape"):
        columns[name] = [units.shape(size) for size in table[name]]
    columns["check"] = [2 if n in disagree else 1 if n in derived_twice else 0 for n in table["name"]]
    for name in ("receptive_field", "stride"):
        if table[name].notna().any():
            columns[name] = [list(size) if isinstance(size, tuple) else None for size in table[name]]
    return columns


def _memory(p: Profile) -> dict[str, Any]:
    peak = p.peak
    layer_of = {op.call.index: i for i, layer in enumerate(p.pricing.layers) for op in layer.ops}
    return {"curve": list(peak.curve), "layer": [layer_of[i] for i in range(len(peak.curve))], "peak": peak.index}


def _roofline(p: Profile, name: str) -> dict[str, Any]:
    roof = p.roofline(name)
    return {
        "title": roof.device.title,
        "dtype": roof.dtype,
        "peak": roof.peak,
        "bandwidth": roof.device.bandwidth,
        "time": roof.time,
        "fused_time": roof.fused_time,
        "layers": {
            "intensity": [_rounded(layer.intensity) for layer in roof.layers],
            "attainable": [_rounded(layer.attainable) for layer in roof.layers],
            "time": [_rounded(layer.time) for layer in roof.layers],
            "compute": [int(layer.bound == "compute") for layer in roof.layers],
        },
    }


def _rounded(x: float) -> float:
    """Four significant digits: as many as a chart shows."""
    return float(f"{x:.4g}")


def _tree(p: Profile) -> dict[str, list[Any]]:
    graph = p.graph
    index = {name: i for i, name in enumerate(graph.modules)}
    names = list(graph.modules)
    types = [module.type for module in graph.modules.values()]
    parents = [index[_parent(name, index)] if name else -1 for name in names]
    own: dict[str, list[int]] = {quantity: [0] * len(names) for quantity in QUANTITIES}

    seen: set[int] = set()
    for i, module in enumerate(graph.modules.values()):
        for parameter in module.parameters:
            if id(parameter) not in seen:
                seen.add(id(parameter))
                own["params"][i] += parameter.size
    for layer in p.pricing.layers:
        at = index[_owner(p, layer)]
        if layer.module is None:
            # An op outside any leaf is a leaf of the tree by itself.
            names.append(layer.name)
            types.append(layer.type)
            parents.append(at)
            for column in own.values():
                column.append(0)
            at = len(names) - 1
        work, traffic = layer.work, layer.traffic
        own["macs"][at] += work.macs
        own["flops"][at] += work.flops
        own["memory_access"][at] += traffic.elements
        own["activations"][at] += sum(op.activations for op in layer.ops)
    return {"name": names, "type": types, "parent": parents, **own}


def _parent(name: str, modules: dict[str, int]) -> str:
    """The nearest module above: a dotted name may skip one that is not registered."""
    while name:
        name = name.rpartition(".")[0]
        if name in modules:
            return name
    return ""


def _owner(p: Profile, layer: TracedLayer) -> str:
    """The module of the tree that a layer's figures belong to."""
    calls = p.graph.calls
    at = layer.module.index if layer.module is not None else layer.ops[0].call.module
    while at >= 0:
        owner = calls[at].owner
        if owner is not None:
            return owner
        at = calls[at].parent
    return ""


def kinds(profiles: Sequence[Profile]) -> list[str]:
    """Every kind of layer in some profiles, in the field's usual order."""
    present = {kind for p in profiles for kind in p.layers["kind"]}
    return [k for k in KIND_COLORS if k in present] + sorted(present - set(KIND_COLORS))


KIND_COLORS = {
    "standard conv": "#0072B2", "pointwise conv": "#56B4E9", "depthwise conv": "#E69F00", "grouped conv": "#CC79A7",
    "transposed conv": "#882255", "linear": "#009E73", "matmul": "#44AA99", "attention": "#D55E00",
    "recurrent": "#AA4499", "embedding": "#5D4BB3", "norm": "#9AA5B1", "activation": "#D9C84A", "pool": "#8C8C32",
    "add": "#7A6A5B", "multiply": "#A08770", "concat": "#5E7287", "resample": "#6699CC", "view": "#C3C9D0",
    "other": "#808080",
}  # fmt: skip
"""Okabe and Ito's palette for what does the arithmetic, and muted tones of Tol's for the rest: told apart by people of
every colour vision, and never by colour alone."""
