"""What composite ops allocate on the way, nobody receives, and eager torch frees before they return.

The recorder sees such an op whole, so these storages would be missing from the live memory. Sizes are those of torch's
own decomposition on the CPU, in inference; a GPU keeps indices in one-dimensional max pooling too, and may fuse what
are matrix products of attention here. Copies into the layout that a kernel wants are among them: transposed tokens that
go into a convolution or a norm are copied first. Left out: recurrent layers (their steps depend on the backend), and
ops on which no network's peak was seen to depend (sorting, norms of complex numbers, comparisons of floats as
booleans).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from math import prod

from costmodel.graph import Arguments, TensorSpec, channels_last_strides, is_channels_last
from costmodel.ops import find
from costmodel.ops.attention import fits_fused_kernel
from costmodel.ops.layout import elementwise_strides, normal, preserved_strides, suggested_channels_last


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
    """The fused kernel's log-sum-exp of each row; without it all that matrix products and a softmax take."""
    q, mask = args["query"], args["attn_mask"]
    if mask is not None and mask.dtype == "bool":
        yield TensorSpec(mask.shape, q.dtype)  # added as minus infinity
    if fits_fused_kernel(args):
        yield TensorSpec(q.shape[:-1], "float64" if q.dtype == "float64" else "float32")
    else:
        yield TensorSpec((_bytes_of_unfused_attention(args),), "uint8")


def _bytes_of_unfused_attention(args: Arguments) -> int:
    """What is live beside the result at the worst moment.

    Source: ``_scaled_dot_product_attention_math`` in aten/src/ATen/native/transformers/attention.cpp.
    """
    factors: list[TensorSpec] = [args["query"], args["key"], args["value"]]
    q, k, v = factors
    y = _outputs("aten.scaled_dot_product_attention.default", args)[0]
    batch, keys = y.shape[:-2], k.shape[-2]
    rows = prod(y.shape[:-1])
    scores = rows * keys
    held = 0  # elements that live from the beginning to the end
    if q.dtype in ("float16", "bfloat16"):
        q, k, v = (TensorSpec(t.shape, "float32", preserved_strides(t.shape, (t,))) for t in (q, k, v))
        held += q.size + k.size + v.size
    if args["is_causal"]:
        held += q.shape[-2] * keys
    if args.get("enable_gqa") and not q.shape[-3] == k.shape[-3] == v.shape[-3]:
        k, v = (TensorSpec((*t.shape[:-3], q.shape[-3], *t.shape[-2:]), t.dtype) for t in (k, v))
        held += k.size + v.size
    copies = sum(
        _copied_for_products(TensorSpec(t.shape, t.dtype, elementwise_strides(t.shape, (t,), number=True)), batch)
        for t in (q, k)  # each is scaled first
    )
    products = (k.size + copies + scores) * q.itemsize
    softmax = (2 * scores + 1) * q.itemsize + scores + rows  # a byte a score, and a row: is it all minus infinity?
    back = y.dtype != q.dtype  # cast, and the weights with it, though nobody receives them
    weighted = (scores + y.size) * q.itemsize + back * scores * y.itemsize
    weighted += max(_copied_for_products(v, batch) * q.itemsize, back * y.nbytes)
    return held * q.itemsize + q.nbytes + max(products, softmax, weighted) - y.nbytes


def _copied_for_products(t: TensorSpec, batch: tuple[int, ...]) -> int:
    """Elements of the copy of a batch of matrices whose leading dimensions cannot be seen as one."""
    missing = (0,) * (len(batch) + 2 - len(t.shape))
    own = [0 if n != whole else s for n, whole, s in zip(t.shape, batch[len(missing) :], t.full_strides, strict=False)]
    return 0 if _are_one(batch, (*missing, *own)) else prod(batch) * t.shape[-2] * t.shape[-1]


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
    if x.strides is not None and not _are_one(x.shape[:-1], x.strides[:-1]):
        yield _copy(x)


def _are_one(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether dimensions lie in memory as a single one would."""
    steps = [(n, stride) for n, stride in zip(sizes, strides, strict=True) if n != 1]
    return all(outer == n * stride for (_, outer), (n, stride) in pairwise(steps))


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
