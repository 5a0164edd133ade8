"""What composite ops allocate on the way, nobody receives, and eager torch frees before they return.

The recorder sees such an op whole, so these storages would be missing from the live memory. Sizes are those of torch's
own decomposition on the CPU, in inference; a GPU keeps indices in one-dimensional max pooling too, and may fuse what
are matrix products of attention here. Left out: recurrent layers (their steps depend on the backend), and ops on which
no network's peak was seen to depend (sorting, norms of complex numbers, comparisons of floats as booleans).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from costmodel.graph import Arguments, TensorSpec
from costmodel.ops import find
from costmodel.ops.attention import fits_fused_kernel


def _outputs(op: str, args: Arguments) -> tuple[TensorSpec, ...]:
    rule = find(op)
    assert rule is not None
    assert callable(rule.outputs)
    outputs = rule.outputs(args)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _indices(op: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """Where each maximum was: int64, as many as outputs."""
    return lambda args: [TensorSpec(_outputs(op, args)[0].shape, "int64")]


def _attention(args: Arguments) -> Iterable[TensorSpec]:
    """The fused kernel's log-sum-exp of each row; without it the scaled factors and two score matrices."""
    q, k, mask = args["query"], args["key"], args["attn_mask"]
    rows = q.shape[:-1]
    if mask is not None and mask.dtype == "bool":
        yield TensorSpec(mask.shape, q.dtype)  # added as minus infinity
    if fits_fused_kernel(args):
        yield TensorSpec(rows, "float64" if q.dtype == "float64" else "float32")
        return
    y = _outputs("aten.scaled_dot_product_attention.default", args)[0].size
    scores = q.size // q.shape[-1] * k.shape[-2]
    # sqrt(scale) q is kept; sqrt(scale) k goes once the scores are there, the scores once their softmax is, and only
    # then comes y, which is counted beside these.
    yield TensorSpec((max(k.size + scores - y, 2 * scores - y, scores) + q.size,), q.dtype)


def _instance_norm(args: Arguments) -> Iterable[TensorSpec]:
    """A batch norm over batch * channels: affine parameters repeated, and statistics kept where they are taken."""
    x = args["input"]
    instances = TensorSpec((x.shape[0] * x.shape[1],), x.dtype)
    repeated = [args[name] for name in ("weight", "bias", "running_mean", "running_var") if args[name] is not None]
    saved = 2 if args["use_input_stats"] else 0
    return [TensorSpec(instances.shape, instances.dtype) for _ in range(len(repeated) + saved)]


def _roll(args: Arguments) -> Iterable[TensorSpec]:
    """One dimension after the other: what the first made lives while the next is made."""
    x, dims = args["self"], args["dims"]
    return [TensorSpec(x.shape, x.dtype)] if not isinstance(dims, int) and len(dims) > 1 else []


TEMPORARIES: Mapping[str, Callable[[Arguments], Iterable[TensorSpec]]] = {
    "aten.max_pool2d.default": _indices("aten.max_pool2d.default"),
    "aten.max_pool3d.default": _indices("aten.max_pool3d.default"),
    "aten.scaled_dot_product_attention.default": _attention,
    "aten.instance_norm.default": _instance_norm,
    "aten.roll.default": _roll,
}
"""By op, from its arguments."""
