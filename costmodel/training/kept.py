"""The bytes that a formula says are kept, in the dtypes that autocast has cast tensors to."""

from __future__ import annotations

from costmodel.formulas.gradient import BackwardCost
from costmodel.graph import TensorSpec, tensors_in
from costmodel.ops.rule import TO
from costmodel.pricing import Pricing, TracedLayer

_OF_PARAMETERS = ("statistics", "parameters for each sample")
"""What norms keep in the dtype of their parameters and averages, in whatever dtype their input is."""

_OF_SEVERAL_KERNELS = frozenset({
    "Bilinear", "GRU", "GRUCell", "LSTM", "LSTMCell", "LocalResponseNorm", "MultiheadAttention", "RMSNorm", "RNN",
    "RNNCell",
})  # fmt: skip
"""Keys of layers whose kernels autocast has compute in several dtypes: what of theirs is in which, no formula says."""


def has_one_dtype(layer: TracedLayer) -> bool:
    """Whether all that a layer keeps is in the dtype in which it computes, but for what norms keep of statistics."""
    assert layer.module is not None
    assert layer.module.layer is not None
    if layer.module.layer.key not in _OF_SEVERAL_KERNELS:
        return True
    dtypes = {t.dtype for t in (*layer.inputs, *layer.parameters) if "float" in t.dtype}
    return len(dtypes) <= 1 and not any(op.call.op == TO for op in layer.ops)


def kept_bytes(forward: Pricing, layer: TracedLayer, derived: BackwardCost) -> int:
    """Bytes of what a layer keeps: of floating numbers, those of its result's dtype.

    Autocast has products compute in half precision, and sums such as a loss in single: of an input, and of a weight,
    that is of the other, a cast is kept in its place. All else computes in the dtype of its input.
    """
    assert layer.module is not None
    made = next(tensors_in(layer.module.outputs), None)
    given = next(iter(layer.inputs), made)
    own = _floating_of(forward, layer)
    computed = made if made is not None and given is not None and _is_floating(made) and _is_floating(given) else given
    itemsize = 4 if computed is None else computed.itemsize
    total = 0
    for kept in derived.saved:
        size = own.itemsize if own is not None and kept.tensor in _OF_PARAMETERS else itemsize
        total += kept.elements * (size if kept.itemsize is None else kept.itemsize)
    is_cast = own is not None and computed is not None and own.dtype != computed.dtype
    return total + (derived.saved_weights * itemsize if is_cast else 0)


def _floating_of(forward: Pricing, layer: TracedLayer) -> TensorSpec | None:
    """The first floating parameter or average of a layer."""
    assert layer.module is not None
    info = forward.graph.modules.get(layer.module.owner or "")
    return next((t for t in (*layer.parameters, *(info.buffers if info else ())) if _is_floating(t)), None)


def _is_floating(t: TensorSpec) -> bool:
    return "float" in t.dtype
