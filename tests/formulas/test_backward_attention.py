"""Attention in a training step, held to what torch runs and keeps on the CPU."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from costmodel import formulas as f
from costmodel.errors import InputError
from tests.formulas._backward import (
    Real,
    assert_same_on_arrays_and_symbols,
    forward_quantities,
    needs,
    quantities,
    real,
)
from tests.formulas.test_backward_layers import rand

SIZES = {"heads": 4, "queries": 5, "keys": 7, "head_dim": 8, "batch": 2}


def inputs(kv_heads: int = 4, width: int = 8) -> list[torch.Tensor]:
    """Queries, keys and values."""
    return [rand(2, 4, 5, 8), rand(2, kv_heads, 7, 8), rand(2, kv_heads, 7, width)]


def forward_of(found: Real, *, makes_a_mask: bool) -> dict[str, Any]:
    """What is recorded, and the tensor of minus infinity that a mask is made of, which is taken for a number there."""
    quantities = found.forward_quantities()
    return {**quantities, "written": quantities["written"] + int(makes_a_mask)}


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("mask", [None, "float", "bool"])
def test_the_fused_kernel_computes_the_scores_again(mask: str | None, kv_heads: int, wanted: dict[str, Any]) -> None:
    """Five products, of which it does all, whatever is asked for."""
    cost = f.scaled_dot_product_attention(**SIZES, kv_heads=kv_heads, mask=mask)
    given = inputs(kv_heads)
    if mask is not None:
        given.append(rand(5, 7) if mask == "float" else rand(5, 7) > 0.1)
        wanted = {**wanted, "inputs": (*wanted["inputs"], False)}
    found = real(
        lambda q, k, v, m=None: F.scaled_dot_product_attention(q, k, v, m, enable_gqa=kv_heads != 4),
        given,
        wanted=wanted,
    )
    assert quantities(cost.backward(**wanted)) == found.quantities()
    assert forward_quantities(cost, wanted) == forward_of(found, makes_a_mask=mask == "bool")
    assert cost.backward(**wanted).macs == 2 * 4 * 5 * 7 * 5 * 8


@pytest.mark.parametrize("wanted", needs(3), ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("width", [8, 3])
def test_four_products_where_the_weights_are_kept(width: int, dropout: float, wanted: dict[str, Any]) -> None:
    """Torch's composite of products, which is what runs with dropout and where values have another width."""
    layer = f.scaled_dot_product_attention(
        **SIZES, value_dim=width, training=True, dropout_p=dropout, recompute=False
    )  # fmt: skip
    cost = layer.backward(**wanted)
    with sdpa_kernel(SDPBackend.MATH):
        found = real(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=dropout), inputs(width=width),
            wanted=wanted,
        )  # fmt: skip
    assert quantities(cost) == found.quantities()
    assert forward_quantities(layer, wanted) == found.forward_quantities()
    if all(wanted["inputs"]):
        assert cost.macs == 2 * 4 * 5 * 7 * (2 * 8 + 2 * width)


@pytest.mark.parametrize("mask", [None, "float", "bool"])
def test_products_under_a_mask(mask: str | None) -> None:
    """A mask is added to the scores, a bool one made float before; where attention is causal, one is made first."""
    cost = f.scaled_dot_product_attention(
        **SIZES, mask=mask, is_causal=mask is None, training=True, dropout_p=0.1
    )  # fmt: skip
    given = [*inputs(), *([] if mask is None else [rand(5, 7) if mask == "float" else rand(5, 7) > 0.1])]
    wanted = {"inputs": (True, True, True, False)[: len(given)], "weight": False, "bias": False}
    found = real(
        lambda q, k, v, m=None: F.scaled_dot_product_attention(q, k, v, m, dropout_p=0.1, is_causal=m is None), given,
        wanted=wanted,
    )  # fmt: skip
    assert forward_quantities(cost, wanted) == forward_of(found, makes_a_mask=mask != "float")
    assert quantities(cost.backward(**wanted)) == found.quantities()


def test_torch_chooses() -> None:
    """By default it is as torch does on the CPU."""
    for width, p in ((8, 0.0), (3, 0.0), (8, 0.1)):
        cost = f.scaled_dot_product_attention(**SIZES, value_dim=width, training=True, dropout_p=p).backward()
        found = real(
            lambda q, k, v, p=p: F.scaled_dot_product_attention(q, k, v, dropout_p=p), inputs(width=width),
            wanted={"inputs": True, "weight": True, "bias": True},
        )  # fmt: skip
        assert quantities(cost) == found.quantities()


def test_weights_that_were_drawn_are_kept() -> None:
    """They are not drawn again."""
    with pytest.raises(InputError, match="recompute=True does not draw the same weights again"):
        f.scaled_dot_product_attention(**SIZES, training=True, dropout_p=0.1, recompute=True)


@pytest.mark.parametrize("recompute", [True, False])
def test_arrays_and_symbols(recompute: bool) -> None:
    """Backward passes are functions of counts, whatever those are."""
    arguments = {**SIZES, "mask": "float", "recompute": recompute}
    assert_same_on_arrays_and_symbols(f.scaled_dot_product_attention, arguments, {"inputs": True})


FLAGS = ("inputs", "weight", "bias")


def multi_head(
    kind: str, *, sizes: tuple[int, int, int, int, int], need_weights: bool, wanted: dict[str, Any], **options: Any
) -> tuple[Any, Any]:
    """Its forward and backward pass in closed form, and as torch runs them."""
    queries, keys, batch, width, heads = sizes
    dropout = options.pop("dropout", 0.0)
    module = nn.MultiheadAttention(width, heads, dropout=dropout, **options)
    first = options.get("batch_first", False)
    shapes = [(batch, n, width) if first else (n, batch, width) for n in (queries, keys, keys)]
    count = {"self": 1, "shared_key_value": 2, "distinct": 3}[kind]
    names = [name for name, _ in module.named_parameters()]
    weights, biases = ([n for n in names if ("bias" in n and "bias_" not in n) == flag] for flag in (False, True))
    parameters = dict(module.named_parameters())

    def run(*given: Any) -> Any:
        x, own = given[:count], dict(zip([*weights, *biases], given[count:], strict=True))
        q, k, v = {1: (x[0],) * 3, 2: (x[0], x[-1], x[-1]), 3: x}[count]
        return torch.func.functional_call(module, own, (q, k, v), {"need_weights": need_weights})

    found = real(
        run, [rand(*shape) for shape in shapes[:count]], [parameters[n].detach() for n in weights],
        [parameters[n].detach() for n in biases], wanted=wanted,
    )  # fmt: skip
    cost = f.multi_head_attention(
        embed_dim=width, num_heads=heads, queries=queries, keys=queries if kind == "self" else keys, batch=batch,
        inputs=kind, need_weights=need_weights, transposed_output=not dropout, training=True, dropout_p=dropout,
        **options,
    )  # fmt: skip
    closed = forward_quantities(cost, wanted), quantities(cost.backward(**wanted))
    return closed, (found.forward_quantities(), found.quantities())


@pytest.mark.parametrize("wanted", [
    {"inputs": True, "weight": True, "bias": True}, {"inputs": False, "weight": True, "bias": True},
    {"inputs": True, "weight": False, "bias": False}, {"inputs": False, "weight": False, "bias": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("need_weights", "dropout"), [(True, 0.0), (False, 0.0), (True, 0.1), (False, 0.1)])
@pytest.mark.parametrize("kind", ["self", "shared_key_value", "distinct"])
def test_multi_head_attention(
    kind: str, need_weights: bool, dropout: float, batch_first: bool, wanted: dict[str, Any]
) -> None:
    """Projections, the dot product by one kernel or by products, and the copies between tokens and heads."""
    closed, found = multi_head(
        kind, sizes=(5, 7, 2, 8, 4), need_weights=need_weights, dropout=dropout, batch_first=batch_first,
        wanted=wanted,
    )  # fmt: skip
    assert closed == found


@pytest.mark.parametrize(
    "options", [{"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True},
                {"add_bias_kv": True, "add_zero_attn": True}], ids=str,
)  # fmt: skip
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["self", "shared_key_value", "distinct"])
def test_multi_head_attention_with_options(kind: str, need_weights: bool, options: dict[str, Any]) -> None:
    """Keys and values behind the others have gradients of their own."""
    wanted = {"inputs": True, "weight": True, "bias": True}
    closed, found = multi_head(kind, sizes=(5, 7, 2, 8, 4), need_weights=need_weights, wanted=wanted, **options)
    assert closed == found


@pytest.mark.parametrize(
    "sizes", [(5, 7, 1, 8, 4), (1, 7, 2, 8, 4), (5, 1, 2, 8, 4), (5, 7, 2, 8, 1), (5, 7, 2, 4, 4), (1, 1, 1, 8, 4)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["self", "shared_key_value", "distinct"])
def test_sizes_of_one_need_no_copies(kind: str, need_weights: bool, batch_first: bool, sizes: tuple[int, ...]) -> None:
    """Where one token, one sample, one head or one feature is all there is, transposed tensors lie as they are."""
    wanted = {"inputs": True, "weight": True, "bias": True}
    closed, found = multi_head(kind, sizes=sizes, need_weights=need_weights, batch_first=batch_first, wanted=wanted)  # type: ignore[arg-type]  # five sizes
    assert closed == found


@pytest.mark.parametrize("options", [
    {"need_weights": False}, {"need_weights": True, "batch_first": True},
    {"inputs": "distinct", "training": True, "dropout_p": 0.1, "need_weights": False, "add_bias_kv": True},
], ids=str)  # fmt: skip
def test_multi_head_attention_of_arrays_and_symbols(options: dict[str, Any]) -> None:
    """Whether a size is 1 is asked of ints alone."""
    arguments = {"embed_dim": 8, "num_heads": 4, "queries": 5, "keys": 7, "batch": 2, **options}
    assert_same_on_arrays_and_symbols(f.multi_head_attention, arguments, {"inputs": True})


def test_layers_with_gradients_can_be_pickled() -> None:
    """Results travel between processes, their gradients with them."""
    for layer in (
        f.multi_head_attention(embed_dim=8, num_heads=4, queries=5), f.scaled_dot_product_attention(**SIZES),
        f.cross_entropy(classes=3), f.batch_norm(channels=3), f.activation(name="prelu", shape=3),
    ):  # fmt: skip
        again = pickle.loads(pickle.dumps(layer))
        assert quantities(again.backward()) == quantities(layer.backward())
