"""The tables of a profile: one row per layer, op or module, one column per measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from costmodel.graph import TensorSpec
from costmodel.measures import MEASURES, Measure, Number, add, of_layers
from costmodel.pricing import Pricing

if TYPE_CHECKING:
    import pandas as pd


class Columns(Mapping[str, str]):
    """The columns of a table and what they mean, with those of all measures that are registered now."""

    def __init__(self, before: Mapping[str, str], after: Mapping[str, str], *, of_ops: bool = False) -> None:
        self._before, self._after, self._of_ops = before, after, of_ops

    def measures(self) -> list[Measure]:
        """The measures that have a column. Parameters belong to modules, so ops have no measure of those."""
        return [m for m in of_layers() if not (self._of_ops and m.of_parameter)]

    def _all(self) -> dict[str, str]:
        first = {m.name: m.means for m in self.measures() if m.leading}
        last = {m.name: m.means for m in self.measures() if not m.leading}
        return {**self._before, **first, **self._after, **last}

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def frame(self, columns: Mapping[str, list[Any]]) -> pd.DataFrame:
        """The table of given columns, in their order."""
        import pandas as pd

        # By rows: pandas would take a list of tuples for two dimensions.
        return pd.DataFrame(list(zip(*(columns[name] for name in self), strict=True)), columns=list(self))


LAYER_COLUMNS = Columns(
    {
        "name": "qualified name of the module; module/op for an op that ran outside any leaf",
        "type": "class of the module, or the op's full name",
        "kind": "category, one of ops.KINDS: standard conv, depthwise conv, norm ...",
        "input_shape": "shape of the first input",
        "output_shape": "shape of the first output",
    },
    {
        "receptive_field": "input positions that one output position sees, per spatial axis",
        "stride": "input positions between neighbouring output positions, per spatial axis",
    },
)
"""The columns of ``Profile.layers``, and what they mean."""

OP_COLUMNS = Columns(
    {
        "index": "position in the execution",
        "op": "namespace.name.overload",
        "module": "qualified name of the innermost module it ran in",
        "kind": "category, one of ops.KINDS",
        "input_shapes": "shapes of all tensor arguments",
        "output_shapes": "shapes of all outputs",
    },
    {},
    of_ops=True,
)
"""The columns of ``Profile.ops``."""

MODULE_COLUMNS = Columns(
    {
        "name": "qualified name, empty for the model itself",
        "type": "class",
        "depth": "0 for the model itself",
        "calls": "how often it was called",
    },
    {},
)
"""The columns of ``Profile.modules``; a measure's is of the module's subtree, all calls together."""


class LayerFigures:
    """The figures of each measure, layer by layer; each is computed once."""

    def __init__(self, pricing: Pricing) -> None:
        self.pricing = pricing
        self._read: dict[str, tuple[Measure, list[Number]]] = {}

    def of(self, name: str) -> list[Number]:
        """The figure of each layer, in the order of ``Pricing.layers``."""
        measure = MEASURES[name]
        known = self._read.get(name)
        if known is None or known[0] is not measure:  # another may have been registered under the name
            known = self._read[name] = measure, measure.figures(self.pricing.layers)
        return known[1]


def layer_table(figures: LayerFigures, fields: list[tuple[Any, Any]]) -> pd.DataFrame:
    """``Profile.layers``; ``fields`` are receptive field and stride of each layer."""
    layers = figures.pricing.layers
    columns: dict[str, list[Any]] = {
        "name": [layer.name for layer in layers],
        "type": [layer.type for layer in layers],
        "kind": [layer.kind for layer in layers],
        "input_shape": [_shape(layer.inputs) for layer in layers],
        "output_shape": [_shape(layer.outputs) for layer in layers],
        "receptive_field": [size for size, _ in fields],
        "stride": [stride for _, stride in fields],
    }
    return LAYER_COLUMNS.frame(columns | {m.name: figures.of(m.name) for m in LAYER_COLUMNS.measures()})


def op_table(pricing: Pricing) -> pd.DataFrame:
    """``Profile.ops``."""
    ops = pricing.ops
    alone = [pricing.op_layer(op) for op in ops]
    columns: dict[str, list[Any]] = {
        "index": [op.call.index for op in ops],
        "op": [op.call.op for op in ops],
        "module": [pricing.module_name(op.call) for op in ops],
        "kind": [op.kind for op in ops],
        "input_shapes": [tuple(t.shape for _, t in op.call.tensors()) for op in ops],
        "output_shapes": [tuple(t.shape for t in op.call.outputs) for op in ops],
    }
    return OP_COLUMNS.frame(columns | {m.name: m.figures(alone) for m in OP_COLUMNS.measures()})


def module_table(figures: LayerFigures) -> pd.DataFrame:
    """``Profile.modules``."""
    pricing = figures.pricing
    modules = pricing.graph.modules
    owners = _owners(pricing)
    calls = dict.fromkeys(modules, 0)
    for call in pricing.graph.calls:
        if call.owner is not None:
            calls[call.owner] += 1
    columns: dict[str, list[Any]] = {
        "name": list(modules),
        "type": [module.type for module in modules.values()],
        "depth": [name.count(".") + 1 if name else 0 for name in modules],
        "calls": list(calls.values()),
    }
    for measure in MODULE_COLUMNS.measures():
        columns[measure.name] = _of_modules(measure, figures, owners)
    order = _in_execution_order(pricing)
    return MODULE_COLUMNS.frame({name: [column[i] for i in order] for name, column in columns.items()})


def _in_execution_order(pricing: Pricing) -> list[int]:
    """Positions of the modules as a tree whose branches stand in the order in which they first ran.

    What did not run stands behind what did, as it was registered.
    """
    modules, never = pricing.graph.modules, len(pricing.graph.calls)
    first = dict.fromkeys(modules, never)
    for call in pricing.graph.calls:
        name = call.owner
        while name is not None and call.index < first[name]:
            first[name] = call.index
            name = next((above for above in _above(name) if above in modules), None)
    ranks = {name: i for i, name in enumerate(modules)}
    keys = {
        name: [(first[part], ranks[part]) for part in (*reversed([a for a in _above(name) if a in modules]), name)]
        for name in modules
    }
    return [ranks[name] for name in sorted(modules, key=keys.__getitem__)]


def _above(name: str) -> Iterator[str]:
    """The names of the modules around one, the nearest first.

    >>> list(_above("a.b.0")), list(_above(""))
    (['a.b', 'a', ''], [])
    """
    while name:
        name = name.rpartition(".")[0]
        yield name


def _owners(pricing: Pricing) -> dict[int, tuple[str, ...]]:
    """For each call the modules that it is part of, outermost first, each once; -1 stands for outside any call."""
    owners: dict[int, tuple[str, ...]] = {-1: ("",) if "" in pricing.graph.modules else ()}
    for call in pricing.graph.calls:
        chain = owners[call.parent]
        new = call.owner is not None and call.owner not in chain
        owners[call.index] = (*chain, call.owner) if new and call.owner is not None else chain
    return owners


def _of_modules(measure: Measure, figures: LayerFigures, owners: Mapping[int, tuple[str, ...]]) -> list[Number | None]:
    """The figure of each module's subtree; ``None`` where the measure does not add up."""
    pricing = figures.pricing
    modules = pricing.graph.modules
    if measure.of_parameter is not None:
        held = {name: {p.storage: p for m in pricing.subtree(name) for p in m.parameters} for name in modules}
        count = measure.of_parameter
        return [add(count(p, p.storage in pricing.read) for p in held[name].values()) for name in modules]
    parts: dict[str, list[Number]] = {name: [] for name in modules}
    for layer, figure in zip(pricing.layers, figures.of(measure.name), strict=True):
        call = layer.module.index if layer.module is not None else layer.ops[0].call.module
        # What does not add up has a figure for the module that is the layer, and for none above it.
        of = owners[call] if measure.additive else [layer.module.owner] if layer.module is not None else []
        for owner in of:
            if owner is not None:
                parts[owner].append(figure)
        for inner in pricing.inside(layer):
            assert inner.module is not None
            if inner.module.owner is not None and inner.module.owner not in owners[inner.module.parent]:
                parts[inner.module.owner] += measure.figures([inner])
    if measure.additive:
        return [add(parts[name]) for name in modules]
    return [parts[name][0] if len(parts[name]) == 1 else None for name in modules]


def _shape(tensors: tuple[TensorSpec, ...]) -> tuple[int, ...]:
    return tensors[0].shape if tensors else ()
