"""Gradients of fused attention, which keeps the logarithm of each row's sum and computes the scores again."""

from __future__ import annotations

from costmodel.graph import Arguments, OpCall, TensorSpec
from costmodel.ops import layout
from costmodel.ops.access import everything
from costmodel.ops.rule import Outputs, Rule, always, every_argument, example, register
from costmodel.ops.temporaries import copy
from costmodel.ops.versions import Change, has
from costmodel.quantities import Work


def _outputs(args: Arguments) -> Outputs:
    return tuple(map(_by_tokens, (args["query"], args["key"], args["value"])))


def _by_tokens(t: TensorSpec) -> TensorSpec:
    """A gradient, which is stored as (batch, tokens, heads, features)."""
    _, heads, tokens, depth = t.shape
    strides = (tokens * heads * depth, depth, heads * depth, 1)
    return TensorSpec(t.shape, t.dtype, layout.normal(strides, t.shape))


def work_of(args: Arguments) -> Work:
    """Five products: the scores S = q k^T again, and the gradients of v, of the weights P, of q and of k.

    With P = exp(s S + mask - logsumexp) and D = rowsum(dO O): dV = P^T dO, dP = dO V^T, dS = s P (dP - D), dQ = dS K,
    dK = dS^T Q. Source: Dao et al., FlashAttention, arXiv:2205.14135, algorithm 4.
    """
    out, (keys, depth) = args["out"], args["key"].shape[-2:]
    width = out.shape[-1]
    rows = out.size // width if width else 0
    scores = rows * keys
    mask = args.get("attn_mask") if "attn_mask" in args else args.get("attn_bias")
    added = scores if mask is not None and mask.dtype != "bool" else 0
    return (
        Work(macs=scores * (3 * depth + 2 * width))
        + Work(multiplies=3 * scores, adds=2 * scores + added, transcendentals=scores)
        + Work(multiplies=width, adds=max(width - 1, 0)).times(rows)
    )


def _temporaries(args: Arguments) -> list[TensorSpec]:
    """A copy of the output's gradient, where that is not stored by tokens; copies of what has gaps."""
    gradient = args["grad_out"]
    by_tokens = _by_tokens(gradient)
    given = [args[name] for name in ("query", "key", "value")] if has(Change.FUSED_GRADIENT_COPIES) else []
    return [
        *([] if gradient.strides == by_tokens.strides else [by_tokens]),
        *(copy(t) for t in given if t.strides is not None and t.strides[-1] != 1),
    ]


def _work(call: OpCall) -> Work:
    return work_of(call.args)


_Q, _K, _LSE = TensorSpec((2, 4, 5, 8)), TensorSpec((2, 4, 7, 8)), TensorSpec((2, 4, 5))
_BY_TOKENS = _by_tokens(_Q)

register(
    Rule(
        targets=("aten._scaled_dot_product_flash_attention_for_cpu_backward.default",), kind=always("attention"),
        outputs=_outputs, work=_work, traffic=every_argument, access=everything, temporaries=_temporaries,
        fusible=False, source="Dao et al., FlashAttention, arXiv:2205.14135, algorithm 4", free_because=None,
        examples=(
            example(_Q, _Q, _K, _K, _Q, _LSE, 0.0, False), example(_BY_TOKENS, _Q, _K, _K, _Q, _LSE, 0.0, False),
        ),
    ),
)  # fmt: skip
