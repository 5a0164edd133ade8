"""Attention: the scaled dot product as one kernel, and the multi-head layer as the kernels that torch runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from costmodel.formulas._arguments import (
    as_shape,
    exact_quotient,
    is_one,
    public,
    require,
    require_divisible,
    require_one_of,
    same_in_every_configuration,
)
from costmodel.formulas._attention_gradients import MultiHead, computing_again, keeping_weights
from costmodel.formulas._attention_kernels import by_products, mask_made_float
from costmodel.formulas.activations import softmax
from costmodel.formulas.cost import LayerCost, as_one
from costmodel.formulas.elementwise import copy, dropout, pointwise_kernel
from costmodel.formulas.gradient import always
from costmodel.formulas.products import linear, matmul, of_rows_apart
from costmodel.quantities import Count, Work, prod


@public
def scaled_dot_product_attention(
    *,
    heads: Count,
    queries: Count,
    keys: Count,
    head_dim: Count,
    value_dim: Count | None = None,
    kv_heads: Count | None = None,
    mask: str | None = None,
    mask_shape: Sequence[Count] | None = None,
    is_causal: bool = False,
    batch: Count = 1,
    training: bool = False,
    dropout_p: float = 0.0,
    recompute: bool | None = None,
) -> LayerCost:
    """softmax(Q K^T / sqrt(E) + mask) V as one kernel: L queries, S keys, E and Ev wide, b = batch heads.

    macs = b L S E + b L S Ev
    flops = 2 macs + b L S (scale) + b L S (a float mask's sum) + softmax of b L rows of S (+ 2 b L S dropout)
    memory_access = q + k + v + mask + y

    A bool mask and ``is_causal`` select, which is no arithmetic; the whole L x S is counted also when it is causal, for
    the eager computation masks after it multiplied. With ``kv_heads`` (grouped queries) keys and values are read as
    they are. ``mask`` is None, "bool" or "float", of (L, S) unless ``mask_shape`` says otherwise.

    backward, with P the weights and D = rowsum(g y): dV = P^T g, dP = g V^T, dS = P (dP - D) / sqrt(E), dQ = dS K,
    dK = dS^T Q. With ``recompute``, by one kernel, which computes P again from the logarithms of the rows' sums: 5
    products, macs = b L S (3 E + 2 Ev). Without, from the P that the forward kept: 4, macs = b L S (2 E + 2 Ev). By
    default as torch does on the CPU: it keeps P with dropout, and where Ev is not E. Of a mask there is no gradient.
    saved: q, k, v, y, the logarithms and the mask; without ``recompute`` scaled q and k, v, and P, after dropout twice
    Source: Vaswani et al., arXiv:1706.03762, section 3.2.1, eq. 1; kv_heads: Ainslie et al., arXiv:2305.13245;
    backward: Dao et al., arXiv:2205.14135, appendix B.4, algorithm 4.

    >>> scaled_dot_product_attention(heads=12, queries=197, keys=197, head_dim=64).macs      # ViT-B/16
    59610624
    """
    leading = as_shape(batch)
    width = head_dim if value_dim is None else value_dim
    shared = heads if kv_heads is None else kv_heads
    require(heads=heads, kv_heads=shared, queries=queries, keys=keys, head_dim=head_dim, value_dim=width, batch=leading)
    require_divisible(heads=heads, by="kv_heads", divisor=shared)
    if mask is not None:
        require_one_of(mask=mask, choices=("bool", "float"))
        if is_causal:
            raise ValueError("mask does not go with is_causal=True: give one of them")
    scores = prod(leading) * heads * queries * keys
    masked = 0 if mask is None else prod((queries, keys) if mask_shape is None else mask_shape)
    outputs = prod(leading) * heads * queries * width
    work = softmax(shape=(*leading, heads, queries, keys)).work
    work = work + Work(macs=scores * (head_dim + width), multiplies=scores, adds=scores if mask == "float" else 0)
    if training and dropout_p > 0:
        work = work + Work(multiplies=2 * scores)
    rows, of_keys = prod(leading) * heads * queries, prod(leading) * shared * keys
    dropped = training and dropout_p > 0
    if recompute and dropped:
        raise ValueError(f"dropout_p={dropout_p} in training: recompute=True does not draw the same weights again")
    again = recompute
    if again is None:
        again = not dropped and (
            value_dim is None or same_in_every_configuration(width == head_dim, that="value_dim is head_dim")
        )
    sizes = (rows, keys, head_dim, width, of_keys)
    gradient = (
        partial(computing_again, *sizes, mask, masked) if again else partial(keeping_weights, *sizes, dropped, "both")
    )
    trained = None
    if again and mask == "bool":
        trained = partial(always, mask_made_float(scores, masked))
    elif not again and kv_heads is None:
        extra = by_products(
            rows=rows,
            keys=keys,
            depth=head_dim,
            of_keys=of_keys,
            dropped=dropped,
            mask=mask,
            masked=masked,
            square=queries * keys if is_causal else None,
        )
        trained = partial(always, extra)
    return LayerCost(
        kind="attention",
        # Where P is kept, keys and values that heads share are copied for each of them first.
        gradient=gradient if again or kv_heads is None else None,
        when_trained=trained,
        output_shape=(*leading, heads, queries, width),
        read=prod(leading) * (heads * queries * head_dim + shared * keys * (head_dim + width)) + masked,
        written=outputs,
        work=work,
        activations=outputs,
    )


@public
def multi_head_attention(
    *,
    embed_dim: Count,
    num_heads: Count,
    queries: Count,
    keys: Count | None = None,
    batch: Count = 1,
    inputs: str = "self",
    kdim: Count | None = None,
    vdim: Count | None = None,
    bias: bool = True,
    batch_first: bool = False,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    attn_mask: str | None = None,
    attn_mask_per_head: bool = False,
    key_padding_mask: str | None = None,
    is_causal: bool = False,
    training: bool = False,
    dropout_p: float = 0.0,
    transposed_inputs: Sequence[bool] | None = None,
    transposed_output: bool = False,
    add_bias_kv: bool = False,
    add_zero_attn: bool = False,
    always_copied_back: bool = False,
) -> LayerCost:
    """torch.nn.MultiheadAttention: E wide, H heads, L queries, S keys, N samples; its kernels one by one.

    params = E (2 E + kdim + vdim) + 4 E if bias + 2 E if add_bias_kv
    macs = N (2 L E^2 + S E (kdim + vdim)) for the projections + 2 N L S E for the attention

    Kernels: in-projections (one linear and a copy of 3 E L N for inputs="self"; q's, and k's and v's together with a
    copy of 2 E S N for "shared_key_value", where value is key; three linears for "distinct", and wherever kdim or vdim
    is given); with need_weights q's scale, a product, softmax, dropout, a product, otherwise one scaled dot product; a
    copy back to (L, N, E); the out-projection; with average_attn_weights a mean over heads.
    Masks are None, "bool" (made float by two kernels) or "float". The copy back is left out with ``transposed_output``:
    the fused kernels that keep the query's layout; and where the result is a view as it lies, for which torch 2.6 looks
    less closely (``always_copied_back``). ``add_bias_kv`` puts a learnt key and value behind the others,
    ``add_zero_attn`` zeros: each is one key more for attention, by copies of keys, values and masks.
    ``transposed_inputs`` says of query, key and value whether what they are worked on, (L, N, E), lies in another order
    in memory: by default where the batch comes first. A training step copies these. Not covered: the fused inference
    path.
    backward: each linear's, that of the scaled dot product (five products, or four of weights that are a result or were
    dropped), and copies between tokens and heads; the parts of a packed projection, each put into zeros of the size of
    all; parts of a parameter are joined. Gradients of the inputs in order, of inputs="self" of the one
    saved: the inputs (copied where the batch comes first), their projections, what the dot product keeps, its result
    Source: Vaswani et al., arXiv:1706.03762, section 3.2.2; torch.nn.functional.multi_head_attention_forward.

    >>> multi_head_attention(embed_dim=768, num_heads=12, queries=197, need_weights=False).params        # ViT-B/16
    2362368
    """
    keys = queries if keys is None else keys
    require(embed_dim=embed_dim, num_heads=num_heads, queries=queries, keys=keys, batch=batch)
    require_divisible(embed_dim=embed_dim, by="num_heads", divisor=num_heads)
    require_one_of(inputs=inputs, choices=("self", "shared_key_value", "distinct"))
    for name, value in (("attn_mask", attn_mask), ("key_padding_mask", key_padding_mask)):
        if value is not None:
            require_one_of(**{name: value}, choices=("bool", "float"))
    separate = kdim is not None or vdim is not None
    transposed = tuple(
        flag and not (is_one(batch=batch) or is_one(length=length))
        for flag, length in zip(transposed_inputs or (batch_first,) * 3, (queries, keys, keys), strict=True)
    )
    projections = _in_projections(
        embed_dim=embed_dim,
        widths=(embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim),
        lengths=(queries, keys),
        batch=batch,
        inputs="distinct" if separate else inputs,
        bias=bias,
        transposed=transposed,
    )
    one_mask = attn_mask is not None or key_padding_mask is not None
    leaves_mask_unread = is_causal and key_padding_mask is None and not need_weights
    if leaves_mask_unread:
        one_mask = False
    added = add_bias_kv + add_zero_attn
    longer = _longer(embed_dim=embed_dim, keys=keys, batch=batch, bias=add_bias_kv, zeros=add_zero_attn)
    head_dim = exact_quotient(embed_dim, num_heads)
    masks, mask_elements = _masks(
        maps=(batch, num_heads, queries, keys),
        added=added,
        attn_mask=attn_mask if one_mask or attn_mask == "bool" else None,
        per_head=attn_mask_per_head,
        key_padding_mask=key_padding_mask,
        merged=one_mask,
    )
    keys = keys + added
    maps = (batch, num_heads, queries, keys)
    product = {"m": queries, "batch": (batch * num_heads,)}
    if need_weights:
        core = [
            pointwise_kernel(
                "attention",
                (batch * num_heads, queries, head_dim),
                per_element=Work(multiplies=1),
                reads=batch * queries * embed_dim,
            ),
            matmul(n=keys, k=head_dim, added=mask_elements, **product),
            softmax(shape=maps),
            dropout(shape=maps, training=training, p=dropout_p),
            matmul(n=head_dim, k=keys, **product),
        ]
    else:
        core = [
            scaled_dot_product_attention(
                heads=num_heads,
                queries=queries,
                keys=keys,
                head_dim=head_dim,
                mask="float" if one_mask else None,
                mask_shape=(mask_elements,),
                is_causal=leaves_mask_unread,
                batch=batch,
                training=training,
                dropout_p=dropout_p,
            )
        ]
    in_place = is_one(queries=queries) or (
        is_one(batch=batch) and (is_one(num_heads=num_heads) or (not always_copied_back and is_one(head_dim=head_dim)))
    )
    back = [] if in_place or (transposed_output and not need_weights) else [copy(shape=(queries, batch, embed_dim))]
    out = linear(in_features=embed_dim, out_features=embed_dim, bias=bias, rows=(queries, batch))
    average = [_mean_over_heads(maps=maps)] if need_weights and average_attn_weights else []
    kernels = (*masks, *projections, *longer, *core, *back, out, *average)
    whole = as_one("attention", *kernels, params=2 * embed_dim if add_bias_kv else 0)
    shape = (batch, queries, embed_dim) if batch_first else (queries, batch, embed_dim)
    gradient = MultiHead(
        embed_dim=embed_dim,
        heads=num_heads,
        queries=queries,
        keys=keys - added,
        batch=batch,
        inputs="distinct" if separate else inputs,
        widths=(embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim),
        packed=not separate,
        bias=bias,
        batch_first=batch_first,
        transposed=transposed,
        is_product=need_weights,
        dropped=training and dropout_p > 0,
        mask="float" if one_mask else None,
        mask_elements=mask_elements,
        copied_back=bool(back),
        bias_kv=add_bias_kv,
        zeros=add_zero_attn,
    )
    return replace(whole, output_shape=shape, output_size=(), gradient=gradient)


def _in_projections(
    *,
    embed_dim: Count,
    widths: tuple[Count, Count],
    lengths: tuple[Count, Count],
    batch: Count,
    inputs: str,
    bias: bool,
    transposed: tuple[bool, ...],
) -> Iterator[LayerCost]:
    """The linears that make q, k and v. The result of a packed one, which makes several, is split by a copy."""
    queries, keys = lengths
    plans = {
        "self": [(embed_dim, 3, queries)],
        "shared_key_value": [(embed_dim, 1, queries), (embed_dim, 2, keys)],
        "distinct": [(embed_dim, 1, queries), (widths[0], 1, keys), (widths[1], 1, keys)],
    }
    for (width, packed, length), lies_transposed in zip(plans[inputs], transposed, strict=False):
        rows = (length, batch)
        made = linear(in_features=width, out_features=packed * embed_dim, bias=bias, rows=rows)
        if lies_transposed:
            sizes = length * batch * width, length * batch * packed * embed_dim
            made = replace(made, when_trained=partial(of_rows_apart, *sizes, bias))
        yield made
        if packed > 1 and not (is_one(batch=batch) and is_one(length=length)):
            yield copy(shape=(packed, *rows, embed_dim))


def _longer(*, embed_dim: Count, keys: Count, batch: Count, bias: bool, zeros: bool) -> Iterator[LayerCost]:
    """The kernels that put further keys and values behind the others: a learnt one for each sample, then zeros."""
    row = batch * embed_dim
    for made, source in ((bias, embed_dim), (zeros, 0)):
        if made:
            for _ in ("keys", "values"):
                yield pointwise_kernel("attention", (row,), reads=source)
                yield pointwise_kernel("attention", (keys + 1, row), reads=(keys + 1) * row)
            keys = keys + 1


def _masks(
    *,
    maps: tuple[Count, ...],
    added: int,
    attn_mask: str | None,
    per_head: bool,
    key_padding_mask: str | None,
    merged: bool,
) -> tuple[list[LayerCost], Count]:
    """The kernels that prepare the masks, and the elements of the one that attention then reads.

    Each of the keys that are ``added`` pads every mask by a copy.
    """
    batch, heads, queries, keys = maps
    kernels: list[LayerCost] = []
    shape = (batch * heads, queries, keys) if per_head else (queries, keys)
    for kind, own in ((key_padding_mask, (batch, keys)), (attn_mask, shape)):
        if kind == "bool":
            kernels += mask_filled(own)
    if not merged:
        return kernels, 0
    for mask, lines in ((attn_mask, prod(shape[:-1])), (key_padding_mask, batch)):
        if mask is not None:
            kernels += (
                pointwise_kernel("attention", (lines, keys + n + 1), reads=lines * (keys + n)) for n in range(added)
            )
    keys = keys + added
    shape = (*shape[:-1], keys)
    if key_padding_mask is None:
        return kernels, prod(shape)
    spread = (batch * heads, 1, keys)
    padding = prod(spread)
    if is_one(batch=batch):
        padding = keys  # expanded over the heads by a view
    elif not is_one(num_heads=heads):
        # Expanded over the heads of each sample: read once, written for each of them.
        kernels.append(pointwise_kernel("attention", spread, reads=batch * keys))
    if attn_mask is None:
        return kernels, padding
    both = (batch * heads, queries, keys)
    kernels.append(pointwise_kernel("attention", both, per_element=Work(adds=1), reads=prod(shape) + padding))
    return kernels, prod(both)


def mask_filled(shape: tuple[Count, ...]) -> Iterator[LayerCost]:
    """A float mask of a bool one. Zeros, written; then -inf selected in place, which reads them and the bool mask."""
    yield pointwise_kernel("attention", shape, reads=0)
    yield pointwise_kernel("attention", shape, reads=2 * prod(shape))


def _mean_over_heads(*, maps: tuple[Count, ...]) -> LayerCost:
    batch, heads, queries, keys = maps
    return pointwise_kernel(
        "attention",
        (batch, queries, keys),
        per_element=Work(adds=heads - 1, divides=1),
        reads=prod(maps),
    )
