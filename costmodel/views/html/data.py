"""The data of a page: a profile as plain lists, one per column, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costmodel.measures import MEASURES, Measure, Number, of_layers
from costmodel.views import palette, units
from costmodel.views.analyses import peaks
from costmodel.views.fold import folded
from costmodel.views.tree import Node, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costmodel.pricing import TracedLayer
    from costmodel.profiling import Profile
    from costmodel.roofline import Roofline

DEVICES = ("a100", "jetson-agx-orin", "cortex-a76")
"""The devices whose roofline a page draws: of a server, an embedded board and a phone; in TF32, too, where they have it
and the model computes in float32."""


def payload(p: Profile) -> dict[str, Any]:
    """Everything that charts, table and tree of one model are drawn from.

    ``tree`` holds each module's *own* share, so that a column sums to the profile's total.
    """
    return {
        "name": p.name,
        "totals": {m.name: p.total(m.name) for m in MEASURES.values() if m.places},
        "tree": _tree(p),
        "layers": {**_layers(p), "folds": _folds(p)},
        "memory": _memory(p),
        "intensity": [_rounded(layer.flops_per_byte) for layer in p.layer_memory],
        "roofline": {key: _roofline(roof) for name in DEVICES for key, roof in _rooflines(p, name)},
    }


def _layers(p: Profile) -> dict[str, Any]:
    check = p.crosscheck()
    derived_twice = {c.name for c in check.comparisons}
    disagree = {c.name for c in check.mismatches}
    table = p.layers
    columns: dict[str, Any] = {
        "name": table["name"].tolist(),
        "figures": {m.name: p.figures(m.name) for m in of_layers("summary")},
    }
    for name in ("type", "kind"):
        columns[name] = dictionary_encoded(table[name].tolist())
    for name in ("input_shape", "output_shape"):
        columns[name] = dictionary_encoded([units.shape(size) for size in table[name]])
    columns["check"] = [2 if n in disagree else 1 if n in derived_twice else 0 for n in table["name"]]
    for name in ("receptive_field", "stride"):
        if table[name].notna().any():
            columns[name] = dictionary_encoded([_axes(size) for size in table[name]])
    return columns


def _folds(p: Profile) -> list[dict[str, Any]]:
    """Rows of the table of layers that repeat: from which one on, how many belong to a unit, and how many units."""
    at = 0

    def folds(node: Node) -> list[dict[str, Any]]:
        nonlocal at
        found = []
        for child in node.children:
            if child.times > 1:
                start = at
                inside = folds(child.children[0]) if child.children[0].children else []
                length = at - start or 1
                at = start + length * child.times
                found.append(
                    {"start": start, "length": length, "times": child.times, "name": child.name, "type": child.type,
                     "folds": inside}
                )  # fmt: skip
            elif child.children:
                found += folds(child)
            else:
                at += 1
        return found

    return folds(folded(tree(p)))


def _memory(p: Profile) -> dict[str, Any]:
    peak = p.peak
    layer_of = {op.call.index: i for i, layer in enumerate(p.pricing.layers) for op in layer.ops}
    return {"curve": list(peak.curve), "layer": [layer_of[i] for i in range(len(peak.curve))], "peak": peak.index}


def _rooflines(p: Profile, name: str) -> Iterator[tuple[str, Roofline]]:
    roof = p.roofline(name)
    yield name, roof
    if roof.dtype == "float32" and "tf32" in roof.device.peak:
        yield f"{name} tf32", p.roofline(name, "tf32")


def _roofline(roof: Roofline) -> dict[str, Any]:
    return {
        "device": {
            "title": f"{roof.device.title}{', TF32' if roof.math == 'tf32' else ''}",
            "peak_name": roof.peak_name,
            "sources": peaks(roof),
            "peak": roof.peak,
            "bandwidth": roof.device.bandwidth,
        },
        "time": roof.time,
        "fused_time": roof.fused_time,
        # In ns, as 1230 is shorter than 1.23e-06.
        "layer_ns": [_rounded(1e9 * layer.time) for layer in roof.layers],
        "waits_for_arithmetic": [i for i, layer in enumerate(roof.layers) if layer.bound == "compute"],
        # A layer that computes in another dtype has a roof of its own.
        "attainable": {
            i: _rounded(layer.attainable)
            for i, layer in enumerate(roof.layers)
            if layer.attainable != min(roof.peak, layer.intensity * roof.device.bandwidth)
        },
    }


def devices(models: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """What the rooflines of several models say of a device, taken out of them: each once, as it is long."""
    return dictionary_encoded([roof.pop("device") for model in models for roof in model["roofline"].values()])


def _rounded(x: float) -> float:
    """Three significant digits: as many as a chart shows."""
    rounded = float(f"{x:.3g}")
    return int(rounded) if rounded.is_integer() else rounded


def _axes(sizes: object) -> list[int | str | None] | None:
    """One entry per axis; a stride below 1, after upsampling, as the fraction that it is."""
    if not isinstance(sizes, tuple):
        return None
    return [n if n is None or isinstance(n, int) else str(n) for n in sizes]


def dictionary_encoded(column: list[Any]) -> dict[str, list[Any]]:
    """A column of few distinct values: those, and for each row the index of its own."""
    distinct: dict[str, int] = {}
    values: list[Any] = []
    at = []
    for value in column:
        key = repr(value)
        if key not in distinct:
            distinct[key] = len(values)
            values.append(value)
        at.append(distinct[key])
    return {"values": values, "at": at}


def _tree(p: Profile) -> dict[str, Any]:
    graph = p.graph
    index = {name: i for i, name in enumerate(graph.modules)}
    names = list(graph.modules)
    types = [module.type for module in graph.modules.values()]
    parents = [index[_parent(name, index)] if name else -1 for name in names]
    at_layer = []
    for layer in p.pricing.layers:
        owner = index[_owner(p, layer)]
        if layer.module is None:
            # An op outside any leaf is a leaf of the tree by itself.
            at_layer.append(len(names))
            names.append(layer.name)
            types.append(layer.type)
            parents.append(owner)
        else:
            at_layer.append(owner)
    figures = {m.name: _own(p, m, at_layer, len(names)) for m in switched()}
    return {
        "name": [
            _below(name, names[parent] if parent >= 0 else "") for name, parent in zip(names, parents, strict=True)
        ],
        "type": dictionary_encoded(types),
        "parent": parents,
        "figures": figures,
    }


def _below(name: str, parent: str) -> str:
    """A name without that of the node above, which stands before ``.`` or ``/``; after ``=`` one that is whole.

    >>> _below("layers.0.mlp", "layers.0"), _below("mlp/add", "mlp"), _below("shared", "layers.0"), _below("stem", "")
    ('.mlp', '/add', '=shared', '=stem')
    """
    rest = name.removeprefix(parent)
    return rest if parent and name != rest and rest.startswith((".", "/")) else f"={name}"


def switched() -> list[Measure]:
    """The measures that the page's switch offers: additive ones, of which charts can show parts."""
    return [measure for measure in of_layers("summary") if measure.additive]


def _own(p: Profile, measure: Measure, at_layer: list[int], nodes: int) -> list[Number]:
    """Each node's own share: of parameters that of the module that holds them, else the layer's figure."""
    own: list[Number] = [0] * nodes
    if measure.of_parameter is not None:
        seen: set[int] = set()
        for i, module in enumerate(p.graph.modules.values()):
            for parameter in module.parameters:
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    own[i] += measure.of_parameter(parameter, parameter.storage in p.pricing.read)
    else:
        for at, figure in zip(at_layer, p.figures(measure.name), strict=True):
            own[at] += figure
    return own


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
    present = {layer.kind for p in profiles for layer in p.pricing.layers}
    return [k for k in palette.KINDS if k in present] + sorted(present - set(palette.KINDS))
