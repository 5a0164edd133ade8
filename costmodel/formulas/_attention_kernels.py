"""Attention in a training step: where no fused kernel takes it, torch multiplies, as it says itself, step by step."""

from __future__ import annotations

from costmodel.formulas.gradient import Extra
from costmodel.quantities import Count, Work


def by_products(
    *,
    rows: Count,
    keys: Count,
    depth: Count,
    of_keys: Count,
    dropped: bool,
    mask: str | None,
    masked: Count,
    square: Count | None,
) -> Extra:
    """What the products cost more than one kernel: ``rows`` queries and ``of_keys`` keys of all heads together.

    Queries and keys are scaled, each by the root, and not the scores. Dropout draws a mask, divides and multiplies it.
    A bool mask is made float by a choice, and added; where attention is causal, so is one of ``square`` elements, which
    is made first.
    Source: ``_scaled_dot_product_attention_math`` in aten/src/ATen/native/transformers/attention.cpp.
    """
    scores, q, k = rows * keys, rows * depth, of_keys * depth
    # Scales, product, softmax, product. The one kernel reads q, k, v and the mask, and writes the result.
    read = q + k + scores + scores - masked
    written = q + k + scores + scores
    work = Work(multiplies=q + k - scores)
    if dropped:
        read, written = read + 3 * scores, written + 3 * scores
        work = work + Work(divides=scores, multiplies=-scores)
    if square is not None:
        read, written = read + square, written + 2 * square
        mask, masked = "bool", square
    if mask is not None:
        read, written = read + scores + masked, written + scores
    extra = Extra(read=read, written=written, work=work)
    return extra + mask_made_float(scores, masked) if mask == "bool" else extra


def mask_made_float(scores: Count, masked: Count) -> Extra:
    """A number or a tensor of one, which is made, is chosen for each element of a bool mask; all are then added."""
    return Extra(read=masked + 2, written=masked + 1, work=Work(adds=scores))
