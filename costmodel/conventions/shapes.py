"""Products, by the shapes of their factors: each tool's formula for one names its own way to be wrong."""

from __future__ import annotations

from math import prod

from costmodel.conventions.tool import Counted, ToolFailsError
from costmodel.graph import tensors_in
from costmodel.reading import ReadOp


def convolution(op: ReadOp) -> int:
    """The weight once for each position: of the output, or of a transposed convolution's input."""
    x, w = op.shape("input"), op.shape("weight")
    positions = x if is_transposed(op) else op.outputs[0].shape
    dims = len(w) - 2
    batch = x[0] if len(x) == dims + 2 else 1
    return batch * prod(w) * prod(positions[len(positions) - dims :])


def is_transposed(op: ReadOp) -> bool:
    """Whether a convolution is a transposed one."""
    return "transpose" in op.base or op.args.get("transposed") is True


def linear(op: ReadOp) -> int:
    """Outputs, each of a row of the input by a row of the weight."""
    return op.outputs[0].size * op.shape("weight")[-1]


def addmm(op: ReadOp) -> int:
    """A product of two matrices."""
    return prod(op.shape("mat1")) * op.shape("mat2")[-1]


def bmm(op: ReadOp) -> int:
    """A product of two matrices for each of a batch."""
    return prod(op.shape("self")) * op.shape("mat2")[-1]


def mm(op: ReadOp) -> int:
    """A product of two matrices."""
    return bmm(op)


def baddbmm(op: ReadOp) -> int:
    """A product of two matrices for each of a batch."""
    return prod(op.shape("batch1")) * op.shape("batch2")[-1]


def matmul(op: ReadOp) -> Counted:
    """The first factor's elements times the second's columns: too little where the second has more of a batch."""
    a, b = op.shape("self"), op.shape("other")
    if len(b) < 2:
        raise ToolFailsError(f"matmul by a vector of {b[0]}: it reads the last but one size of the second factor")
    counted = prod(a) * b[-1]
    batch = prod(op.outputs[0].shape) // (b[-1] * (a[-2] if len(a) > 1 else 1)) if counted else 1
    if prod(a[:-2]) == batch:
        return counted
    return counted, (
        "fault: the first factor's elements times the second's columns, which leaves out that the first factor is "
        "expanded to the second's batch"
    )


def cell(op: ReadOp) -> int:
    """The two products of a recurrent cell."""
    x, w_ih, w_hh = op.shape("input"), op.shape("w_ih"), op.shape("w_hh")
    return prod(x[:-1]) * (prod(w_ih) + prod(w_hh))


def recurrent(op: ReadOp) -> int:
    """Every weight of every layer once for each position of the sequences."""
    x = op.shape("input" if "input" in op.args else "data")
    return prod(x[:-1]) * sum(p.size for p in tensors_in(op.args["params"]) if len(p.shape) == 2)


def attention(op: ReadOp) -> int:
    """Both products of attention in full, whatever is masked."""
    q, k, v = op.shape("query"), op.shape("key"), op.shape("value")
    return prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
