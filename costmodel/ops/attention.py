"""Scaled dot-product attention as one op, whichever kernel torch would choose for it."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from costmodel.access import AccessMap, Affine, All, AxisMap, Fixed
from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.rule import Rule, always, example, moved, register
from costmodel.ops.temporaries import are_one, bytes_besides
from costmodel.ops.versions import Change, has
from costmodel.quantities import Traffic, Work


def _mask(args: Arguments) -> TensorSpec | None:
    mask: TensorSpec | None = args.get("attn_mask", args.get("attn_bias"))
    return mask


def _shape(args: Arguments) -> tuple[int, ...]:
    q, k, v = args["query"].shape, args["key"].shape, args["value"].shape
    if min(len(q), len(k), len(v)) < 2 or q[-1] != k[-1] or k[-2] != v[-2]:
        raise ValueError(f"attention takes (.., L, E), (.., S, E) and (.., S, Ev), got {q}, {k} and {v}")
    if q[:-2] == k[:-2] == v[:-2]:
        return (*q[:-1], v[-1])
    if args.get("enable_gqa"):
        if q[-3] % k[-3] or q[-3] % v[-3]:
            raise ValueError(f"{q[-3]} query heads do not divide among {k[-3]} key and {v[-3]} value heads")
        # A key head serves a whole group of query heads.
        return (*layout.broadcast([q[:-3], k[:-3], v[:-3]]), q[-3], q[-2], v[-1])
    return (*layout.broadcast([q[:-2], k[:-2], v[:-2]]), q[-2], v[-1])


def fits_fused_kernel(args: Arguments) -> bool:
    """Whether torch's fused kernel takes the arguments; it keeps the query's layout in its output.

    Its fallback, written with matrix products, returns a contiguous tensor.
    Source: aten/src/ATen/native/transformers/sdp_utils_cpp.h.
    """
    q, k, v = args["query"], args["key"], args["value"]
    rank, mask = len(q.shape), _mask(args)
    without_gaps = (q, k, v) if mask is None or has(Change.FUSED_MASK_COPIED) else (q, k, v, mask)
    return (
        (rank == 4 or (rank == 3 and has(Change.FUSED_THREE_DIMENSIONS)))
        and rank == len(k.shape) == len(v.shape) and not args["dropout_p"]
        and q.shape[-1] == v.shape[-1] and q.shape[:-3] == k.shape[:-3] == v.shape[:-3] and _heads_fit(args)
        and (mask is None or len(mask.shape) in (2, rank))
        and all(t.strides is None or t.strides[-1] == 1 for t in without_gaps)
    )  # fmt: skip


def _heads_fit(args: Arguments) -> bool:
    q, k, v = (args[name].shape[-3] for name in ("query", "key", "value"))
    if k != v:
        return False
    groups = args.get("enable_gqa") and has(Change.FUSED_GROUPED_QUERIES)
    return q == k or bool(groups) or (k == 1 and has(Change.FUSED_THREE_DIMENSIONS))


def _outputs(args: Arguments) -> TensorSpec:
    q, shape = args["query"], _shape(args)
    if q.strides is None or not fits_fused_kernel(args):
        return TensorSpec(shape, q.dtype)
    return TensorSpec(shape, q.dtype, layout.preserved_strides(shape, (q,)))


def _cpu_kernel_outputs(args: Arguments) -> tuple[TensorSpec, ...]:
    q = args["query"]
    shape = _shape({**args, "enable_gqa": has(Change.FUSED_GROUPED_QUERIES)})
    y = TensorSpec(shape, q.dtype, layout.preserved_strides(shape, (q,)))
    batch, heads, rows, _ = y.shape
    logsumexp = TensorSpec(
        (batch, heads, rows), "float64" if y.dtype == "float64" else "float32",
        layout.normal((rows * heads, 1, heads), (batch, heads, rows)),
    )  # fmt: skip
    return y, logsumexp


def _temporaries(args: Arguments) -> Iterable[TensorSpec]:
    """The fused kernel's log-sum-exp of each row; without it all that matrix products and a softmax take."""
    q, mask = args["query"], args["attn_mask"]
    if mask is not None and mask.dtype == "bool":
        yield TensorSpec(mask.shape, q.dtype)  # added as minus infinity
    if fits_fused_kernel(args):
        yield from _layout_of_fused_kernel(args)
        yield TensorSpec(q.shape[:-1], "float64" if q.dtype == "float64" else "float32")
    else:
        yield from _of_unfused_attention(args)


def _layout_of_fused_kernel(args: Arguments) -> list[TensorSpec]:
    """Copies of tensors whose last dimension is not contiguous."""
    names = ("query", "key", "value") if has(Change.FUSED_THREE_DIMENSIONS) else ()
    names = (*names, "attn_mask") if has(Change.FUSED_MASK_COPIED) else names
    given = [args[name] for name in names if args[name] is not None]
    return [TensorSpec(t.shape, t.dtype) for t in given if t.strides is not None and t.strides[-1] != 1]


def _of_unfused_attention(args: Arguments) -> list[TensorSpec]:
    """What is live beside the result at the worst moment.

    Source: ``_scaled_dot_product_attention_math`` in aten/src/ATen/native/transformers/attention.cpp.
    """
    factors: list[TensorSpec] = [args["query"], args["key"], args["value"]]
    q, k, v = factors
    y = _outputs(args)
    batch, keys = y.shape[:-2], k.shape[-2]
    rows = prod(y.shape[:-1])
    scores = rows * keys
    held = 0  # elements that live from the beginning to the end
    if q.dtype in ("float16", "bfloat16"):
        q, k, v = (TensorSpec(t.shape, "float32", layout.preserved_strides(t.shape, (t,))) for t in (q, k, v))
        held += q.size + k.size + v.size
    if args["is_causal"]:
        held += q.shape[-2] * keys
    if args.get("enable_gqa") and not q.shape[-3] == k.shape[-3] == v.shape[-3]:
        k, v = (TensorSpec((*t.shape[:-3], q.shape[-3], *t.shape[-2:]), t.dtype) for t in (k, v))
        held += k.size + v.size
    copies = sum(
        _copied_for_products(
            TensorSpec(t.shape, t.dtype, layout.elementwise_strides(t.shape, (t,), number=True)), batch
        )
        for t in (q, k)  # each is scaled first
    )
    products = (k.size + copies + scores) * q.itemsize
    softmax = (2 * scores + 1) * q.itemsize + scores + rows  # a byte a score, and a row: is it all minus infinity?
    back = y.dtype != q.dtype  # cast, and the weights with it, though they are not returned
    weighted = (scores + y.size) * q.itemsize + back * scores * y.itemsize
    weighted += max(_copied_for_products(v, batch) * q.itemsize, back * y.nbytes)
    always = held * q.itemsize + q.nbytes
    return bytes_besides(y.nbytes, *(always + moment for moment in (products, softmax, weighted)))


def _copied_for_products(t: TensorSpec, batch: tuple[int, ...]) -> int:
    """Elements of the copy of a batch of matrices whose leading dimensions cannot be merged into one."""
    missing = (0,) * (len(batch) + 2 - len(t.shape))
    own = [0 if n != whole else s for n, whole, s in zip(t.shape, batch[len(missing) :], t.full_strides, strict=False)]
    return 0 if are_one(batch, (*missing, *own)) else prod(batch) * t.shape[-2] * t.shape[-1]


def work_of(call: OpCall) -> Work:
    """Two products and a softmax, whichever op does them."""
    # softmax(q k^T / sqrt(E) + mask) v. All L x S scores count, also those that a causal mask discards: the
    # definition computes and masks them; a kernel that skips blocks does less. Masking by a boolean (is_causal
    # too) is a selection; a floating-point mask is added.
    width = call.outputs[0].shape[-1]
    keys, depth = call.args["key"].shape[-2:]
    softmaxes = call.outputs[0].size // width if width else 0
    scores = softmaxes * keys
    mask = _mask(call.args)
    dropout = 2 if call.args["dropout_p"] else 0  # by the mask, by 1 / (1 - p)
    return (
        Work(macs=scores * depth + scores * width, multiplies=scores * (1 + dropout))
        + Work(adds=scores if mask is not None and mask.dtype != "bool" else 0)
        + Work(compares=keys - 1, adds=keys + keys - 1, transcendentals=keys, divides=keys).times(softmaxes)
    )


def traffic_of(call: OpCall) -> Traffic:
    """The arguments and the result."""
    # The log-sum-exp that a kernel saves is for the backward pass alone.
    return moved((t for _, t in call.tensors()), call.outputs[:1])


def _access(call: OpCall, output: int) -> AccessMap:
    y = call.outputs[0].shape

    def axis_maps(name: str, tokens: AxisMap) -> tuple[AxisMap, ...]:
        shape = call.args[name].shape
        missing = len(y) - len(shape)
        # With grouped queries one key head serves several query heads: not said more precisely than "all heads".
        batch: list[AxisMap] = [
            Affine(d + missing) if n == y[d + missing] else Fixed(0) if n == 1 else All()
            for d, n in enumerate(shape[:-2])
        ]
        return (*batch, tokens, All())

    if output == 1:
        # The log-sum-exp of every row of scores.
        return {"query": axis_maps("query", Affine(len(y) - 2)), "key": axis_maps("key", All())}
    value = (*axis_maps("value", All())[:-1], Affine(len(y) - 1))
    return {"query": axis_maps("query", Affine(len(y) - 2)), "key": axis_maps("key", All()), "value": value}


_Q, _K = TensorSpec((2, 4, 5, 8)), TensorSpec((2, 4, 7, 8))
_PAPER = "Vaswani et al., Attention Is All You Need, arXiv:1706.03762, section 3.2.1"

register(
    Rule(
        targets=("aten.scaled_dot_product_attention.default",), kind=always("attention"), outputs=_outputs,
        work=work_of, traffic=traffic_of, access=_access, temporaries=_temporaries, fusible=False, source=_PAPER,
        free_because=None,
        examples=(
            example(_Q, _K, _K), example(_Q, _K, _K, None, 0.0, True), example(_Q, _K, TensorSpec((2, 4, 7, 3))),
            example(_Q, _K, _K, TensorSpec((5, 7))), example(_Q, _K, _K, TensorSpec((2, 1, 5, 7), "bool"), scale=1.0),
            example(_Q, _K, _K, None, 0.5), example(TensorSpec((5, 8)), TensorSpec((7, 8)), TensorSpec((7, 8))),
            example(_Q, TensorSpec((2, 2, 7, 8)), TensorSpec((2, 2, 7, 8)), enable_gqa=True),
            example(TensorSpec((2, 4, 5, 8), "float32", (160, 8, 32, 1)), _K, _K),
        ),
    ),
    Rule(
        targets=("aten._scaled_dot_product_flash_attention_for_cpu.default",), kind=always("attention"),
        outputs=_cpu_kernel_outputs, work=work_of, traffic=traffic_of, access=_access,
        temporaries=_layout_of_fused_kernel, fusible=False, source=_PAPER,
        free_because=None, examples=(example(_Q, _K, _K), example(_Q, _K, _K, attn_mask=TensorSpec((5, 7)))),
    ),
)  # fmt: skip
