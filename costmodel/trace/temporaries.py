"""What composite ops allocate on the way, nobody receives, and eager torch frees before they return.

The recorder sees such an op whole, so these storages would be missing from the live memory. Sizes are those of torch's
own decomposition on the CPU, in inference; a GPU keeps indices in one-dimensional max pooling too, and may fuse what
are matrix products of attention here. Copies into the layout that a kernel wants are among them: transposed tokens that
go into a convolution or a norm are copied first. Left out: recurrent layers (their steps depend on the backend), and
ops on which no network's peak was seen to depend (sorting, norms of complex numbers, comparisons of floats as
booleans).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise

from costmodel.graph import Arguments, TensorSpec, channels_last_strides, is_channels_last
from costmodel.ops import find
from costmodel.ops.attention import fits_fused_kernel
from costmodel.ops.layout import normal, suggested_channels_last


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


def _contiguous(name: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    """A contiguous copy of an argument that is not contiguous."""
    return lambda args: () if args[name].strides is None else (_copy(args[name]),)


def _copy(t: TensorSpec) -> TensorSpec:
    return TensorSpec(t.shape, t.dtype)


def _formatted(x: TensorSpec) -> Iterable[TensorSpec]:
    """A copy into the memory format that the strides suggest, unless they are that already."""
    if x.strides is not None and not (suggested_channels_last(x) and is_channels_last(x)):
        yield _copy(x)


def _pool(args: Arguments) -> Iterable[TensorSpec]:
    return _formatted(args["self"])


def _max_pool(op: str) -> Callable[[Arguments], Iterable[TensorSpec]]:
    indices = _indices(op)
    return lambda args: [*_formatted(args["self"]), *indices(args)]


def _convolution(args: Arguments) -> Iterable[TensorSpec]:
    """The input in a memory format; and the filters channels last, if the input is."""
    x: TensorSpec = args["input"]
    if x.strides is None:
        return
    yield from _formatted(x)
    w: TensorSpec = args["weight"]
    if suggested_channels_last(x) and normal(channels_last_strides(w.shape), w.shape) and not is_channels_last(w):
        yield _copy(w)


def _linear(args: Arguments) -> Iterable[TensorSpec]:
    """A matrix of rows, where the leading dimensions cannot be seen as one."""
    x: TensorSpec = args["input"]
    if x.strides is None:
        return
    rows = [(n, stride) for n, stride in zip(x.shape[:-1], x.strides, strict=False) if n != 1]
    if any(outer != n * stride for (_, outer), (n, stride) in pairwise(rows)):
        yield _copy(x)


def _roll(args: Arguments) -> Iterable[TensorSpec]:
    """One dimension after the other: what the first made lives while the next is made."""
    x, dims = args["self"], args["dims"]
    return [TensorSpec(x.shape, x.dtype)] if not isinstance(dims, int) and len(dims) > 1 else []


TEMPORARIES: Mapping[str, Callable[[Arguments], Iterable[TensorSpec]]] = {
    "aten.convolution.default": _convolution,
    "aten.linear.default": _linear,
    "aten.native_layer_norm.default": _contiguous("input"),
    "aten._softmax.default": _contiguous("self"),
    "aten._log_softmax.default": _contiguous("self"),
    "aten.avg_pool2d.default": _pool,
    "aten.max_pool2d.default": _max_pool("aten.max_pool2d.default"),
    "aten.max_pool3d.default": _max_pool("aten.max_pool3d.default"),
    "aten.scaled_dot_product_attention.default": _attention,
    "aten.instance_norm.default": _instance_norm,
    "aten.roll.default": _roll,
}
"""By op, from its arguments."""
