"""The measures: every quantity of a layer and of a model, in one table, in the order of tables.

Tables, texts, pages, JSON, CSV, LaTeX, differences, comparisons, budgets and plots iterate over ``MEASURES``; none has
a list of its own. A new measure is one more entry here; a user's is one call of ``register_measure``.
"""

from __future__ import annotations

from collections.abc import Callable
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from costmodel.arguments import short
from costmodel.errors import CostModelError, InputError
from costmodel.measures.entry import DATA_ONLY, PLACES, Measure, Number, add
from costmodel.quantities import EVERY_OPERATION

if TYPE_CHECKING:
    from costmodel.graph import TensorSpec
    from costmodel.pricing import TracedLayer

__all__ = ["PLACES", "Measure", "Number", "add"]


def _of_parameters(count: Callable[[TensorSpec, bool], int]) -> Callable[[TracedLayer], int]:
    """The figure of a layer as a sum over parameters, each counted in the first layer that has it."""

    def of_layer(layer: TracedLayer) -> int:
        if not layer.new_parameters:  # most layers have none
            return 0
        return sum([count(p, p.storage in layer.read) for p in layer.new_parameters])

    return of_layer


def _params(p: TensorSpec, _: bool) -> int:
    return p.size


def _trainable(p: TensorSpec, _: bool) -> int:
    return p.size if p.trainable else 0


def _stored(p: TensorSpec, _: bool) -> int:
    return p.nbytes


def _active(p: TensorSpec, read: bool) -> int:
    return p.size if read else 0


def _nonzero(p: TensorSpec, _: bool) -> int:
    return p.size - p.zeros


_TABLE = (
    Measure(
        name="params", title="params", unit="params", additive=True, needs_rules=False, leading=True, priority=9,
        means="elements of distinct parameters, each counted in the first layer that has it",
        of_layer=_of_parameters(_params), of_parameter=_params, of_model=lambda p: p.params,
    ),
    Measure(
        name="macs", title="MACs", unit="MACs", symbol="MACs", additive=True, leading=True, priority=10,
        means="multiply-accumulates of convolutions and matrix products, taps on zero padding included: what most "
        "papers print as FLOPs",
        of_layer=lambda layer: layer.work.macs, of_model=lambda p: p.macs,
    ),
    Measure(
        name="flops", title="FLOPs", unit="FLOPs", symbol="FLOPs", additive=True, leading=True, priority=4,
        means=EVERY_OPERATION.name,
        of_layer=lambda layer: layer.work.flops, of_model=lambda p: p.flops,
        places=frozenset({"layers", "summary", "totals"}),
    ),
    Measure(
        name="memory_access", title="memory access", short="mem. access", unit="elements", additive=True, leading=True,
        priority=6, means="elements read and written, every op a kernel of its own",
        of_layer=lambda layer: layer.traffic.elements, of_model=lambda p: p.memory_access,
        places=frozenset({"layers", "summary", "totals", "ratios"}),
    ),
    Measure(
        name="memory_access_bytes", title="memory access", short="mem. access", unit="bytes", symbol="B",
        additive=True, leading=True, priority=1, means="bytes read and written, every op a kernel of its own",
        of_layer=lambda layer: layer.traffic.bytes, of_model=lambda p: p.memory_access_bytes,
        places=frozenset({"totals", "changes"}),
    ),
    Measure(
        name="activations", title="activations", unit="elements", additive=True, leading=True, priority=2,
        means="output elements of convolutions and matrix products",
        of_layer=lambda layer: layer.activations, of_model=lambda p: p.activations,
        places=frozenset({"summary", "totals"}),
    ),
    Measure(
        name="peak_memory", title="peak memory", unit="bytes", symbol="B", additive=False, leading=True,
        means="the most bytes of activations that are live at once, parameters apart",
        of_layer=None, of_model=lambda p: p.peak_memory, places=frozenset({"summary", "totals"}),
    ),
    Measure(
        name="trainable_params", title="trainable params", unit="params", additive=True, needs_rules=False,
        means="elements of distinct parameters that require a gradient",
        of_layer=_of_parameters(_trainable), of_parameter=_trainable,
        places=DATA_ONLY,
    ),
    Measure(
        name="params_bytes", title="weights", unit="bytes", symbol="B", additive=True, needs_rules=False,
        means="bytes of distinct parameters as they are stored",
        of_layer=_of_parameters(_stored), of_parameter=_stored, places=DATA_ONLY,
    ),
    Measure(
        name="active_params", title="active params", unit="params", additive=True, needs_rules=False,
        means="elements of distinct parameters of which an op of the run reads at least a part",
        of_layer=_of_parameters(_active), of_parameter=_active, places=DATA_ONLY,
    ),
    Measure(
        name="buffers", title="buffers", unit="elements", additive=False, needs_rules=False,
        means="elements of distinct buffers", of_layer=None, of_model=lambda p: p.buffers, places=DATA_ONLY,
    ),
    Measure(
        name="macs_on_padding", title="MACs on padding", unit="MACs", symbol="MACs", additive=True,
        means="those of the multiply-accumulates that multiply a zero of the padding",
        of_layer=lambda layer: layer.work.macs_on_padding, of_model=lambda p: p.macs_on_padding, places=DATA_ONLY,
    ),
    Measure(
        name="nonzero_params", title="non-zero params", unit="params", additive=True, needs_rules=False,
        means="elements of distinct parameters that no mask makes zero",
        of_layer=_of_parameters(_nonzero), of_parameter=_nonzero, places=DATA_ONLY,
    ),
    Measure(
        name="nonzero_macs", title="non-zero MACs", unit="MACs", symbol="MACs", additive=True,
        means="multiply-accumulates without those of weights that a mask makes zero",
        of_layer=lambda layer: layer.nonzero_macs, of_model=lambda p: p.nonzero_macs, places=DATA_ONLY,
    ),
    Measure(
        name="fused_memory_access", title="memory access, fused", unit="elements", additive=False,
        means="elements read and written with elementwise ops joined to their producer: a lower bound",
        of_layer=None, of_model=lambda p: p.fused_memory_access, places=DATA_ONLY,
    ),
    Measure(
        name="fused_memory_access_bytes", title="memory access, fused", unit="bytes", symbol="B", additive=False,
        means="the same in bytes", of_layer=None, of_model=lambda p: p.fused_memory_access_bytes, places=DATA_ONLY,
    ),
)  # fmt: skip

MEASURES: dict[str, Measure] = {measure.name: measure for measure in _TABLE}
"""Every measure by its name, in the order of tables."""


def _of_step(name: str, title: str, unit: str, means: str, of_step: Callable[[Any], Number]) -> Measure:
    symbol = "B" if unit == "bytes" else unit
    return Measure(
        name=name, title=title, unit=unit, symbol=symbol, means=means, additive=False, of_layer=None, of_model=of_step,
        places=DATA_ONLY,
    )  # fmt: skip


_STEP_TABLE = (
    _of_step(
        "training_macs", "training MACs", "MACs",
        "multiply-accumulates of the whole step", lambda s: s.macs,
    ),
    _of_step(
        "training_flops", "training FLOPs", "FLOPs",
        "arithmetic operations of the whole step", lambda s: s.flops,
    ),
    _of_step(
        "training_memory_access_bytes", "training memory access", "bytes",
        "bytes read and written in the whole step, every op a kernel of its own", lambda s: s.memory_access_bytes,
    ),
    _of_step(
        "forward_macs", "forward MACs", "MACs",
        "multiply-accumulates of the forward pass", lambda s: s.forward.macs,
    ),
    _of_step(
        "backward_macs", "backward MACs", "MACs",
        "multiply-accumulates of the backward pass", lambda s: s.backward.macs,
    ),
    _of_step(
        "saved_bytes", "saved activations", "bytes",
        "bytes that autograd keeps at the end of the forward pass, parameters and buffers apart",
        lambda s: s.saved_bytes,
    ),
    _of_step(
        "training_peak", "training peak", "bytes",
        "the most bytes that are live at once over the step, everything included", lambda s: s.peak_memory,
    ),
)  # fmt: skip

STEP_MEASURES: dict[str, Measure] = {measure.name: measure for measure in _STEP_TABLE}
"""The measures that a training step has and a profile of one forward has not, in the order of tables."""

STEP_TOTALS = (
    "params", "trainable_params", "training_macs", "training_flops", "training_memory_access_bytes", "saved_bytes",
    "training_peak",
)  # fmt: skip
"""The totals of a training step that tables of totals show."""

RANKED_BY = ("macs", "memory_access")
"""The default sort order: by the first, then by the second. Shares are shares of the first."""

TRADE_OFF = ("params", "macs", "memory_access")
"""The scatter plot of several models: the x axis, the y axis, and the area of a dot."""

_BUILT_IN = frozenset(MEASURES)
_OTHER_COLUMNS = frozenset({
    "name", "type", "kind", "input_shape", "output_shape", "receptive_field", "stride", "index", "op", "module",
    "input_shapes", "output_shapes", "depth", "calls", "model", "is_exact", "share", "check", "output", "total",
})  # fmt: skip
"""Columns of tables that are not measures."""


def shown_in(place: str) -> list[Measure]:
    """The measures that a place shows by default; raises ``InputError`` for what is none of ``PLACES``."""
    if place not in PLACES:
        raise InputError(f"no place is called {short(place)}; there are {', '.join(PLACES)}")
    return [measure for measure in MEASURES.values() if place in measure.places]


def of_layers(place: str | None = None) -> list[Measure]:
    """The measures that single layers have: those shown in a place, or all."""
    shown = MEASURES.values() if place is None else shown_in(place)
    return [measure for measure in shown if measure.of_layer is not None]


def registered_measures() -> list[Measure]:
    """The measures that are not the library's own."""
    return [measure for name, measure in MEASURES.items() if name not in _BUILT_IN]


def is_built_in(name: str) -> bool:
    """Whether a measure is one of the library's own, whose figures are whole numbers."""
    return name in _BUILT_IN or name in STEP_MEASURES


def named(name: str) -> Measure:
    """The measure of that name; raises ``CostModelError``, which lists all names, if there is none."""
    if not isinstance(name, str) or name not in MEASURES:
        raise CostModelError(
            f"no measure is called {name!r}; there are {', '.join(MEASURES)}. Add one with costmodel.register_measure"
        )
    return MEASURES[name]


def step_total(step: Any, name: str) -> Number:
    """A total of a ``TrainingStep``: one of ``STEP_TOTALS`` or ``STEP_MEASURES``."""
    measure = STEP_MEASURES.get(name)
    total: Number = getattr(step, name) if measure is None else measure.total(step) or 0
    return total


def find(name: str) -> Measure | None:
    """The measure of that name, of a forward or of a training step; ``None`` if there is none."""
    return MEASURES.get(name) or STEP_MEASURES.get(name)


def register_measure(measure: Measure) -> None:
    """Adds a measure: from now on every table, total and view has it, also of profiles that exist already.

    Raises ``CostModelError`` for a name that is taken or cannot name a column, and for a measure with neither
    ``of_layer`` nor ``of_model``.

    >>> energy = Measure(
    ...     name="energy", title="energy", unit="pJ", means="a made-up 4 pJ per MAC and 100 pJ per byte", additive=True,
    ...     of_layer=lambda layer: 4.0 * layer.work.macs + 100.0 * layer.traffic.bytes,
    ... )
    >>> register_measure(energy)
    >>> "energy" in MEASURES
    True
    >>> unregister_measure("energy")
    """
    if not isinstance(measure, Measure):
        raise InputError(f"a measure is a costmodel.Measure, not {short(measure)}")
    name = measure.name
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        raise CostModelError(f"a measure cannot be called {name!r}: its name must be an identifier, such as 'energy'")
    if find(name) is not None:
        remedy = (
            ""
            if name in _BUILT_IN or name in STEP_MEASURES
            else f", or remove that with costmodel.unregister_measure({name!r})"
        )
        raise CostModelError(f"a measure is called {name!r} already: choose another name{remedy}")
    if name in _OTHER_COLUMNS or name.endswith("_ratio"):
        raise CostModelError(f"a measure cannot be called {name!r}: tables have another column of that name")
    if measure.of_layer is None and measure.of_model is None:
        raise CostModelError(f"the measure {name!r} says nothing: give it of_layer, or of_model")
    for field, (is_right, what) in _FIELDS.items():
        if not is_right(value := getattr(measure, field)):
            raise CostModelError(f"the measure {name!r} has {field}={short(value)}: must be {what}")
    if unknown := measure.places.difference(PLACES):
        raise CostModelError(f"the measure {name!r} has places {sorted(unknown)}; there are {', '.join(PLACES)}")
    MEASURES[name] = measure


_WORDS = (lambda v: isinstance(v, str), "a text")
_FLAG = (lambda v: isinstance(v, bool), "True or False")
_READER = (lambda v: v is None or callable(v), "a function, or None")
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "title": _WORDS, "unit": _WORDS, "means": _WORDS, "symbol": _WORDS, "short": _WORDS,
    "additive": _FLAG, "needs_rules": _FLAG, "leading": _FLAG,
    "of_layer": _READER, "of_model": _READER, "of_parameter": _READER,
    "places": (lambda v: isinstance(v, frozenset | set), "a set of places"),
    "priority": (lambda v: isinstance(v, int), "an int"),
}  # fmt: skip
"""What the fields of a measure have to be."""


def unregister_measure(name: str) -> None:
    """Removes a measure that was registered; raises ``CostModelError`` for one that was not."""
    found = named(name).name
    if found in _BUILT_IN:
        raise CostModelError(f"the measure {name!r} is built in, and stays")
    del MEASURES[found]
