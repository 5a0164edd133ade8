"""Of a product with a weight that a mask has made zero in places: how many multiplications have such a zero."""

from __future__ import annotations

from costmodel.graph import OpCall, TensorSpec


def macs_on_zeros(call: OpCall, macs: int) -> int:
    """How many of an op's MACs multiply an element that a mask has made zero.

    A product uses each element of a factor equally often: a convolution and a linear layer each weight once for every
    output position. Where both factors have zeros, those of one alone are taken, as nothing says which of them meet.
    """
    if not macs:
        return 0
    pruned = [(name, t) for name, t in call.tensors() if t.zeros and t.role != "parameter" and _is_factor(call, name)]
    if not pruned:
        return 0
    if "params" in call.args:
        matrices = [t for name, t in call.tensors() if _is_factor(call, name)]
        steps = macs // sum(t.size for t in matrices)
        return steps * sum(t.zeros for _, t in pruned)
    return max(t.zeros * _uses(call, t, macs) for _, t in pruned)


def _uses(call: OpCall, factor: TensorSpec, macs: int) -> int:
    if call.op == "aten.bilinear.default":  # which multiplies once more by its second input
        (y,) = call.outputs
        return y.size // y.shape[-1]
    return macs // factor.size


def _is_factor(call: OpCall, name: str) -> bool:
    if name.startswith("params["):  # of a recurrent layer: matrices and biases
        return len(call.args["params"][int(name[7:-1])].shape) == 2
    if "params" in call.args:
        return False
    return name != "bias" and not (name == "self" and "beta" in call.args)
